//! Callers of streams who wait: they see that the stream lives, and then the answer or an error.

use std::sync::Arc;
use std::time::Duration;

use bantam_backend::BackendFault;
use bantam_gateway::{Hints, ReplyBody};
use bantam_simulate::{Behaviour, SimulatedUpstream, StreamEnd, completion_events};
use bantam_types::Tier;
use bantam_wire::openai;
use futures_util::StreamExt;

use crate::support::{
    Act, Desk, body, deployment, open_task, remote, remote_at, rung, scripted, stream_body, told,
};

const COMMENT: &str = ": keep-alive\n\n";

/// An upstream that thinks for a while before it streams.
async fn upstream(end: StreamEnd, events: Vec<String>) -> SimulatedUpstream {
    SimulatedUpstream::start(move |_| Behaviour::Events {
        events: events.clone(),
        delay: Duration::from_millis(120),
        gap: Duration::ZERO,
        end,
    })
    .await
    .unwrap()
}

fn desk(upstream: &SimulatedUpstream, every: Duration) -> Desk {
    let ladder = vec![Arc::new(rung("mid", remote(upstream, Tier::Mid)))];
    Desk::new(deployment(vec![open_task("chat", ladder)], vec![])).keeping_alive(every)
}

/// Asks for a stream and returns everything that the caller gets, and whether headers told how the answer came about.
async fn stream_of(desk: &Desk) -> (String, bool) {
    let reply =
        desk.gateway.answer(openai::CHAT, stream_body("task/chat", "hi").into(), Hints::default()).await;
    let noted = reply.note.is_some();
    let ReplyBody::Stream(items) = reply.body else { panic!("no stream") };
    (String::from_utf8(items.collect::<Vec<_>>().await.concat()).unwrap(), noted)
}

#[tokio::test]
async fn a_slow_answer_follows_its_head_and_comments() {
    let upstream = upstream(StreamEnd::Done, completion_events("m", "one two", 10, 2)).await;
    let desk = desk(&upstream, Duration::from_millis(20));
    let (told_caller, noted) = stream_of(&desk).await;
    assert!(!noted, "the head left before anything was known");
    assert!(told_caller.starts_with(&COMMENT.repeat(2)), "{told_caller}");
    assert!(told_caller.contains("one ") && told_caller.ends_with("data: [DONE]\n\n"), "{told_caller}");
    assert!(told_caller.contains("\"tier\":\"mid\""), "the last chunk has the note");
    let settled = desk.only();
    assert_eq!(told(&settled), "answered 200: mid accepted");
    assert_eq!(settled.attempts[0].usage.unwrap().tokens.input, 10);
}

#[tokio::test]
async fn an_answer_in_time_has_its_note_and_no_comment() {
    let upstream = upstream(StreamEnd::Done, completion_events("m", "one two", 10, 2)).await;
    let desk = desk(&upstream, Duration::from_secs(60));
    let (told_caller, noted) = stream_of(&desk).await;
    assert!(noted && !told_caller.contains(COMMENT), "{told_caller}");
}

#[tokio::test]
async fn a_late_failure_is_told_in_the_stream() {
    let upstream = upstream(StreamEnd::Cut, Vec::new()).await;
    let desk = desk(&upstream, Duration::from_millis(20));
    let (told_caller, _) = stream_of(&desk).await;
    assert!(told_caller.starts_with(COMMENT), "{told_caller}");
    let last = told_caller.trim_end().rsplit("\n\n").next().unwrap();
    let error: serde_json::Value = serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(error["error"]["code"], "upstream_failed");
    assert!(!told_caller.contains("[DONE]"), "a failure is no good end");
    assert_eq!(told(&desk.only()), "failed 502: mid failed error");
}

#[tokio::test]
async fn the_next_rung_answers_behind_comments_too() {
    let upstream = upstream(StreamEnd::Cut, Vec::new()).await;
    let above =
        scripted(Tier::Frontier, |_, _| Act::Chunks(completion_events("m", "from above", 1, 1), None));
    let ladder = vec![
        Arc::new(rung("mid", remote(&upstream, Tier::Mid))),
        Arc::new(rung("frontier", Arc::new(above))),
    ];
    let desk = Desk::new(deployment(vec![open_task("chat", ladder)], vec![]));
    let desk = desk.keeping_alive(Duration::from_millis(20));
    let (told_caller, _) = stream_of(&desk).await;
    assert!(told_caller.starts_with(COMMENT) && told_caller.contains("above"), "{told_caller}");
    assert_eq!(told(&desk.only()), "answered 200: mid failed error, frontier accepted");
}

#[tokio::test]
async fn who_leaves_while_comments_come_is_settled_as_cancelled() {
    let hang = scripted(Tier::Mid, |_, _| Act::Hang);
    let ladder = vec![Arc::new(rung("mid", Arc::new(hang)))];
    let desk = Desk::new(deployment(vec![open_task("chat", ladder)], vec![]));
    let desk = desk.keeping_alive(Duration::from_millis(10));
    let reply =
        desk.gateway.answer(openai::CHAT, stream_body("task/chat", "hi").into(), Hints::default()).await;
    let ReplyBody::Stream(mut items) = reply.body else { panic!("no stream") };
    for _ in 0..3 {
        assert_eq!(items.next().await.unwrap(), COMMENT);
    }
    assert!(desk.settled().is_empty(), "settled while it runs");
    drop(items);
    assert_eq!(told(&desk.only()), "cancelled 499: mid cancelled");
}

#[tokio::test]
async fn failures_in_time_and_whole_answers_have_their_status() {
    let failing = scripted(Tier::Mid, |_, _| Act::Fail(BackendFault::Cut));
    let ladder = vec![Arc::new(rung("mid", Arc::new(failing)))];
    let desk = Desk::new(deployment(vec![open_task("chat", ladder)], vec![]));
    let desk = desk.keeping_alive(Duration::from_secs(60));
    for body in [stream_body("task/chat", "hi"), body("task/chat", "hi")] {
        let got = desk.ask_body(body, Hints::default()).await;
        assert_eq!((got.status, got.slug), (502, "upstream_failed"));
    }
}

#[tokio::test]
async fn pings_of_the_upstream_count_as_life() {
    // The upstream's pauses are shorter than the limit for pauses, and all of them together are longer.
    let ping = ": thinking\n\n".to_owned();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = [0; 8192];
        assert!(socket.read(&mut request).await.unwrap() > 0);
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n").await.unwrap();
        for _ in 0..10 {
            socket.write_all(ping.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for event in completion_events("m", "one two", 10, 2) {
            socket.write_all(format!("data: {event}\n\n").as_bytes()).await.unwrap();
        }
    });
    let ladder = vec![Arc::new(rung("mid", remote_at(&format!("http://{address}/v1"), Tier::Mid)))];
    let desk = Desk::new(deployment(vec![open_task("chat", ladder)], vec![]));
    let got = desk.ask_stream("task/chat", "hi").await;
    assert_eq!((got.status, &*got.text), (200, "one two"));
    serving.await.unwrap();
}
