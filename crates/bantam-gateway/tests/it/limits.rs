//! Refusals before anything is spent: full queues, long prompts, bad bodies, a ledger that cannot be written.

use std::sync::Arc;
use std::time::Duration;

use bantam_gateway::{Hints, Rung};
use bantam_ledger::{Acknowledge, LedgerOptions};
use bantam_types::Tier;
use serde_json::json;
use tokio::sync::Notify;

use crate::support::{
    Act, Desk, PATIENCE, Scripted, body, deployment, open_task, read, rung, scripted, stream_body, told,
};
use bantam_wire::openai;

fn text() -> Arc<Scripted> {
    Arc::new(scripted(Tier::Mid, |_, _| Act::Text("x", None)))
}

fn desk_of(rungs: Vec<Rung>) -> Desk {
    Desk::new(deployment(vec![open_task("chat", rungs.into_iter().map(Arc::new).collect())], vec![]))
}

#[tokio::test]
async fn a_full_queue_refuses_and_says_when_to_come_back() {
    let mid = Arc::new(scripted(Tier::Mid, |_, _| Act::Hang));
    let task = open_task("chat", vec![Arc::new(rung("mid", Arc::clone(&mid) as _))]);
    let desk =
        Desk::with(deployment(vec![task], vec![]), LedgerOptions::new(Acknowledge::ProcessCrash), 1, 1);
    let ask = || {
        let gateway = Arc::clone(&desk.gateway);
        tokio::spawn(async move {
            gateway.answer(openai::CHAT, body("task/chat", "hi").into(), Hints::default()).await
        })
    };
    let running = ask();
    while mid.calls() == 0 {
        tokio::task::yield_now().await;
    }
    let waiting = ask();
    tokio::task::yield_now().await;
    let got = desk.ask("task/chat", "hi").await;
    assert_eq!((got.status, got.slug, got.retry_after_s), (429, "queue_full", Some(1)));
    // Who waited gets the place of who left.
    running.abort();
    while mid.calls() < 2 {
        tokio::task::yield_now().await;
    }
    waiting.abort();
    let _ = waiting.await;
    // Also who was turned away is in the books.
    let settled: Vec<_> = desk.settled().iter().map(told).collect();
    let cancelled = "cancelled 499: mid cancelled";
    assert_eq!(settled, ["refused 429: ", cancelled, cancelled]);
}

#[tokio::test]
async fn a_stream_keeps_its_place_to_its_last_byte() {
    let events = || bantam_simulate::completion_events("m", "a b", 1, 1);
    let mid = rung("mid", Arc::new(scripted(Tier::Mid, move |_, _| Act::Chunks(events(), None))));
    let options = LedgerOptions::new(Acknowledge::ProcessCrash);
    let desk = Desk::with(deployment(vec![], vec![Arc::new(mid)]), options, 1, 0);
    let stream = || desk.gateway.answer(openai::CHAT, stream_body("mid", "hi").into(), Hints::default());
    let begun = stream().await;
    assert_eq!(desk.ask_stream("mid", "hi").await.slug, "queue_full");
    assert_eq!(read(begun).await.text, "a b");
    let left = stream().await;
    assert_eq!(desk.ask_stream("mid", "hi").await.slug, "queue_full");
    drop(left);
    assert_eq!(desk.ask_stream("mid", "hi").await.text, "a b");
}

#[tokio::test]
async fn a_prompt_that_fits_no_rung_is_refused_with_both_counts() {
    let (small, large) = (text(), text());
    let desk = desk_of(vec![
        Rung { context_tokens: Some(20), ..rung("small", Arc::clone(&small) as _) },
        Rung { context_tokens: Some(100), ..rung("large", Arc::clone(&large) as _) },
    ]);
    let got = desk.ask("task/chat", &"word ".repeat(400)).await;
    assert_eq!(
        (got.status, got.slug, got.param.as_deref()),
        (400, "context_length_exceeded", Some("messages"))
    );
    assert!(
        got.message.contains("about 504 tokens") && got.message.contains("100 tokens"),
        "{}",
        got.message
    );
    assert_eq!(told(&desk.of(&got)), "refused 400: ");
    // One that fits only the larger goes there.
    let got = desk.ask("task/chat", &"word ".repeat(40)).await;
    assert_eq!(told(&desk.of(&got)), "answered 200: large accepted");
    assert_eq!((small.calls(), large.calls()), (0, 1));
}

