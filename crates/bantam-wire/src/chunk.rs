//! Streamed answers: an upstream's chunks, read and annotated; Bantam's own, written from nothing.

use bantam_types::TokenUsage;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::chat::push_json_string;
use crate::completion::{OwnAnswer, ReadCompletionError, UsageShape, push_usage};
use crate::error::ApiError;
use crate::note::RoutingNote;

/// The event that ends every stream.
pub const DONE: &[u8] = b"data: [DONE]\n\n";

/// What Bantam needs to know of one chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkFacts {
    /// Tokens, on the chunk that carries them.
    pub usage: Option<TokenUsage>,
    /// Whether the chunk has any choice at all; a pure usage chunk has none.
    pub has_choices: bool,
    /// Whether a choice ends with this chunk.
    pub finishes: bool,
    /// Whether it already carries a `bantam` object.
    pub has_note: bool,
}

#[derive(Deserialize)]
struct ChunkShape<'a> {
    #[serde(borrow, default)]
    choices: Option<Vec<ChunkChoice<'a>>>,
    #[serde(default)]
    usage: Option<UsageShape>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    bantam: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ChunkChoice<'a> {
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
}

/// Reads one `chat.completion.chunk`.
///
/// # Errors
/// When it is no chunk, or an error object in place of one.
pub fn read_chunk(data: &str) -> Result<ChunkFacts, ReadCompletionError> {
    let shape: ChunkShape<'_> =
        serde_json::from_str(data).map_err(|_| ReadCompletionError::NotACompletion)?;
    if shape.error.is_some() {
        return Err(ReadCompletionError::ErrorObject);
    }
    let Some(choices) = shape.choices else {
        return Err(ReadCompletionError::NotACompletion);
    };
    Ok(ChunkFacts {
        usage: shape.usage.map(TokenUsage::from),
        has_choices: !choices.is_empty(),
        finishes: choices.iter().any(|choice| choice.finish_reason.is_some()),
        has_note: shape.bantam.is_some(),
    })
}

/// Returns `data` as one event.
pub fn event(data: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + 16);
    // A chunk may have come over several `data:` lines; JSON allows the newline between them anywhere.
    for line in data.split('\n') {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }
    out.push(b'\n');
    out
}

/// Returns `data` as one event, the note spliced in.
pub fn event_with_note(data: &str, facts: &ChunkFacts, note: &RoutingNote) -> Vec<u8> {
    let annotated = crate::completion::with_note(data.as_bytes(), facts.has_note, note);
    event(&String::from_utf8_lossy(&annotated))
}

/// Returns a whole stream for an answer that is known in full: one content chunk, one that ends it with
/// the note, the usage chunk when asked for, and the end.
pub fn own_stream(answer: OwnAnswer<'_>, include_usage: bool, note: &RoutingNote) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    let usage_null: &[u8] = if include_usage { b",\"usage\":null" } else { b"" };
    let head = |out: &mut Vec<u8>| {
        out.extend_from_slice(
            format!(
                "data: {{\"id\":\"chatcmpl-{:032x}\",\"object\":\"chat.completion.chunk\",\"created\":{},\"model\":",
                note.request_id, answer.created_unix_s
            )
            .as_bytes(),
        );
        push_json_string(out, &note.model);
        out.extend_from_slice(b",\"system_fingerprint\":null,\"choices\":[");
    };
    let push_note = |out: &mut Vec<u8>| {
        let mut json = String::with_capacity(256);
        note.write_json(&mut json);
        out.extend_from_slice(b",\"bantam\":");
        out.extend_from_slice(json.as_bytes());
    };
    head(&mut out);
    out.extend_from_slice(b"{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":");
    push_json_string(&mut out, answer.text);
    out.extend_from_slice(b"},\"logprobs\":null,\"finish_reason\":null}]");
    out.extend_from_slice(usage_null);
    out.extend_from_slice(b"}\n\n");
    head(&mut out);
    out.extend_from_slice(b"{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}]");
    out.extend_from_slice(usage_null);
    if !include_usage {
        push_note(&mut out);
    }
    out.extend_from_slice(b"}\n\n");
    if include_usage {
        head(&mut out);
        out.extend_from_slice(b"],\"usage\":");
        push_usage(&mut out, answer.usage);
        push_note(&mut out);
        out.extend_from_slice(b"}\n\n");
    }
    out.extend_from_slice(DONE);
    out
}

/// Returns the event that tells of a failure after the stream began.
pub fn error_event(error: &ApiError) -> Vec<u8> {
    event(&error.to_openai_json())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::completion::tests::note;
    use crate::sse::SseReader;

    fn check(data: &str, expected: Result<(bool, bool, Option<u64>), ReadCompletionError>) {
        let got = read_chunk(data)
            .map(|facts| (facts.has_choices, facts.finishes, facts.usage.map(|usage| usage.output)));
        assert_eq!(got, expected, "{data}");
    }

    #[test]
    fn tells_content_end_and_usage_apart() {
        check(
            r#"{"choices":[{"delta":{"content":"a"},"finish_reason":null}],"usage":null}"#,
            Ok((true, false, None)),
        );
        check(r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#, Ok((true, true, None)));
        check(
            r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#,
            Ok((false, false, Some(2))),
        );
        check(r#"{"error":{"message":"x"}}"#, Err(ReadCompletionError::ErrorObject));
        for garbage in ["", "hello", "{}", "[]", r#"{"choices":7}"#] {
            check(garbage, Err(ReadCompletionError::NotACompletion));
        }
    }

    #[test]
    fn a_stream_of_our_own_has_content_end_usage_and_done() {
        for include_usage in [false, true] {
            let answer = OwnAnswer { text: "label", created_unix_s: 1, usage: TokenUsage::default() };
            let mut reader = SseReader::new(10_000);
            reader.push(&own_stream(answer, include_usage, &note()));
            let mut chunks = Vec::new();
            while let Some(event) = reader.next_event().unwrap() {
                chunks.push(event.data);
            }
            assert_eq!(chunks.len(), if include_usage { 4 } else { 3 });
            assert_eq!(chunks.last().unwrap(), "[DONE]");
            let facts: Vec<_> =
                chunks[..chunks.len() - 1].iter().map(|data| read_chunk(data).unwrap()).collect();
            assert!(facts[1].finishes);
            assert!(facts.last().unwrap().has_note);
            assert_eq!(facts.last().unwrap().usage.is_some(), include_usage);
        }
    }
}
