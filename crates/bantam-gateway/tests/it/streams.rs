//! Streams: committed or escalated before the first byte, whole or loudly broken after it.

use std::sync::Arc;

use bantam_backend::BackendFault;
use bantam_gateway::Hints;
use bantam_simulate::completion_events;
use bantam_types::Tier;
use serde_json::{Value, json};

use crate::support::{Act, Desk, Got, Scripted, deployment, open_task, rung, scripted, told};

struct World {
    desk: Desk,
    frontier: Arc<Scripted>,
}

fn world(mid: fn() -> Act) -> World {
    let frontier = Arc::new(scripted(Tier::Frontier, |_, _| Act::Chunks(events("from above"), None)));
    let ladder = vec![
        Arc::new(rung("mid", Arc::new(scripted(Tier::Mid, move |_, _| mid())))),
        Arc::new(rung("frontier", Arc::clone(&frontier) as _)),
    ];
    World { desk: Desk::new(deployment(vec![open_task("chat", ladder)], vec![])), frontier }
}

fn events(text: &str) -> Vec<String> {
    completion_events("m", text, 10, 2)
}

async fn check(mid: fn() -> Act, text: &str, expected: &str) -> Got {
    let world = world(mid);
    let got = world.desk.ask_stream("task/chat", "hi").await;
    let settled = world.desk.only();
    assert_eq!((&*got.text, &*told(&settled)), (text, expected), "{got:?}");
    assert!(settled.streamed);
    got
}

#[tokio::test]
async fn a_stream_ends_with_a_note_and_done() {
    let got = check(|| Act::Chunks(events("one two"), None), "one two", "answered 200: mid accepted").await;
    assert_eq!(got.events.last().unwrap(), "[DONE]");
    let note = &got.json["bantam"];
    assert_eq!(
        (&note["tier"], &note["model"], &note["escalated"]),
        (&json!("mid"), &json!("mid"), &json!([]))
    );
    assert_eq!(note["cost_usd"], json!(0.000_036));
    assert_eq!(got.json["choices"][0]["finish_reason"], "stop", "the usage chunk was not asked for");
}

#[tokio::test]
async fn usage_is_streamed_only_to_those_who_ask() {
    for wanted in [false, true] {
        let world = world(|| Act::Chunks(events("one"), None));
        let body = json!({"model": "task/chat", "stream": true, "stream_options": {"include_usage": wanted},
            "messages": [{"role": "user", "content": "hi"}]});
        let got = world.desk.ask_body(body.to_string(), Hints::default()).await;
        let with_usage = |event: &&String| {
            serde_json::from_str::<Value>(event).is_ok_and(|chunk| chunk["usage"]["prompt_tokens"] == 10)
        };
        assert_eq!(got.events.iter().filter(with_usage).count(), usize::from(wanted));
        assert_eq!(got.json["bantam"]["tier"], "mid", "the note stands in the last chunk");
        assert_eq!(world.desk.only().attempts[0].usage.unwrap().tokens.input, 10);
    }
}

#[tokio::test]
async fn a_stream_without_usage_is_settled_unpriced() {
    let world = world(|| Act::Chunks(events("one")[..3].to_vec(), None));
    let got = world.desk.ask_stream("task/chat", "hi").await;
    assert_eq!(got.json["bantam"]["cost_usd"], Value::Null);
    let settled = world.desk.only();
    assert_eq!((settled.attempts[0].usage, settled.attempts[0].cost), (None, None));
}

#[tokio::test]
async fn a_failure_before_the_first_byte_falls_back() {
    for (mid, reason) in [
        ((|| Act::Fail(BackendFault::Cut)) as fn() -> Act, "error"),
        (|| Act::Fail(BackendFault::FirstByteTimeout), "timeout"),
        (|| Act::Fail(BackendFault::BreakerOpen), "unavailable"),
    ] {
        let expected = format!("answered 200: mid failed {reason}, frontier accepted");
        let got = check(mid, "from above", &expected).await;
        assert_eq!(got.json["bantam"]["escalated"], json!([reason]));
    }
}

#[tokio::test]
async fn a_failure_in_mid_stream_is_an_error_event_and_no_fallback() {
    for (fault, reason) in [
        (BackendFault::Cut, "error"),
        (BackendFault::ChunkTimeout, "timeout"),
        (BackendFault::TooLarge, "too_long"),
    ] {
        let frontier = Arc::new(scripted(Tier::Frontier, |_, _| Act::Chunks(events("never"), None)));
        let mid = scripted(Tier::Mid, move |_, _| Act::Chunks(events("one two")[..2].to_vec(), Some(fault)));
        let ladder = vec![
            Arc::new(rung("mid", Arc::new(mid))),
            Arc::new(rung("frontier", Arc::clone(&frontier) as _)),
        ];
        let desk = Desk::new(deployment(vec![open_task("chat", ladder)], vec![]));
        let got = desk.ask_stream("task/chat", "hi").await;
        assert_eq!(got.text, "one ");
        let error = &got.json["error"];
        assert_eq!(
            (&error["code"], &error["type"]),
            (&json!("stream_broken"), &json!("upstream_error")),
            "{error}"
        );
        assert!(!got.events.contains(&"[DONE]".to_owned()), "a broken stream does not end well");
        let settled = desk.only();
        assert_eq!(told(&settled), format!("failed 502: mid failed {reason}"));
        assert_eq!(
            (settled.attempts[0].cost, settled.baseline_cost),
            (None, None),
            "what it cost is not known"
        );
        assert_eq!(frontier.calls(), 0);
    }
}

#[tokio::test]
async fn a_failure_behind_the_finish_is_an_error_all_the_same() {
    let got = check(
        || Act::Chunks(events("one two")[..4].to_vec(), Some(BackendFault::Cut)),
        "one two",
        "failed 502: mid failed error",
    )
    .await;
    assert_eq!(got.json["error"]["code"], "stream_broken");
}

#[tokio::test]
async fn a_model_that_answers_whole_is_streamed_as_one_chunk() {
    let got = check(
        || Act::Text("all at once", crate::support::tokens(3, 0, 3)),
        "all at once",
        "answered 200: mid accepted",
    )
    .await;
    assert_eq!(got.events.len(), 3);
    assert_eq!(got.json["choices"][0]["finish_reason"], "stop");
}

#[tokio::test]
async fn when_every_rung_fails_the_error_is_no_stream() {
    let world = world(|| Act::Fail(BackendFault::Cut));
    let mid_only = world.desk.ask_stream("mid", "hi").await;
    assert_eq!((mid_only.status, mid_only.slug, mid_only.events.len()), (502, "upstream_failed", 0));
    assert_eq!(world.frontier.calls(), 0);
}
