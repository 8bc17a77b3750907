//! Callers who leave: settled once, as cancelled, with the attempt that ran.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bantam_gateway::{Hints, ReplyBody};
use bantam_ledger::{Acknowledge, LedgerOptions};
use bantam_route::Gate;
use bantam_simulate::completion_events;
use bantam_types::{RequestOutcome, Tier, TokenUsage, Unpriced, Usd};
use futures_util::StreamExt;

use crate::support::{
    Act, Desk, body, deployment, open_task, rung, scripted, stream_body, student_rung, task, told,
};
use bantam_wire::openai;

fn desk(script: impl Fn() -> Act + Send + Sync + 'static) -> Desk {
    let student = scripted(Tier::Local, |_, _| Act::Say("card", 0.1));
    let mid = Arc::new(rung("mid", Arc::new(scripted(Tier::Mid, move |_, _| script()))));
    let student = Arc::new(student_rung(Arc::new(student), Gate::Certified { threshold: 0.9 }));
    let tasks = vec![task("intent", vec![student, Arc::clone(&mid)]), open_task("chat", vec![mid])];
    Desk::with(deployment(tasks, vec![]), LedgerOptions::new(Acknowledge::PowerLoss), 4, 4)
}

async fn check(model: &str, stream: bool, expected: &str) {
    let desk = desk(|| Act::Hang);
    let body = if stream { stream_body(model, "hi") } else { body(model, "hi") };
    let asked = desk.gateway.answer(openai::CHAT, body.into(), Hints::default());
    assert!(tokio::time::timeout(Duration::from_millis(20), asked).await.is_err());
    let settled = desk.only();
    assert_eq!(told(&settled), expected);
    assert_eq!((settled.baseline_cost, settled.attempts.last().unwrap().cost), (None, None));
}

#[tokio::test]
async fn who_leaves_before_the_answer_is_settled_with_the_running_attempt() {
    for stream in [false, true] {
        check("task/intent", stream, "cancelled 499: student discarded low_confidence, mid cancelled").await;
        check("task/chat", stream, "cancelled 499: mid cancelled").await;
    }
}

#[tokio::test]
async fn who_leaves_in_mid_stream_is_settled_as_cancelled() {
    for taken in 0..3 {
        let desk = desk(|| Act::ChunksThenHang(completion_events("m", "a b c", 1, 1)[..3].to_vec()));
        let reply =
            desk.gateway.answer(openai::CHAT, stream_body("task/chat", "hi").into(), Hints::default()).await;
        let ReplyBody::Stream(mut items) = reply.body else { panic!("no stream") };
        for _ in 0..taken {
            items.next().await.unwrap();
        }
        assert!(desk.settled().is_empty(), "settled while it runs");
        drop(items);
        assert_eq!(told(&desk.only()), "cancelled 499: mid cancelled");
    }
}

#[tokio::test]
async fn what_was_counted_before_a_caller_left_is_kept_and_priced_where_it_is_all() {
    let chunk = |text: &str, usage: &str| {
        format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}]{usage}}}"#)
    };
    let counted = |output: u64| {
        format!(
            r#","usage":{{"prompt_tokens":1000,"completion_tokens":{output},"total_tokens":{}}}"#,
            1000 + output
        )
    };
    for (chunks, output, unpriced) in [
        (vec![chunk("a", &counted(10)), chunk("b", &counted(50))], 50, None),
        (vec![chunk("a", &counted(10)), chunk("b", "")], 10, Some(Unpriced::CountedInPart)),
    ] {
        let desk = desk(move || Act::ChunksThenHang(chunks.clone()));
        let body = stream_body("task/chat", "hi");
        let reply = desk.gateway.answer(openai::CHAT, body.into(), Hints::default()).await;
        let ReplyBody::Stream(mut items) = reply.body else { panic!("no stream") };
        for _ in 0..2 {
            items.next().await.unwrap();
        }
        drop(items);
        let settled = desk.only();
        assert_eq!(told(&settled), "cancelled 499: mid cancelled");
        let attempt = &settled.attempts[0];
        assert_eq!(attempt.usage.unwrap().tokens, TokenUsage::new(1000, 0, output));
        // $2 for a million tokens in and $8 out.
        let cost = unpriced.is_none().then(|| Usd::from_picodollars(2_400_000_000));
        assert_eq!((attempt.cost, attempt.unpriced), (cost, unpriced));
        assert_eq!(attempt.first_byte_us, Some(1));
    }
}

#[tokio::test]
async fn a_stream_that_was_read_to_its_end_is_not_cancelled_by_being_dropped() {
    let desk = desk(|| Act::Chunks(completion_events("m", "a", 1, 1), None));
    let got = desk.ask_stream("task/chat", "hi").await;
    assert_eq!(told(&desk.of(&got)), "answered 200: mid accepted");
    assert_eq!(desk.settled().len(), 1);
}

/// Polls a request so often and drops it; returns how the ledger has it.
fn drop_after(polls: usize) -> Vec<RequestOutcome> {
    let desk = desk(|| Act::After(3, "rate"));
    {
        let mut asked =
            pin!(desk.gateway.answer(openai::CHAT, body("task/intent", "hi").into(), Hints::default()));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..polls {
            if let Poll::Ready(reply) = asked.as_mut().poll(&mut context) {
                assert!(matches!(reply.body, ReplyBody::Whole(_)));
                break;
            }
            if polls > 10 {
                // The disk needs a moment to acknowledge.
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
    desk.settled().iter().map(|settlement| settlement.outcome).collect()
}

#[test]
fn wherever_a_request_is_dropped_it_is_settled_exactly_once() {
    assert_eq!(drop_after(0), [], "nobody ever looked at it");
    for polls in 1..=3 {
        assert_eq!(drop_after(polls), [RequestOutcome::Cancelled], "{polls} polls");
    }
    // From here on the answer is in the ledger, whether its caller still waits for the disk or not.
    assert_eq!(drop_after(4), [RequestOutcome::Answered]);
    assert_eq!(drop_after(10_000), [RequestOutcome::Answered]);
}

#[tokio::test]
async fn who_leaves_gives_the_place_up() {
    let desk = desk(|| Act::Hang);
    for _ in 0..20 {
        let asked = desk.gateway.answer(openai::CHAT, body("task/chat", "hi").into(), Hints::default());
        assert!(tokio::time::timeout(Duration::from_millis(2), asked).await.is_err());
    }
    assert_eq!(desk.settled().len(), 20);
}
