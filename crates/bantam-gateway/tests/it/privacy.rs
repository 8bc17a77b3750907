//! What is sensitive does not leave: ten thousand canaries against recording upstreams.
//!
//! Every sensitive request carries a canary that the scanner must find, in some disguise, and a harmless
//! word of its own. Neither the canary, in any form that it was given, nor the word may be in a byte that
//! a mid or frontier upstream received, in the ledger's files, in the log, or in an error. The controls show
//! that the same search finds what did arrive.

mod canary;
mod search;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use bantam_gateway::{Deployment, Hints};
use bantam_ledger::{Acknowledge, LedgerOptions};
use bantam_privacy::{DictionaryTerm, PrivacyPolicy, Scanner, ScannerConfig};
use bantam_route::Gate;
use bantam_simulate::{
    Behaviour, Received, SimulatedUpstream, StreamEnd, completion_body, completion_events,
};
use bantam_types::{Label, RequestOutcome, Tier};
use serde_json::{Value, json};

use crate::support::{
    Act, Desk, Got, deployment, open_task, read, remote, retrying, rung, scripted, student_rung, task, told,
    trained,
};
use bantam_wire::openai;
use canary::{DISGUISES, Dressed, KINDS, canary, dress, mixed, term, word};
use search::{Haystack, capture_log, files_under};

const CANARIES: u64 = 10_000;
/// One request in so many is harmless and must arrive.
const HARMLESS_EVERY: u64 = 20;

/// Behaves well two times of three, and in every other way in between; seldom enough not to open a breaker.
fn unreliable(received: &Received) -> Behaviour {
    let stream = received.wants_stream();
    let events = || completion_events("m", "card", 9, 1);
    match received.number % 24 {
        1 | 19 => Behaviour::status(500),
        4 => Behaviour::ok("<html>garbage</html>".to_owned()),
        7 => Behaviour::ok("{\"error\":{\"message\":\"no\"}}".to_owned()),
        10 => Behaviour::Close,
        13 => Behaviour::status(429),
        16 if stream => Behaviour::events(events()[..2].to_vec(), StreamEnd::Cut),
        16 => Behaviour::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{\"choi".to_vec()),
        22 if received.number % 240 == 22 => Behaviour::Hang,
        _ if stream => Behaviour::events(events(), StreamEnd::Done),
        _ => Behaviour::ok(completion_body("m", "card", 9, 1)),
    }
}

struct Cloud {
    local: SimulatedUpstream,
    mid: SimulatedUpstream,
    frontier: SimulatedUpstream,
}

impl Cloud {
    async fn start() -> Self {
        let start = async || SimulatedUpstream::start(unreliable).await.unwrap();
        Self { local: start().await, mid: start().await, frontier: start().await }
    }

    /// Returns every byte that left this machine.
    fn received(&self) -> Vec<u8> {
        let requests = self.mid.received().into_iter().chain(self.frontier.received());
        requests.flat_map(|request| [request.head.into_bytes(), request.body].concat()).collect()
    }
}

fn deploy(cloud: &Cloud, highest: Label) -> Deployment {
    let mid = Arc::new(rung("mid", retrying(&cloud.mid, Tier::Mid, 1)));
    let frontier = Arc::new(rung("frontier", retrying(&cloud.frontier, Tier::Frontier, 1)));
    let local = Arc::new(rung("local", remote(&cloud.local, Tier::Local)));
    let student = |gate| Arc::new(student_rung(trained(), gate));
    let above = [Arc::clone(&mid), Arc::clone(&frontier)];
    let ladder = |first: &[Arc<_>]| first.iter().chain(&above).map(Arc::clone).collect::<Vec<_>>();
    let panics = scripted(Tier::Local, |_, _| panic!("a backend panics"));
    let mut audited = task("audited", ladder(&[student(Gate::Uncertified { threshold: 0.0 })]));
    audited.audit_share = 1.0;
    audited.record = true;
    let mut tasks = vec![
        task("intent", ladder(&[student(Gate::Certified { threshold: 0.5 })])),
        task("closed", ladder(&[student(Gate::Closed)])),
        task("bare", ladder(&[])),
        open_task("open", ladder(&[Arc::clone(&local)])),
        open_task("shaky", ladder(&[Arc::new(rung("panics", Arc::new(panics)))])),
        audited,
    ];
    tasks.iter_mut().for_each(|task| task.record = true);
    let terms = (0..CANARIES).filter_map(term);
    let dictionary = terms.map(|term| DictionaryTerm { term, label: Label::Restricted }).collect();
    Deployment {
        scanner: Scanner::new(&ScannerConfig { dictionary }).unwrap(),
        policy: PrivacyPolicy { mid_max: highest, frontier_max: highest },
        ..deployment(tasks, above.to_vec())
    }
}

