//! Requests of callers, and answers and events of upstreams.

use bantam_privacy::{PrivacyPolicy, Scanned, Scanner, ScannerConfig};
use bantam_types::{Label, Tier};
use bantam_wire::anthropic::{StreamTranslator, read_message, request_body};
use bantam_wire::chunk::read_chunk;
use bantam_wire::completion::read_answer;
use bantam_wire::json::walk;
use bantam_wire::sse::{SseEvent, SseReader};
use bantam_wire::{DecodeLimits, Edits, Endpoint};

const ENDPOINTS: [Endpoint; 3] = [Endpoint::Chat, Endpoint::Completions, Endpoint::Embeddings];

/// Walks the bytes as a JSON document.
pub(super) fn json_walk(bytes: &[u8]) {
    let walked = walk(bytes, 16, &mut ()).is_ok();
    let parsed = serde_json::from_slice::<serde_json::Value>(bytes).is_ok();
    assert!(parsed || !walked, "what is walked is JSON");
}

/// Decodes the bytes as a request to every endpoint, and writes it for every kind of upstream.
pub(super) fn openai_request(bytes: &[u8]) {
    let Ok(scanner) = Scanner::new(&ScannerConfig { dictionary: Vec::new() }) else { return };
    for endpoint in ENDPOINTS {
        let body = bytes::Bytes::copy_from_slice(bytes);
        let Ok(scanned) = Scanned::decode(endpoint, body, &DecodeLimits::default(), &scanner) else { continue };
        let policy = PrivacyPolicy { mid_max: Label::Public, frontier_max: Label::Public };
        assert!(policy.clear(&scanned, Tier::Local).is_some());
        let request = scanned.request();
        let edits = Edits { model: "m", system: Some("s"), stream: request.stream };
        let forwarded = request.forward_body(edits);
        assert!(serde_json::from_slice::<serde_json::Value>(&forwarded).is_ok(), "what is forwarded is JSON");
        let _ = request_body(request, edits);
    }
}

/// Reads the bytes as an answer of OpenAI's dialect.
pub(super) fn openai_answer(bytes: &[u8]) {
    ENDPOINTS.iter().for_each(|endpoint| drop(read_answer(*endpoint, bytes)));
}

/// Reads the bytes as events of OpenAI's dialect, however they are cut.
pub(super) fn openai_stream(bytes: &[u8]) {
    for event in events(bytes) {
        let _ = read_chunk(&event.data);
    }
}

/// Reads the bytes as an answer of Anthropic's dialect.
pub(super) fn anthropic_answer(bytes: &[u8]) {
    if let Ok((body, _)) = read_message(bytes, 1) {
        assert!(read_answer(Endpoint::Chat, &body).is_ok(), "what is translated reads as OpenAI's");
    }
}

/// Reads the bytes as events of Anthropic's dialect.
pub(super) fn anthropic_stream(bytes: &[u8]) {
    let mut translator = StreamTranslator::new(1);
    for event in events(bytes) {
        let Ok(chunks) = translator.translate(&event) else { return };
        chunks.iter().for_each(|chunk| assert!(read_chunk(chunk).is_ok(), "what is translated reads as OpenAI's"));
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
