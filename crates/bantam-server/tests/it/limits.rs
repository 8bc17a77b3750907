//! What callers can use up: memory, threads, and the patience of a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bantam_backend::MemoryBudget;
use bantam_server::ServerSettings;
use bantam_simulate::{Behaviour, SimulatedUpstream, StreamEnd, completion_body, completion_events};
use bantam_types::RequestOutcome;

use crate::support::{Client, Setup, chat, chat_body, get, in_time, post, start, start_before, stream_body};

const MIB: usize = 1 << 20;

fn head(length: usize) -> String {
    format!("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n")
}

#[tokio::test]
async fn half_sent_bodies_use_up_their_share_of_the_memory_and_others_are_served() {
    const CALLERS: usize = 24;
    let memory = MemoryBudget::new(16 * MIB);
    let settings =
        ServerSettings { memory: memory.clone(), body_bytes_max: 4 * MIB, ..Setup::default().settings };
    let server = start(Setup { settings, ..Setup::default() }).await;
    let mut clients = Vec::new();
    for _ in 0..CALLERS {
        let mut client = server.connect().await;
        client.send(&head(4 * MIB)).await;
        clients.push(client);
    }
    assert_eq!(server.chat("hi").await.status, 200);
    assert_eq!(memory.used(), 0, "what is announced takes nothing");
    let half = "x".repeat(MIB);
    for client in &mut clients {
        client.send(&half).await;
    }
    // The bodies do not all fit. Whoever waits in vain is refused; all the while, small requests are served.
    for _ in 0..20 {
        assert_eq!(in_time(server.chat("hi")).await.status, 200);
        assert!(memory.used() <= memory.bytes());
    }
    let told = clients.into_iter().map(async |mut client: Client| {
        let told = tokio::time::timeout(Duration::from_secs(3), client.try_response()).await;
        (client, told)
    });
    let (mut refused, mut held) = (0, Vec::new());
    for (client, told) in futures_util::future::join_all(told).await {
        match told {
            Ok(Some(response)) => {
                assert_eq!(response.error(), (503, "memory_used_up".to_owned()));
                assert_eq!(response.header("retry-after"), "1");
                refused += 1;
            }
            // The rest of the body was on its way, so the connection broke before the answer was read.
            Ok(None) => refused += 1,
            Err(_) => held.push(client),
        }
    }
    assert!(refused >= CALLERS / 2 && !held.is_empty(), "{refused} of {CALLERS} were refused");
    assert_eq!(in_time(server.chat("hi")).await.status, 200);
    let settled = server.settled(22 + refused).await;
    let of = |outcome| settled.iter().filter(|request| request.outcome == outcome).count();
    assert_eq!((of(RequestOutcome::Answered), of(RequestOutcome::Refused)), (22, refused));
    drop(held);
    in_time(async {
        while memory.used() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // With the memory back, a body of that size is read again.
    let whole = chat_body(&"word ".repeat(MIB / 5));
    assert_eq!(in_time(server.ask(&post("", &whole))).await.status, 200);
}

#[tokio::test]
async fn an_answer_for_which_there_is_no_memory_fails_and_is_settled() {
    let upstream = SimulatedUpstream::start_forgetful(|received| {
        let words = if received.last_text() == "long" { 400_000 } else { 2 };
        Behaviour::ok(completion_body("m", &"word ".repeat(words), 10, 2))
    });
    let upstream = upstream.await.unwrap();
    let url = upstream.base_url();
    let memory = MemoryBudget::new(4 * MIB);
    let settings = ServerSettings { memory: memory.clone(), ..Setup::default().settings };
    let setup = Setup { settings, response_bytes_max: 16 * MIB, ..Setup::default() };
    let server = start_before(setup, &url, Some(upstream)).await;
    let response = in_time(server.chat("long")).await;
    assert_eq!(response.error(), (503, "upstreams_unavailable".to_owned()));
    assert_eq!(in_time(server.chat("short")).await.status, 200);
    let settled = server.settled(2).await;
    assert_eq!(settled[0].attempts[0].fault, Some(bantam_types::FaultKind::NoMemory));
    assert_eq!(settled[0].attempts[0].cost, None, "it may be billed all the same");
    assert_eq!(memory.used(), 0);
}

/// Counts answers as they come.
async fn counted(mut client: Client, count: Arc<AtomicUsize>) {
    assert_eq!(in_time(client.response()).await.status, 409);
    count.fetch_add(1, Ordering::SeqCst);
}

#[tokio::test]
async fn large_bodies_are_read_where_they_hold_up_nobody() {
    // All futures of this test run on one thread: a body that was read there would be answered before anybody else.
    let settings = ServerSettings { body_bytes_max: 4 * MIB, ..Setup::default().settings };
    let server = start(Setup { settings, ..Setup::default() }).await;
    let hostile = chat_body(&format!("{} my key: sk-{}", "sk-".repeat(MIB / 6), "a1b2c3d4".repeat(8)));
    let (answered, mut asking) = (Arc::new(AtomicUsize::new(0)), Vec::new());
    for _ in 0..4 {
        let mut client = server.connect().await;
        client.send(&post("", &hostile)).await;
        asking.push(tokio::spawn(counted(client, Arc::clone(&answered))));
    }
    let mut between = 0;
    while answered.load(Ordering::SeqCst) < 4 {
        assert_eq!(server.ask(&get("/healthz")).await.status, 200);
        assert_eq!(server.chat("hi").await.status, 200);
        between += usize::from(answered.load(Ordering::SeqCst) == 0);
    }
    assert!(between >= 3, "others were answered {between} times before the first large body was read");
    for asking in asking {
        asking.await.unwrap();
    }
}

async fn endless() -> SimulatedUpstream {
    let events = completion_events("m", &"word ".repeat(2_000), 10, 2)[..2].to_vec();
    let filler =
        format!("{{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{}\"}}}}]}}", "x".repeat(60_000));
    SimulatedUpstream::start_forgetful(move |_| {
        let events = events.iter().cloned().chain([filler.clone()]).collect();
        Behaviour::events(events, StreamEnd::Endless)
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_caller_that_takes_nothing_is_given_up() {
    let upstream = endless().await;
    let url = upstream.base_url();
    let settings = ServerSettings { write_timeout: Duration::from_millis(300), ..Setup::default().settings };
    let setup = Setup { settings, response_bytes_max: 1 << 30, ..Setup::default() };
    let server = start_before(setup, &url, Some(upstream)).await;
    let mut client = server.connect_narrow().await;
    client.send(&post("", &stream_body("hi"))).await;
    assert_eq!(client.head().await.unwrap().status, 200);
    let settled = in_time(server.settled(1)).await;
    assert_eq!(settled[0].outcome, RequestOutcome::Cancelled);
    // The connection is closed, not only the request given up.
    in_time(async { while client.read_more().await {} }).await;
}

#[tokio::test]
async fn a_caller_that_takes_next_to_nothing_is_given_up_and_one_that_is_slow_is_not() {
    let upstream = endless().await;
    let url = upstream.base_url();
    let settings = ServerSettings { write_timeout: Duration::from_millis(400), ..Setup::default().settings };
    let setup = Setup { settings, response_bytes_max: 1 << 30, ..Setup::default() };
    let server = start_before(setup, &url, Some(upstream)).await;
    let mut trickling = server.connect_narrow().await;
    trickling.send(&post("", &stream_body("hi"))).await;
    let trickle = async {
        while trickling.read_some(16).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // What its system had taken before the end is read; the end is what is waited for.
    };
    let mut slow = server.connect_narrow().await;
    slow.send(&post("", &stream_body("hi"))).await;
    let read = async {
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_secs(2) {
            assert!(slow.read_some(256 << 10).await, "a caller that reads on was given up");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let given_up = async {
        tokio::select! {
            settled = server.settled(1) => settled,
            () = trickle => server.settled(1).await,
        }
    };
    let ((), settled) = tokio::join!(read, given_up);
    assert_eq!(settled.len(), 1, "the slow one goes on");
    assert_eq!(settled[0].outcome, RequestOutcome::Cancelled);
}

#[tokio::test]
async fn a_caller_that_has_said_all_it_will_say_still_gets_its_answer_or_is_cancelled() {
    let server = start(Setup::default()).await;
    for request in [chat("slow"), post("", &stream_body("slow"))] {
        let mut client = server.connect().await;
        client.send(&request).await;
        client.say_no_more().await;
        // Whether half a connection is taken for none is HTTP/1.1's to say; nothing may be left open or unsettled.
        if let Some(response) = in_time(client.try_response()).await {
            assert_eq!(response.status, 200);
        }
        assert!(in_time(client.closes()).await);
    }
    assert_eq!(server.settled(2).await.len(), 2);
}

#[tokio::test]
async fn a_large_answer_that_is_taken_slowly_arrives_whole() {
    const WORDS: usize = 2_000_000;
    let upstream = SimulatedUpstream::start_forgetful(|_| {
        Behaviour::ok(completion_body("m", &"word ".repeat(WORDS), 10, 2))
    });
    let upstream = upstream.await.unwrap();
    let url = upstream.base_url();
    let settings = ServerSettings { idle_timeout: Duration::from_millis(200), ..Setup::default().settings };
    let memory = settings.memory.clone();
    let setup = Setup { settings, response_bytes_max: 64 * MIB, ..Setup::default() };
    let server = start_before(setup, &url, Some(upstream)).await;
    let mut client = server.connect_narrow().await;
    client.send(&chat("hi")).await;
    let head = client.head().await.unwrap();
    let length: usize = head.header("content-length").parse().unwrap();
    assert!(length > 5 * WORDS && memory.used() >= length, "{} of {length} are counted", memory.used());
    let mut taken = client.taken();
    while taken < length {
        let bytes = client.read_at_most(64 << 10).await;
        assert!(bytes > 0, "cut off after {taken} of {length} bytes");
        taken += bytes;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(taken, length);
}