#[tokio::test]
async fn a_parameter_that_nobody_honours_is_refused_by_name() {
    let without =
        || scripted(Tier::Mid, |_, _| Act::Text("x", None)).that_cannot_honour(bantam_wire::Feature::Seed);
    let with = text();
    let body =
        json!({"model": "task/chat", "seed": 7, "messages": [{"role": "user", "content": "hi"}]}).to_string();
    let desk = desk_of(vec![rung("a", Arc::new(without())), rung("b", Arc::new(without()))]);
    let got = desk.ask_body(body.clone(), Hints::default()).await;
    assert_eq!((got.status, got.slug, got.param.as_deref()), (400, "unsupported_parameter", Some("seed")));
    let desk = desk_of(vec![rung("a", Arc::new(without())), rung("b", Arc::clone(&with) as _)]);
    let got = desk.ask_body(body, Hints::default()).await;
    assert_eq!(told(&desk.of(&got)), "answered 200: b accepted");
}

#[tokio::test]
async fn when_every_upstream_is_left_alone_the_caller_may_retry() {
    let desk =
        desk_of(vec![rung("mid", Arc::new(scripted(Tier::Mid, |_, _| Act::Hang).that_is_unavailable()))]);
    let got = desk.ask("task/chat", "hi").await;
    assert_eq!((got.status, got.slug, got.retry_after_s), (503, "upstreams_unavailable", Some(30)));
}

#[tokio::test]
async fn bad_bodies_are_named_and_nothing_is_forwarded() {
    let mid = text();
    let desk = desk_of(vec![rung("mid", Arc::clone(&mid) as _)]);
    let hi = r#""messages":[{"role":"user","content":"hi"}]"#;
    let deep = format!("{{\"model\":\"mid\",{hi},\"metadata\":{}1{}}}", "[".repeat(100), "]".repeat(100));
    for (body, slug, param) in [
        ("", "invalid_json", None),
        ("{", "invalid_json", None),
        ("[]", "invalid_json", None),
        ("{\"model\":\"mid\"} x", "invalid_json", None),
        (&*deep, "invalid_json", None),
        (&format!("{{\"model\":\"mid\",\"model\":\"mid\",{hi}}}"), "invalid_json", None),
        (&format!("{{\"model\":\"mid\",\"temprature\":1,{hi}}}"), "unknown_parameter", Some("temprature")),
        (
            &format!("{{\"model\":\"mid\",\"temperature\":\"hot\",{hi}}}"),
            "invalid_value",
            Some("temperature"),
        ),
        (&format!("{{\"model\":7,{hi}}}"), "invalid_value", Some("model")),
        (&format!("{{{hi}}}"), "missing_required_parameter", Some("model")),
        ("{\"model\":\"mid\",\"messages\":[]}", "invalid_value", Some("messages")),
        (
            "{\"model\":\"mid\",\"messages\":[{\"role\":\"user\",\"content\":7}]}",
            "invalid_value",
            Some("messages[0].content"),
        ),
    ] {
        let got = desk.ask_body(body.to_owned(), Hints::default()).await;
        assert_eq!((got.status, got.slug, got.param.as_deref()), (400, slug, param), "{body}");
    }
    let got = desk.ask_body(&b"{\"model\":\"mid\",\"user\":\"\xff\"}"[..], Hints::default()).await;
    assert_eq!((got.status, got.slug), (400, "invalid_json"));
    assert_eq!((mid.calls(), desk.settled().len()), (0, 13));
    assert!(desk.settled().iter().all(|settlement| told(settlement) == "refused 400: "));
}

#[tokio::test]
async fn without_a_ledger_nothing_is_asked() {
    let mid = text();
    let desk = desk_of(vec![rung("mid", Arc::clone(&mid) as _)]);
    assert!(desk.gateway.is_ready());
    desk.ledger.close().unwrap();
    assert!(!desk.gateway.is_ready());
    for got in [desk.ask("mid", "hi").await, desk.ask_stream("task/chat", "hi").await] {
        assert_eq!((got.status, got.slug, got.retry_after_s), (503, "ledger_unavailable", Some(5)));
    }
    assert_eq!(mid.calls(), 0);
}

