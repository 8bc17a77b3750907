//! Streams in, event by event, and what the caller reads.

use std::collections::VecDeque;

use bantam_types::CountState;
use bantam_wire::sse::SseEvent;
use bantam_wire::{ApiError, Delta, Endpoint, ErrorCode, EventReader, Format, StreamItem, openai};

use crate::foreign::{FOREIGN, LIKE_ANTHROPIC};
use crate::golden::{all, asked, context, note, text};

/// Relays a stream as the gateway does, up to its good end or to the first fault.
fn relay(lines: &str, format: Format, endpoint: &'static dyn Endpoint, include_usage: bool) -> String {
    let call = asked(endpoint, include_usage);
    let mut reader = EventReader::new(format, endpoint);
    let mut encoder = endpoint.stream(context(&call));
    let (mut items, mut out) = (VecDeque::new(), Vec::new());
    for line in lines.lines() {
        let event = SseEvent { event: None, data: line.to_owned() };
        if let Err(error) = reader.read(event, &mut items) {
            let told =
                ApiError::new(ErrorCode::UpstreamFailed, "stream_broken", format!("broke off: {error}"));
            encoder.fail(&told, &mut out);
            return text(out);
        }
        while let Some(item) = items.pop_front() {
            encoder.push(item, &mut out).unwrap();
        }
    }
    assert!(reader.is_done(), "the stream does not say that it is over");
    encoder.finish(&note(), &mut out);
    text(out)
}

#[test]
fn an_upstreams_stream_reaches_the_caller_in_the_callers_dialect() {
    for golden in all("streams", "txt") {
        let (format, endpoint) = golden.format();
        for (include_usage, to) in [(false, "plain"), (true, "with_usage")] {
            let told = relay(&golden.text, format, endpoint, include_usage);
            insta::assert_snapshot!(golden.name("stream", to), told);
        }
    }
}

#[test]
fn every_upstreams_stream_has_steps_in_neutral_terms() {
    for golden in all("streams", "txt") {
        let (format, _) = golden.format();
        let mut reader = EventReader::new(format, FOREIGN);
        let mut items = VecDeque::new();
        let mut told = String::new();
        for line in golden.text.lines() {
            let event = SseEvent { event: None, data: line.to_owned() };
            match reader.read(event, &mut items) {
                Ok(()) => {}
                Err(error) => told.push_str(&format!("fault: {error}\n")),
            }
            for item in items.drain(..) {
                let StreamItem::Typed(delta) = item else { panic!("nothing is passed on as it came") };
                told.push_str(&format!("{delta:?}\n"));
            }
        }
        insta::assert_snapshot!(golden.name("stream", "steps"), told);
    }
}

#[test]
fn a_stream_and_the_whole_answer_say_the_same() {
    let delta = |data: &str| {
        let mut items = VecDeque::new();
        let event = SseEvent { event: None, data: data.to_owned() };
        EventReader::new(Format::OpenAiChat, FOREIGN).read(event, &mut items).unwrap();
        items
    };
    let chunk = r#"{"id":"a","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;
    let kinds: Vec<(bool, bool)> =
        delta(chunk).iter().map(|item| (item.finishes(), item.usage().is_some())).collect();
    assert_eq!(kinds, [(false, false), (false, false), (true, false), (false, true)]);
    let StreamItem::Typed(Delta::Begin(head)) = &delta(chunk)[0] else { panic!("no beginning") };
    assert_eq!(head.id.as_deref(), Some("a"));
}

#[test]
fn a_caller_of_anthropics_dialect_would_get_its_events_as_they_came() {
    for golden in all("streams", "txt").iter().filter(|golden| golden.what == "anthropic") {
        let mut reader = EventReader::new(Format::AnthropicMessages, LIKE_ANTHROPIC);
        let mut items = VecDeque::new();
        for line in golden.text.lines() {
            let event = SseEvent { event: None, data: line.to_owned() };
            let Ok(()) = reader.read(event, &mut items) else { break };
            let Some(StreamItem::Raw(chunk)) = items.pop_front() else { panic!("it was translated") };
            assert_eq!(chunk.data, line);
            let counts = chunk.facts.usage.map(|usage| usage.counts);
            let expected = match () {
                () if line.contains("message_delta") => Some(CountState::Complete),
                () if line.contains("\"usage\"") => Some(CountState::Partial),
                () => None,
            };
            assert_eq!(counts, expected, "{line}");
            assert_eq!(chunk.facts.finishes, line.contains("message_delta"), "{line}");
        }
        assert_eq!(reader.is_done(), golden.case != "error");
    }
}

#[test]
fn a_chunk_of_another_format_is_not_passed_on() {
    let call = asked(openai::CHAT, false);
    let mut items = VecDeque::new();
    let event = SseEvent { event: None, data: r#"{"choices":[{"text":"a"}]}"#.to_owned() };
    EventReader::new(Format::OpenAiText, openai::TEXT).read(event, &mut items).unwrap();
    let mut out = Vec::new();
    openai::CHAT.stream(context(&call)).push(items.pop_front().unwrap(), &mut out).unwrap_err();
    assert!(out.is_empty());
}
