//! Real upstreams that fail: one clear error each, or the next rung's answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bantam_simulate::{Behaviour, SimulatedUpstream, StreamEnd, completion_body, completion_events};
use bantam_types::Tier;

use crate::support::{Act, Desk, PATIENCE, deployment, open_task, remote, rung, scripted, told};

async fn start(behaviour: Behaviour) -> SimulatedUpstream {
    SimulatedUpstream::start(move |_| behaviour.clone()).await.unwrap()
}

fn desk(upstream: &SimulatedUpstream) -> Desk {
    let mid = Arc::new(rung("mid", remote(upstream, Tier::Mid)));
    let above = scripted(Tier::Frontier, |_, ask| match ask.stream {
        true => Act::Chunks(completion_events("m", "from above", 1, 1), None),
        false => Act::Text("from above", None),
    });
    let ladder = vec![Arc::clone(&mid), Arc::new(rung("frontier", Arc::new(above)))];
    Desk::new(deployment(vec![open_task("alone", vec![mid]), open_task("chat", ladder)], vec![]))
}

/// Checks the error of a ladder that has only this upstream, and that a ladder with another goes on.
async fn check(behaviour: Behaviour, status: u16, slug: &str, reason: &str) {
    let outcome = if status < 429 { "refused" } else { "failed" };
    for stream in [false, true] {
        let upstream = start(behaviour.clone()).await;
        let desk = desk(&upstream);
        let ask = async |model: &str| {
            if stream { desk.ask_stream(model, "hi").await } else { desk.ask(model, "hi").await }
        };
        let begun = Instant::now();
        let alone = ask("task/alone").await;
        assert_eq!((alone.status, alone.slug), (status, slug), "stream {stream}: {behaviour:?}");
        for word in ["simulated", "Bad gateway", "quota", "127.0.0.1", "key-of"] {
            assert!(!alone.message.contains(word), "an upstream's words are passed on: {}", alone.message);
        }
        assert_eq!(told(&desk.of(&alone)), format!("{outcome} {status}: mid failed {reason}"));
        let chat = ask("task/chat").await;
        assert_eq!((chat.status, &*chat.text), (200, "from above"), "stream {stream}: {behaviour:?}");
        assert_eq!(told(&desk.of(&chat)), format!("answered 200: mid failed {reason}, frontier accepted"));
        assert!(begun.elapsed() < PATIENCE);
    }
}

#[tokio::test]
async fn every_way_of_failing_is_one_clear_error() {
    let quota = "{\"error\":{\"message\":\"quota\"}}".to_owned();
    for behaviour in [
        Behaviour::ok("garbage".to_owned()),
        Behaviour::ok("<html>Bad gateway</html>".to_owned()),
        Behaviour::ok(quota),
        Behaviour::Close,
        Behaviour::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{\"cho".to_vec()),
    ]
    .into_iter()
    .chain([302, 500].map(Behaviour::status))
    {
        check(behaviour, 502, "upstream_failed", "error").await;
    }
    for (upstream_status, status, slug) in [
        (400, 400, "upstream_refused_request"),
        (401, 502, "upstream_key_refused"),
        (403, 502, "upstream_forbidden"),
        (404, 502, "upstream_model_not_found"),
        (429, 429, "rate_limit_exceeded"),
        (503, 503, "upstream_overloaded"),
    ] {
        check(Behaviour::status(upstream_status), status, slug, "error").await;
    }
    check(Behaviour::Hang, 504, "upstream_timeout", "timeout").await;
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_one_clear_error() {
    let upstream = start(Behaviour::Hang).await;
    let desk = desk(&upstream);
    drop(upstream);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let got = desk.ask("task/alone", "hi").await;
    assert_eq!((got.status, got.slug), (502, "upstream_unreachable"));
    assert_eq!(desk.ask("task/chat", "hi").await.text, "from above");
}

#[tokio::test]
async fn an_endless_stream_ends_in_one_error_event() {
    let events = completion_events("m", "a b", 1, 1)[..2].to_vec();
    let upstream = start(Behaviour::events(events, StreamEnd::Endless)).await;
    let desk = desk(&upstream);
    let got = desk.ask_stream("task/chat", "hi").await;
    assert_eq!(got.json["error"]["code"], "stream_broken");
    assert_eq!(got.events.iter().filter(|event| event.contains("\"error\"")).count(), 1);
    assert_eq!(told(&desk.of(&got)), "failed 502: mid failed too_long");
}

#[tokio::test]
async fn a_stream_that_stalls_ends_in_one_error_event() {
    for end in [StreamEnd::Hang, StreamEnd::Cut] {
        let upstream = start(Behaviour::events(completion_events("m", "a b", 1, 1)[..2].to_vec(), end)).await;
        let desk = desk(&upstream);
        let got = desk.ask_stream("task/chat", "hi").await;
        assert_eq!((&*got.text, &got.json["error"]["code"]), ("a ", &serde_json::json!("stream_broken")));
    }
}

#[tokio::test]
async fn a_broken_upstream_is_left_alone_and_the_ladder_goes_on() {
    let upstream = start(Behaviour::status(500)).await;
    let desk = desk(&upstream);
    for number in 0..10 {
        assert_eq!(desk.ask("task/chat", &format!("hi {number}")).await.text, "from above");
    }
    assert_eq!(upstream.count(), 5, "the breaker opens after five failures");
    let told: Vec<String> = desk.settled().iter().map(told).collect();
    assert_eq!(told[4], "answered 200: mid failed error, frontier accepted");
    assert_eq!(told[5], "answered 200: frontier accepted");
    let got = desk.ask("task/alone", "hi").await;
    assert_eq!((got.status, got.slug, got.retry_after_s), (503, "upstreams_unavailable", Some(30)));
}

#[tokio::test]
async fn a_good_upstream_is_passed_through_with_its_own_tokens() {
    let upstream = SimulatedUpstream::start(|received| match received.wants_stream() {
        true => Behaviour::events(completion_events("m", "one two", 100, 5), StreamEnd::Done),
        false => Behaviour::ok(completion_body("m", "one two", 100, 5)),
    })
    .await
    .unwrap();
    let desk = desk(&upstream);
    for got in [desk.ask("task/chat", "hi").await, desk.ask_stream("task/chat", "hi").await] {
        assert_eq!(got.text, "one two");
        let attempt = desk.of(&got).attempts.remove(0);
        assert_eq!(attempt.usage, crate::support::tokens(100, 0, 5));
        assert_eq!(attempt.cost.unwrap().to_string(), "0.00024");
        assert!(attempt.first_byte_us.unwrap() <= attempt.last_byte_us);
    }
}