/// The ways into the gateway: the model that is asked for, and the header.
fn route(number: u64) -> (&'static str, Hints) {
    let hint = |task: &str| Hints { task: Some(task.to_owned()), ..Hints::default() };
    match mixed(number, 2) % 9 {
        0 => ("auto", Hints::default()),
        1 => ("mid", Hints::default()),
        2 => ("frontier", Hints::default()),
        3 => ("task/bare", Hints::default()),
        4 => ("task/closed", Hints::default()),
        5 => ("task/audited", Hints::default()),
        6 => ("of-elsewhere", hint("intent")),
        _ => ("task/open", Hints::default()),
    }
}

/// What became of the requests of one run.
#[derive(Default)]
struct Counts {
    refused: AtomicU64,
    local: AtomicU64,
    failed: AtomicU64,
    left: AtomicU64,
}

impl Counts {
    fn note(&self, got: &Got) {
        let tier = got.json["bantam"]["tier"].as_str();
        let counter = match (got.status, tier) {
            (409, _) => &self.refused,
            (200, Some("local")) => &self.local,
            // A stream of the local model's that broke off.
            (200, None) if got.json["error"]["code"] == "stream_broken" => &self.failed,
            _ => panic!("a sensitive request got {got:?}"),
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Asks, and leaves after the future was polled `polls` times.
async fn leave_after(polls: u64, asked: impl Future<Output = bantam_gateway::Reply>) {
    let mut asked = pin!(asked);
    for _ in 0..polls {
        let ended =
            std::future::poll_fn(|context| Poll::Ready(asked.as_mut().poll(context).is_ready())).await;
        if ended {
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn ask_sensitive(desk: &Desk, number: u64, counts: &Counts) {
    let (model, hints) = route(number);
    let dressed = sensitive(model, number);
    let asked = Box::pin(desk.gateway.answer(openai::CHAT, dressed.body.into(), hints));
    if mixed(number, 3).is_multiple_of(8) {
        leave_after(mixed(number, 4) % 6, asked).await;
        counts.left.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let got = read(asked.await).await;
    let canary = canary(number);
    assert!(!got.message.contains(&canary.value) && !got.message.contains(&word(number)), "{got:?}");
    counts.note(&got);
}

fn sensitive(model: &str, number: u64) -> Dressed {
    let canary = canary(number);
    let disguise = DISGUISES[(number / KINDS) as usize % DISGUISES.len()];
    dress(disguise, model, mixed(number, 5).is_multiple_of(2), &word(number), &canary.value)
}

fn harmless_word(number: u64) -> String {
    word(CANARIES + number)
}

async fn ask_harmless(desk: &Desk, number: u64) {
    let text = format!("please block my card, file it as {}", harmless_word(number));
    let stream = number.is_multiple_of(2);
    let body = json!({"model": "auto", "stream": stream, "messages": [{"role": "user", "content": text}]});
    let got = desk.ask_body(body.to_string(), Hints::default()).await;
    assert!(matches!(got.status, 200 | 502 | 503 | 504), "{got:?}");
}

/// Sends everything, sixteen requests at a time.
async fn send_all(desk: &Arc<Desk>, counts: &Arc<Counts>) {
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..16 {
        let (desk, counts) = (Arc::clone(desk), Arc::clone(counts));
        workers.spawn(async move {
            for number in (worker..CANARIES).step_by(16) {
                ask_sensitive(&desk, number, &counts).await;
                if number % HARMLESS_EVERY == 0 {
                    ask_harmless(&desk, number).await;
                }
            }
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended.unwrap();
    }
}

/// Checks that no form of any canary is in `haystack`.
fn check_absent(place: &str, haystack: &Haystack) {
    for number in 0..CANARIES {
        let dressed = sensitive("auto", number);
        let value = canary(number).value;
        for needle in dressed.sent.iter().chain([&value, &word(number)]) {
            assert!(
                !haystack.contains(needle),
                "canary {number} (`{needle}`) of\n{}\nis in {place}",
                dressed.body
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_canary_leaves_in_any_disguise_whatever_fails() {
    let log = capture_log();
    let cloud = Cloud::start().await;
    // Folded late, so that the journal is there to be searched too.
    let options = LedgerOptions {
        fold_interval: Duration::from_secs(600),
        ..LedgerOptions::new(Acknowledge::ProcessCrash)
    };
    let desk = Arc::new(Desk::with(deploy(&cloud, Label::Internal), options, 256, 256));
    let counts = Arc::new(Counts::default());
    send_all(&desk, &counts).await;
    let [refused, local, failed, left] = [&counts.refused, &counts.local, &counts.failed, &counts.left]
        .map(|count| count.load(Ordering::Relaxed));
    assert_eq!(refused + local + failed + left, CANARIES);
    assert!(refused > 5000 && local > 500 && failed > 0 && left > 1000, "{refused} {local} {failed} {left}");

    let received = Haystack::new(cloud.received());
    check_absent("what the upstreams received", &received);
    let harmless: Vec<u64> = (0..CANARIES).step_by(HARMLESS_EVERY as usize).collect();
    let words = received.words();
    let arrived = harmless.iter().filter(|number| words.contains(&*harmless_word(**number))).count();
    assert!(
        arrived * 10 > harmless.len() * 9,
        "only {arrived} of {} harmless requests arrived",
        harmless.len()
    );
    // The local model may see them, and did: the recorder and the search work on the same bytes.
    let at_home =
        Haystack::new(cloud.local.received().into_iter().flat_map(|request| request.body).collect());
    let words = at_home.words();
    let seen = (0..CANARIES).filter(|number| words.contains(&*word(*number))).count();
    assert!(seen > 1000, "only {seen} requests reached the local model");

    check_ledger(&desk, &harmless_recorded(&desk).await);
    tracing::trace!(control = "a control that must be captured");
    let log = Haystack::new(log.lock().clone());
    check_absent("the log", &log);
    assert!(log.contains("a control that must be captured"));
}

/// Asks a harmless question of a task that keeps answers, and returns its word.
async fn harmless_recorded(desk: &Desk) -> String {
    let word = harmless_word(3);
    for _ in 0..20 {
        let got = desk.ask("task/bare", &format!("please block my card {word}")).await;
        if got.status == 200 {
            break;
        }
    }
    word
}

/// Searches journal and database, and counts that every request that got as far is settled once.
fn check_ledger(desk: &Desk, recorded: &str) {
    let folder = desk.folder.path();
    let journal = Haystack::new(files_under(folder));
    check_absent("the journal", &journal);
    assert!(journal.contains(recorded), "the journal cannot be searched");
    let settled = desk.settled();
    assert!(settled.len() as u64 > CANARIES * 9 / 10);
    for settlement in &settled {
        let left = settlement.attempts.iter().any(|attempt| attempt.tier != Tier::Local);
        assert!(!left || settlement.label <= Label::Internal, "{settlement:?}");
        assert!(settlement.outcome != RequestOutcome::Refused || settlement.status == 409);
    }
    desk.ledger.close().unwrap();
    let database = Haystack::new(files_under(folder));
    check_absent("the database", &database);
    assert!(database.contains(recorded), "the database cannot be searched");
}

/// The same canaries under a policy that lets everything through: each must be seen, in the form it was sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_policy_raised_every_canary_is_seen() {
    let good = |received: &Received| match received.wants_stream() {
        true => Behaviour::events(completion_events("m", "x", 1, 1), StreamEnd::Done),
        false => Behaviour::ok(completion_body("m", "x", 1, 1)),
    };
    let start = async || SimulatedUpstream::start(good).await.unwrap();
    let cloud = Cloud { local: start().await, mid: start().await, frontier: start().await };
    let desk = Desk::new(deploy(&cloud, Label::Restricted));
    let combinations = KINDS * DISGUISES.len() as u64;
    for number in 0..combinations {
        let model = if number % 2 == 0 { "mid" } else { "frontier" };
        let got = desk.ask_body(sensitive(model, number).body, Hints::default()).await;
        assert_eq!(got.status, 200, "{got:?}");
        assert!(desk.of(&got).label > Label::Internal, "{}", sensitive(model, number).body);
    }
    let received = Haystack::new(cloud.received());
    for number in 0..combinations {
        let dressed = sensitive("auto", number);
        for needle in dressed.sent.iter().chain([&word(number)]) {
            assert!(received.contains(needle), "`{needle}` of {} was not seen", dressed.body);
        }
    }
}

/// A backend that panics takes its own request down and sends nothing.
#[tokio::test]
async fn a_panic_in_mid_ladder_sends_nothing_and_is_settled() {
    let cloud = Cloud::start().await;
    let desk = Desk::new(deploy(&cloud, Label::Internal));
    for number in 0..4 {
        let gateway = Arc::clone(&desk.gateway);
        let body = sensitive("task/shaky", number).body;
        let panicked = tokio::spawn(async move {
            gateway.answer(openai::CHAT, body.into(), Hints::default()).await.request_id
        })
        .await;
        assert!(panicked.unwrap_err().is_panic());
    }
    assert_eq!((cloud.mid.count(), cloud.frontier.count()), (0, 0));
    let settled = desk.settled();
    assert_eq!(settled.len(), 4);
    for settlement in &settled {
        assert_eq!((settlement.outcome, settlement.status), (RequestOutcome::Failed, 500));
        assert_eq!(told(settlement), "failed 500: panics failed error");
    }
}

/// Checks that a request with `body` is refused as sensitive.
async fn check_stays(body: &str) {
    let mid = Arc::new(scripted(Tier::Mid, |_, _| Act::Text("x", None)));
    let desk = Desk::new(deployment(vec![], vec![Arc::new(rung("mid", Arc::clone(&mid) as _))]));
    let got = desk.ask_body(body.to_owned(), Hints::default()).await;
    assert_eq!((got.status, mid.calls()), (409, 0), "{body}: {got:?}");
}

#[tokio::test]
async fn a_number_is_read_as_it_is_written() {
    for number in [
        "4111111111111111",
        "-4111111111111111",
        "4111111111111111.0",
        "0.4111111111111111",
        "4111111111111111e-400",
        "4111111111111111E-30",
        "[4111,1111,1111,1111]",
    ] {
        let hi = r#""messages":[{"role":"user","content":"hi"}]"#;
        check_stays(&format!("{{\"model\":\"mid\",{hi},\"metadata\":{{\"n\":{number}}}}}")).await;
    }
}

#[tokio::test]
async fn a_part_that_cannot_be_read_stays_here() {
    for part in [
        json!({"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}),
        json!({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}),
        json!({"type": "file", "file": {"file_id": "file-1"}}),
    ] {
        let content: Value = json!([{"type": "text", "text": "what is this?"}, part]);
        check_stays(&json!({"model": "mid", "messages": [{"role": "user", "content": content}]}).to_string())
            .await;
    }
}
