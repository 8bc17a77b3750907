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
async fn a_chunked_stream_cut_at_any_byte_is_a_fault_until_it_has_finished() {
    let bytes = http_events(&with_done(events()), true);
    let finished = end_of(&bytes, "\"finish_reason\":\"stop\"}],\"usage\":null}\n\n");
    let told = end_of(&bytes, "\"prompt_tokens_details\":{\"cached_tokens\":0}}}\n\n");
    check_every_cut(bytes, |cut, got| {
        if cut >= finished {
            // Only the usage may be missing then.
            let whole = if cut >= told { 5 } else { 4 };
            assert_eq!((&*got.chunks, got.fault), (&events()[..whole], None), "cut at byte {cut}");
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
    let finished = end_of(&bytes, "\"finish_reason\":\"stop\"}],\"usage\":null}\n\n");
    check_every_cut(bytes, move |cut, got| {
        assert_eq!(got.fault.is_none(), cut >= finished, "cut at byte {cut}: {got:?}");
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
        // The role alone is not passed on.
        let told = if kept < 2 { 0 } else { kept };
        assert_eq!((got.chunks.len(), got.fault), (told, Some(BackendFault::Cut)));
    }
}

#[tokio::test]
async fn garbage_in_mid_stream_ends_it() {
    for (garbage, expected) in [
        ("hello", BackendFault::Garbage),
        ("{\"choices\":7}", BackendFault::Garbage),
        ("{\"error\":{\"message\":\"overloaded\"}}", BackendFault::ErrorBody),
    ] {
        // Nothing was passed on where the answer had said nothing yet.
        for (before, told) in [(1, 0), (2, 2)] {
            let upstream = start(move |_| {
                let events = [&events()[..before], &[garbage.to_owned()], &events()[before..]].concat();
                Behaviour::events(events, StreamEnd::Done)
            })
            .await;
            let got = got(settings(&upstream.base_url()), true).await;
            assert_eq!((&*got.chunks, got.fault), (&events()[..told], Some(expected)), "{garbage}");
        }
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
