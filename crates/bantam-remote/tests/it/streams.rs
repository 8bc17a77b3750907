//! Streams: whole ones arrive whole, cut ones say so.

use bantam_backend::BackendFault;
use bantam_simulate::{Behaviour, StreamEnd, completion_events};

use crate::support::{got, http_events, settings, start};

fn events() -> Vec<String> {
    completion_events("m", "a b", 3, 2)
}

fn with_done(mut events: Vec<String>) -> Vec<String> {
    events.push("[DONE]".to_owned());
    events
}

/// Sends `bytes` up to each byte in turn and hands what came of it to `check`.
async fn check_every_cut(bytes: Vec<u8>, check: impl Fn(usize, crate::support::Got)) {
    let upstream = start({
        let bytes = bytes.clone();
        move |received| Behaviour::Raw(bytes[..received.number as usize].to_vec())
    })
    .await;
    for cut in 0..=bytes.len() {
        check(cut, got(settings(&upstream.base_url()), true).await);
    }
}

fn end_of(bytes: &[u8], needle: &str) -> usize {
    bytes.windows(needle.len()).position(|window| window == needle.as_bytes()).unwrap() + needle.len()
}

#[tokio::test]
async fn a_stream_arrives_chunk_by_chunk_as_it_was_sent() {
    let upstream = start(|_| Behaviour::events(events(), StreamEnd::Done)).await;
    let got = got(settings(&upstream.base_url()), true).await;
    assert_eq!((got.chunks, got.fault), (events(), None));
}

#[tokio::test]
async fn a_chunked_stream_cut_at_any_byte_before_its_end_event_is_a_fault() {
    let bytes = http_events(&with_done(events()), true);
    let done = end_of(&bytes, "data: [DONE]\n\n");
    check_every_cut(bytes, |cut, got| {
        if cut >= done {
            assert_eq!((got.chunks, got.fault), (events(), None), "cut at byte {cut}");
            return;
        }
        assert!(
            matches!(got.fault, Some(BackendFault::Cut | BackendFault::Broken)),
            "cut at byte {cut}: {got:?}"
        );
        assert_eq!(got.chunks, events()[..got.chunks.len()], "cut at byte {cut}");
    })
    .await;
}

#[tokio::test]
async fn an_unframed_stream_cut_at_any_byte_is_a_fault_until_it_has_finished() {
    let bytes = http_events(&with_done(events()), false);
    // Behind the chunk that finishes the answer, an end between two events is a good end.
    let good_ends: Vec<usize> = {
        let text = String::from_utf8(bytes.clone()).unwrap();
        let finished = end_of(&bytes, "\"finish_reason\":\"stop\"");
        text.match_indices("\n\n").map(|(at, _)| at + 2).filter(|end| *end >= finished).collect()
    };
    assert_eq!(good_ends.len(), 3);
    check_every_cut(bytes, move |cut, got| {
        let good = good_ends.contains(&cut);
        assert_eq!(got.fault.is_none(), good, "cut at byte {cut}: {got:?}");
        assert_eq!(got.chunks, events()[..got.chunks.len()], "cut at byte {cut}");
    })
    .await;
}

#[tokio::test]
async fn a_finished_stream_without_its_end_event_is_accepted() {
    let upstream = start(|_| Behaviour::Raw(http_events(&events(), true))).await;
    let got = got(settings(&upstream.base_url()), true).await;
    assert_eq!((got.chunks, got.fault), (events(), None));
}

#[tokio::test]
async fn a_stream_that_ends_without_finishing_is_cut() {
    for kept in 0..3 {
        let upstream = start(move |_| Behaviour::Raw(http_events(&events()[..kept], true))).await;
        let got = got(settings(&upstream.base_url()), true).await;
        assert_eq!((got.chunks.len(), got.fault), (kept, Some(BackendFault::Cut)));
    }
}

#[tokio::test]
async fn garbage_in_mid_stream_ends_it() {
    for (garbage, expected) in [
        ("hello", BackendFault::Garbage),
        ("{}", BackendFault::Garbage),
        ("{\"error\":{\"message\":\"overloaded\"}}", BackendFault::ErrorBody),
    ] {
        let upstream = start(move |_| {
            let events = vec![events()[0].clone(), garbage.to_owned(), events()[1].clone()];
            Behaviour::events(events, StreamEnd::Done)
        })
        .await;
        let got = got(settings(&upstream.base_url()), true).await;
        assert_eq!((got.chunks, got.fault), (events()[..1].to_vec(), Some(expected)), "{garbage}");
    }
}

#[tokio::test]
async fn what_follows_the_end_event_is_not_read() {
    let upstream = start(|_| {
        let mut all = with_done(events());
        all.push("garbage".to_owned());
        Behaviour::Raw(http_events(&all, true))
    })
    .await;
    let got = got(settings(&upstream.base_url()), true).await;
    assert_eq!((got.chunks, got.fault), (events(), None));
}
