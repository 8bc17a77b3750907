//! A thousand callers who leave: the books are exact, and nothing of them stays behind.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bantam_simulate::{Behaviour, Received, SimulatedUpstream, StreamEnd, completion_events};
use bantam_types::{AttemptOutcome, RequestOutcome, Settlement};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::support::{PATIENCE, Server, Setup, in_time, post, start_before, stream_body};

/// Calls that the upstream takes at a time, and so the callers.
const PLACES: usize = 40;
const BATCH: usize = 500;

/// Tells the usage first, then words; then ends, or says nothing more.
fn script(received: &Received) -> Behaviour {
    let mut events = completion_events("m", "one two three", 10, 3);
    let usage = events.pop().unwrap();
    events.insert(1, usage);
    let end = if received.last_text() == "hang" { StreamEnd::Hang } else { StreamEnd::Done };
    let kept = if end == StreamEnd::Hang { 3 } else { events.len() };
    events.truncate(kept);
    Behaviour::Events { events, delay: Duration::ZERO, gap: Duration::from_micros(200), end }
}

/// Where a caller leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaves {
    AtOnce,
    AfterTheHead,
    AmidWords,
    AtTheEnd,
    WhileNothingComes,
}

/// What a caller saw before it left.
#[derive(Debug)]
struct Saw {
    request_id: String,
    words: bool,
    end: bool,
}

async fn call(server: Arc<Server>, leaves: Leaves) -> Option<Saw> {
    let text = if leaves == Leaves::WhileNothingComes { "hang" } else { "hi" };
    let mut client = server.connect().await;
    client.send(&post("", &stream_body(text))).await;
    if leaves == Leaves::AtOnce {
        return None;
    }
    let head = client.head().await.unwrap();
    assert_eq!(head.status, 200);
    let request_id = head.header("x-request-id").to_owned();
    let mut seen = String::new();
    if leaves != Leaves::AfterTheHead {
        while let Some(chunk) = client.chunk().await {
            seen.push_str(&chunk);
            if leaves != Leaves::AtTheEnd && seen.contains("one ") {
                break;
            }
        }
    }
    Some(Saw { request_id, words: seen.contains("one "), end: seen.contains("[DONE]") })
}

/// Sends a batch of callers, a few at a time, and returns what those saw who saw anything.
async fn batch(server: &Arc<Server>) -> Vec<(Leaves, Saw)> {
    use Leaves::{AfterTheHead, AmidWords, AtOnce, AtTheEnd, WhileNothingComes};
    let mut callers = JoinSet::new();
    let mut saw = Vec::new();
    for number in 0..BATCH {
        let leaves = [AtOnce, AfterTheHead, AmidWords, AtTheEnd, WhileNothingComes][number % 5];
        let server = Arc::clone(server);
        callers.spawn(async move { (leaves, call(server, leaves).await) });
        // Those who left may still be on their way out: their places are not counted on.
        if callers.len() >= PLACES / 4 {
            let (leaves, seen) = callers.join_next().await.unwrap().unwrap();
            saw.extend(seen.map(|seen| (leaves, seen)));
        }
    }
    while let Some(left) = callers.join_next().await {
        let (leaves, seen) = left.unwrap();
        saw.extend(seen.map(|seen| (leaves, seen)));
    }
    saw
}

fn check_books(settled: &[Settlement], saw: &[(Leaves, Saw)]) {
    let ids = settled.iter().map(|request| (format!("req_{:032x}", request.request_id), request));
    let by_id: HashMap<String, &Settlement> = ids.collect();
    assert_eq!(by_id.len(), settled.len(), "a request is in the books twice");
    for request in settled {
        let [attempt] = &*request.attempts else {
            // Only who left at once may have left before anybody was asked.
            assert_eq!((request.outcome, request.attempts.len()), (RequestOutcome::Cancelled, 0));
            continue;
        };
        let is_answered = request.outcome == RequestOutcome::Answered;
        let expected = if is_answered { AttemptOutcome::Accepted } else { AttemptOutcome::Cancelled };
        assert_eq!((attempt.outcome, attempt.fault), (expected, None));
        // What was told before the end is kept; what it cost is only known where nothing more was to come.
        assert!(attempt.usage.is_some() || attempt.cost.is_none());
        assert!(!is_answered || attempt.cost.is_some());
        assert!(
            !is_answered
                || attempt.usage.is_some_and(|usage| (usage.tokens.input, usage.tokens.output) == (10, 3))
        );
    }
    for (leaves, saw) in saw {
        let request = by_id.get(&saw.request_id).unwrap_or_else(|| panic!("{saw:?} is not in the books"));
        let attempt = &request.attempts[0];
        assert!(!saw.words || attempt.usage.is_some(), "usage that was seen is not kept: {saw:?}");
        if saw.end {
            assert_eq!(request.outcome, RequestOutcome::Answered);
        }
        if *leaves == Leaves::WhileNothingComes {
            assert_eq!(request.outcome, RequestOutcome::Cancelled);
        }
    }
}

/// Open file handles and pages of memory of this process; nothing where the system does not say.
fn handles_and_bytes() -> Option<(usize, usize)> {
    let handles = std::fs::read_dir("/proc/self/fd").ok()?.count();
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = statm.split(' ').nth(1)?.parse().ok()?;
    Some((handles, pages * 4096))
}

/// Waits until no more tasks run than `most`.
async fn tasks_end(most: usize) {
    let end = async {
        while Handle::current().metrics().num_alive_tasks() > most {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let left = || Handle::current().metrics().num_alive_tasks();
    tokio::time::timeout(PATIENCE, end)
        .await
        .unwrap_or_else(|_| panic!("{} tasks are left, not {most}", left()));
}

#[tokio::test]
async fn a_thousand_aborted_streams_leave_exact_books_and_nothing_else() {
    let upstream = SimulatedUpstream::start_forgetful(script).await.unwrap();
    let url = upstream.base_url();
    let setup = Setup { running_max: PLACES, upstream_calls_max: PLACES, ..Setup::default() };
    let memory = setup.settings.memory.clone();
    let server = Arc::new(start_before(setup, &url, Some(upstream)).await);
    // Server and upstream accept; the upstream's idle connections, at most one a place, have a task at either end.
    let idle = Handle::current().metrics().num_alive_tasks() + 2 * PLACES + 2;
    let mut saw = batch(&server).await;
    let least = saw.len();
    server.settled(least).await;
    tasks_end(idle).await;
    let before = handles_and_bytes();
    saw.extend(batch(&server).await);
    tasks_end(idle).await;
    // Who leaves at once may be gone before the server has read the request; everyone else is in the books.
    let settled = server.settled(saw.len()).await;
    assert!(settled.len() <= 2 * BATCH);
    check_books(&settled, &saw);
    assert_eq!(memory.used(), 0);
    match (before, handles_and_bytes()) {
        (Some((handles, bytes)), Some((handles_now, bytes_now))) => {
            assert!(handles_now <= handles + BATCH / 5, "{handles} handles became {handles_now}");
            assert!(bytes_now <= bytes + (16 << 20), "{bytes} bytes became {bytes_now}");
        }
        _ => eprintln!("skipped: this system tells neither file handles nor memory"),
    }
    // Every place is free: as many callers as there are places are served at the same time.
    let mut clients = Vec::new();
    for _ in 0..PLACES {
        let mut client = server.connect().await;
        client.send(&post("", &stream_body("hang"))).await;
        clients.push(client);
    }
    for client in &mut clients {
        assert_eq!(in_time(client.head()).await.unwrap().status, 200);
    }
}
