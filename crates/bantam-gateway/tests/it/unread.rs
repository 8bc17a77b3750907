//! Callers who stop reading: deadlines are kept all the same, and what was held is given back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bantam_gateway::{Hints, Reply, ReplyBody, ReplyStream};
use bantam_remote::UpstreamSettings;
use bantam_simulate::{Behaviour, SimulatedUpstream, StreamEnd, completion_events};
use bantam_types::{FaultKind, Settlement, Tier};
use bantam_wire::openai;
use futures_util::StreamExt;

use crate::support::{
    Desk, PATIENCE, deployment, open_task, remote_with, rung, stream_body, told, upstream_settings,
};

const TOTAL: Duration = Duration::from_millis(300);

/// A desk whose one upstream takes one call at a time, for as long as [`TOTAL`].
fn desk(upstream: &SimulatedUpstream) -> Desk {
    let settings = UpstreamSettings {
        total_timeout: TOTAL,
        concurrent_requests_max: 1,
        ..upstream_settings(&upstream.base_url())
    };
    let ladder = vec![Arc::new(rung("mid", remote_with(settings, Tier::Mid)))];
    Desk::new(deployment(vec![open_task("chat", ladder)], vec![]))
}

async fn ask(desk: &Desk) -> ReplyStream {
    let asked = desk.gateway.answer(openai::CHAT, stream_body("task/chat", "hi").into(), Hints::default());
    let Reply { body: ReplyBody::Stream(items), .. } = asked.await else { panic!("no stream") };
    items
}

/// Waits until that many requests are settled, and returns how the last one was.
async fn settled(desk: &Desk, count: usize) -> Settlement {
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < PATIENCE, "it was never settled");
        let mut settled = desk.settled();
        if settled.len() >= count {
            return settled.pop().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Streams the usage first, as Anthropic does, and then words for ever.
fn endless() -> Vec<String> {
    let mut events = completion_events("m", "one two", 10, 2);
    let usage = events.pop().unwrap();
    events.pop();
    events.insert(1, usage);
    events
}

#[tokio::test]
async fn a_stream_that_nobody_reads_ends_at_its_deadline() {
    let upstream =
        SimulatedUpstream::start(|_| Behaviour::events(endless(), StreamEnd::Endless)).await.unwrap();
    let desk = desk(&upstream);
    for taken in [0, 1, 3] {
        let before = desk.settled().len();
        let mut items = ask(&desk).await;
        for _ in 0..taken {
            items.next().await.unwrap();
        }
        let settlement = settled(&desk, before + 1).await;
        assert_eq!(told(&settlement), "failed 502: mid failed timeout");
        let attempt = &settlement.attempts[0];
        assert_eq!(attempt.fault, Some(FaultKind::TotalTimeout));
        assert_eq!(
            attempt.usage.map(|usage| usage.tokens.input),
            (taken == 3).then_some(10),
            "what was seen is kept"
        );
        // The next call finds the upstream's only place free while the unread stream is still there.
        let mut next = ask(&desk).await;
        assert!(next.next().await.is_some());
        drop(next);
        let rest: Vec<_> = items.collect().await;
        assert_eq!(rest.len(), 1, "only the error is left");
        assert!(String::from_utf8_lossy(&rest[0]).contains("stream_broken"));
    }
}

#[tokio::test]
async fn a_reader_that_waits_is_told_of_the_deadline_at_once() {
    let events = completion_events("m", "one two", 10, 2)[..2].to_vec();
    let upstream = SimulatedUpstream::start(move |_| Behaviour::events(events.clone(), StreamEnd::Hang));
    let upstream = upstream.await.unwrap();
    let desk = desk(&upstream);
    let items = ask(&desk).await;
    let rest: Vec<_> = tokio::time::timeout(PATIENCE, items.collect::<Vec<_>>()).await.unwrap();
    assert!(String::from_utf8_lossy(rest.last().unwrap()).contains("stream_broken"));
    assert_eq!(told(&desk.only()), "failed 502: mid failed timeout");
}

#[tokio::test]
async fn a_late_answer_is_worked_on_although_nobody_reads_the_comments() {
    // The head of the stream has gone, the upstream never answers, and nobody looks: the upstream's deadline is kept.
    let upstream = SimulatedUpstream::start(|_| Behaviour::Hang).await.unwrap();
    let desk = desk(&upstream).keeping_alive(Duration::from_millis(20));
    for count in [1, 2] {
        let items = ask(&desk).await;
        let settlement = settled(&desk, count).await;
        assert_eq!(told(&settlement), "failed 504: mid failed timeout");
        let rest: Vec<_> = items.collect().await;
        assert!(String::from_utf8_lossy(rest.last().unwrap()).contains("upstream_timeout"), "{rest:?}");
    }
}
