//! Requests of callers, and answers and events of upstreams.

use std::collections::VecDeque;

use bantam_privacy::{PrivacyPolicy, Scanned, Scanner, ScannerConfig};
use bantam_types::{Label, Tier};
use bantam_wire::json::walk;
use bantam_wire::sse::{SseEvent, SseReader};
use bantam_wire::{DecodeLimits, ENDPOINTS, Edits, EventReader, Format, Phrasing, anthropic, openai};

const OPENAI_FORMATS: [Format; 3] = [Format::OpenAiChat, Format::OpenAiText, Format::OpenAiEmbeddings];

/// Walks the bytes as a JSON document.
pub(super) fn json_walk(bytes: &[u8]) {
    let walked = walk(bytes, 16, &mut ()).is_ok();
    let parsed = serde_json::from_slice::<serde_json::Value>(bytes).is_ok();
    assert!(parsed || !walked, "what is walked is JSON");
}

/// Decodes the bytes as a request to every endpoint, reads it in full, and writes it for every kind of upstream.
pub(super) fn openai_request(bytes: &[u8]) {
    let Ok(scanner) = Scanner::new(&ScannerConfig { dictionary: Vec::new() }) else { return };
    for &endpoint in ENDPOINTS {
        let body = bytes::Bytes::copy_from_slice(bytes);
        let Ok(scanned) = Scanned::decode(endpoint, body, &DecodeLimits::default(), &scanner) else {
            continue;
        };
        let policy = PrivacyPolicy { mid_max: Label::Public, frontier_max: Label::Public };
        assert!(policy.clear(&scanned, Tier::Local).is_some());
        let call = scanned.request();
        let _ = (call.settings(), call.last_user_text(), call.said_before(), call.unread_part());
        for message in call.messages() {
            let _ = (message.text().len(), message.tool_calls().len());
        }
        let edits = Edits { model: "m", system: Some("s"), stream: true, phrasing: Phrasing::default() };
        let translated = anthropic::body(call, edits, anthropic::ModelTraits::default());
        for body in [openai::body(call, edits), translated].into_iter().flatten() {
            assert!(serde_json::from_slice::<serde_json::Value>(&body).is_ok(), "what is forwarded is JSON");
        }
        assert!(serde_json::from_slice::<serde_json::Value>(&openai::body_from_typed(call, edits)).is_ok());
    }
}

/// Reads the bytes as an answer of OpenAI's dialect.
pub(super) fn openai_answer(bytes: &[u8]) {
    OPENAI_FORMATS.iter().for_each(|format| answer(*format, bytes));
}

/// Reads the bytes as events of OpenAI's dialect, however they are cut.
pub(super) fn openai_stream(bytes: &[u8]) {
    OPENAI_FORMATS.iter().for_each(|format| stream(*format, bytes));
}

/// Reads the bytes as an answer of Anthropic's dialect.
pub(super) fn anthropic_answer(bytes: &[u8]) {
    answer(Format::AnthropicMessages, bytes);
}

/// Reads the bytes as events of Anthropic's dialect.
pub(super) fn anthropic_stream(bytes: &[u8]) {
    stream(Format::AnthropicMessages, bytes);
}

/// Reads an answer as every endpoint's callers get it.
fn answer(format: Format, bytes: &[u8]) {
    for &endpoint in ENDPOINTS {
        if let Ok(body) = format.read_answer(bytes::Bytes::copy_from_slice(bytes), endpoint) {
            let _ = (body.usage(), body.text().map(str::len));
            let _ = body.outcome().map(|outcome| outcome.deltas().len());
        }
    }
}

fn stream(format: Format, bytes: &[u8]) {
    for &endpoint in ENDPOINTS {
        let mut reader = EventReader::new(format, endpoint);
        let mut items = VecDeque::new();
        for event in events(bytes) {
            if reader.read(event, &mut items).is_err() {
                break;
            }
        }
        for item in items {
            let _ = (item.usage(), item.finishes());
        }
    }
}

/// Returns the events of a stream, which are the same however the bytes are cut.
fn events(bytes: &[u8]) -> Vec<SseEvent> {
    let whole = events_of([bytes].into_iter());
    let cut = 1 + bytes.first().map_or(0, |byte| usize::from(*byte));
    assert_eq!(whole, events_of(bytes.chunks(cut)), "events do not depend on how the bytes are cut");
    whole
}

fn events_of<'b>(pieces: impl Iterator<Item = &'b [u8]>) -> Vec<SseEvent> {
    let mut reader = SseReader::new(1 << 20);
    let mut events = Vec::new();
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.next_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(_) => return events,
            }
        }
    }
    events
}