#[tokio::test]
async fn an_answer_that_cannot_be_settled_is_not_returned() {
    for stream in [false, true] {
        let asked = Arc::new(Notify::new());
        let telling = Arc::clone(&asked);
        let mid = scripted(Tier::Mid, move |_, _| {
            telling.notify_one();
            Act::Text("an answer", None)
        });
        let desk = desk_of(vec![rung("mid", Arc::new(mid))]);
        // The gateway checks the ledger before it asks; here it is gone by the time the answer comes.
        let ledger = Arc::clone(&desk.ledger);
        let closing = rung(
            "closing",
            Arc::new(scripted(Tier::Mid, move |_, _| {
                ledger.close().unwrap();
                Act::Chunks(bantam_simulate::completion_events("m", "an answer", 1, 1), None)
            })),
        );
        let ledger = Arc::clone(&desk.ledger);
        let whole = rung(
            "whole",
            Arc::new(scripted(Tier::Mid, move |_, _| {
                ledger.close().unwrap();
                Act::Text("an answer", None)
            })),
        );
        desk.gateway.deploy(deployment(vec![], vec![Arc::new(if stream { closing } else { whole })]));
        let got = if stream { desk.ask_stream("auto", "hi").await } else { desk.ask("auto", "hi").await };
        if stream {
            assert_eq!(got.json["error"]["code"], "ledger_unavailable", "{got:?}");
            assert!(!got.events.contains(&"[DONE]".to_owned()));
        } else {
            assert_eq!((got.status, got.slug, &*got.text), (503, "ledger_unavailable", ""));
        }
    }
}

#[tokio::test]
async fn a_request_ends_under_the_deployment_it_began_under() {
    let go = Arc::new(Notify::new());
    let asked = Arc::new(scripted(Tier::Mid, |_, _| Act::Fail(bantam_backend::BackendFault::Garbage)));
    let old_last = Arc::new(scripted(Tier::Mid, |_, _| Act::Text("old", None)));
    let waiting = Arc::new(Waiting { go: Arc::clone(&go), inner: Arc::clone(&asked) });
    let ladder =
        vec![Arc::new(rung("waiting", waiting as _)), Arc::new(rung("old", Arc::clone(&old_last) as _))];
    let desk = Desk::new(deployment(vec![], ladder));
    let running = tokio::spawn({
        let gateway = Arc::clone(&desk.gateway);
        async move { read(gateway.answer(openai::CHAT, body("auto", "hi").into(), Hints::default()).await).await }
    });
    while asked.calls() == 0 {
        tokio::task::yield_now().await;
    }
    let new = scripted(Tier::Mid, |_, _| Act::Text("new", None));
    desk.gateway.deploy(deployment(vec![], vec![Arc::new(rung("new", Arc::new(new)))]));
    assert_eq!(desk.ask("auto", "hi").await.text, "new");
    assert_eq!(desk.ask("old", "hi").await.status, 404);
    go.notify_one();
    let got = tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap();
    assert_eq!((&*got.text, old_last.calls()), ("old", 1));
    assert_eq!(told(&desk.of(&got)), "answered 200: waiting failed error, old accepted");
}

#[tokio::test]
async fn deploying_while_many_requests_run_loses_none() {
    let make = |text: &'static str| {
        deployment(
            vec![],
            vec![Arc::new(rung("mid", Arc::new(scripted(Tier::Mid, move |_, _| Act::Text(text, None)))))],
        )
    };
    let desk = Desk::new(make("a"));
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..200 {
        let gateway = Arc::clone(&desk.gateway);
        asking.spawn(async move {
            read(gateway.answer(openai::CHAT, body("auto", "hi").into(), Hints::default()).await).await
        });
        if number % 10 == 0 {
            desk.gateway.deploy(make(if number % 20 == 0 { "b" } else { "a" }));
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
    }
    while let Some(got) = asking.join_next().await {
        assert_eq!(got.unwrap().status, 200);
    }
    assert_eq!(desk.settled().len(), 200);
}

/// Waits for a sign before it lets its inner backend's answer through.
struct Waiting {
    go: Arc<Notify>,
    inner: Arc<Scripted>,
}

impl bantam_backend::Backend for Waiting {
    fn tier(&self) -> Tier {
        self.inner.tier()
    }

    fn cannot_honour(&self, _: &bantam_wire::Call) -> Option<bantam_wire::Unsupported> {
        None
    }

    fn is_available(&self, _: bantam_wire::CallKind) -> bool {
        true
    }

    fn answer(
        &self,
        request: bantam_privacy::Cleared,
        ask: bantam_backend::Ask,
    ) -> bantam_backend::BoxFuture<'_, Result<bantam_backend::Answer, bantam_backend::BackendError>> {
        let answer = self.inner.answer(request, ask);
        Box::pin(async move {
            self.go.notified().await;
            answer.await
        })
    }
}
