//! Whole answers: an upstream's with the note put in, or any other written out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::log_probabilities;
use super::usage::push_usage_or_null;
use super::write::{push_float, push_hex, push_integer, push_list, push_note, push_nullable, push_string};
use crate::call::{CallKind, Thought, ToolCall, VectorEncoding};
use crate::dialect::AnswerContext;
use crate::error::ReadAnswerError;
use crate::format::Format;
use crate::note::RoutingNote;
use crate::outcome::{AnswerBody, Choice, Content, FinishReason, Outcome};

/// Writes an answer with the note. One in the caller's own format stays as the upstream sent it.
pub(super) fn write(
    kind: CallKind,
    answer: &AnswerBody,
    context: AnswerContext<'_>,
    note: &RoutingNote,
) -> Result<Vec<u8>, ReadAnswerError> {
    match answer {
        AnswerBody::Raw(raw) if raw.format == Format::openai(kind) => {
            Ok(with_note(&raw.bytes, raw.facts.has_note, note))
        }
        _ => Ok(written(kind, &*answer.outcome()?, context, note)),
    }
}

/// Returns `body`, a JSON object, with the note as its `bantam` member.
pub(super) fn with_note(body: &[u8], has_note: bool, note: &RoutingNote) -> Vec<u8> {
    if has_note && let Some(without) = without_note(body) {
        return with_note(&without, false, note);
    }
    let end = body.iter().rposition(|byte| *byte == b'}').unwrap_or(body.len());
    let mut out = Vec::with_capacity(end + 256);
    out.extend_from_slice(body.get(..end).unwrap_or_default());
    push_note(&mut out, note);
    out.push(b'}');
    out
}

/// Another Bantam's note gives way to ours: its costs are in the usage that we price ourselves.
fn without_note(body: &[u8]) -> Option<Vec<u8>> {
    let mut object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body).ok()?;
    object.remove("bantam");
    serde_json::to_vec(&object).ok()
}

fn written(kind: CallKind, outcome: &Outcome, context: AnswerContext<'_>, note: &RoutingNote) -> Vec<u8> {
    let mut out = Vec::with_capacity(640);
    match &outcome.content {
        Content::Choices(choices) => {
            let object = if kind == CallKind::Text { "text_completion" } else { "chat.completion" };
            push_head(&mut out, kind, object, outcome, context);
            out.extend_from_slice(b",\"choices\":");
            push_list(&mut out, choices.iter().enumerate(), |out, (index, choice)| {
                push_choice(out, kind, index, choice);
            });
        }
        Content::Vectors(vectors) => {
            out.extend_from_slice(b"{\"object\":\"list\",\"data\":");
            let encoding = context.call.settings().vectors.encoding;
            push_list(&mut out, vectors.iter().enumerate(), |out, (index, vector)| {
                out.extend_from_slice(b"{\"object\":\"embedding\",\"index\":");
                push_integer(out, index);
                out.extend_from_slice(b",\"embedding\":");
                push_vector(out, vector, encoding);
                out.push(b'}');
            });
            out.extend_from_slice(b",\"model\":");
            push_string(&mut out, outcome.head.model.as_deref().unwrap_or(context.model));
        }
    }
    out.extend_from_slice(b",\"usage\":");
    push_usage_or_null(&mut out, kind, outcome.usage);
    if kind != CallKind::Embeddings {
        out.extend_from_slice(b",\"system_fingerprint\":null");
    }
    push_note(&mut out, note);
    out.push(b'}');
    out
}

fn push_head(out: &mut Vec<u8>, kind: CallKind, object: &str, outcome: &Outcome, context: AnswerContext<'_>) {
    out.extend_from_slice(b"{\"id\":");
    push_id(out, kind, outcome.head.id.as_deref(), context.request_id);
    out.extend_from_slice(b",\"object\":\"");
    out.extend_from_slice(object.as_bytes());
    out.extend_from_slice(b"\",\"created\":");
    push_integer(out, context.created_unix_s);
    out.extend_from_slice(b",\"model\":");
    push_string(out, outcome.head.model.as_deref().unwrap_or(context.model));
}

/// Appends the id of an answer: the backend's, or one made of the request's.
pub(super) fn push_id(out: &mut Vec<u8>, kind: CallKind, id: Option<&str>, request_id: u128) {
    match id {
        Some(id) => push_string(out, id),
        None => {
            let prefix: &[u8] = if kind == CallKind::Text { b"\"cmpl-" } else { b"\"chatcmpl-" };
            out.extend_from_slice(prefix);
            push_hex(out, request_id);
            out.push(b'"');
        }
    }
}

fn push_choice(out: &mut Vec<u8>, kind: CallKind, index: usize, choice: &Choice) {
    let tokens = choice.log_probabilities.as_deref();
    if kind == CallKind::Text {
        out.extend_from_slice(b"{\"text\":");
        push_string(out, choice.text.as_deref().unwrap_or_default());
        out.extend_from_slice(b",\"index\":");
        push_integer(out, index);
        out.extend_from_slice(b",\"logprobs\":");
        log_probabilities::push_text(out, tokens);
    } else {
        out.extend_from_slice(b"{\"index\":");
        push_integer(out, index);
        out.extend_from_slice(b",\"message\":{\"role\":\"assistant\",\"content\":");
        push_nullable(out, choice.text.as_deref());
        out.extend_from_slice(b",\"refusal\":");
        push_nullable(out, choice.refusal.as_deref());
        if !choice.thoughts.is_empty() {
            out.push(b',');
            push_thoughts(out, &choice.thoughts, None);
        }
        if !choice.tool_calls.is_empty() {
            out.extend_from_slice(b",\"tool_calls\":");
            push_list(out, &choice.tool_calls, |out, call| {
                out.push(b'{');
                push_call(out, call);
                out.push(b'}');
            });
        }
        out.extend_from_slice(b"},\"logprobs\":");
        log_probabilities::push_chat(out, tokens);
    }
    out.extend_from_slice(b",\"finish_reason\":\"");
    out.extend_from_slice(finish_word(choice.finish).as_bytes());
    out.extend_from_slice(b"\"}");
}

/// Appends the members that tell thoughts: their text, where there is any, and what callers send back. In a stream the
/// thoughts are numbered from `first` on, as SDKs need it that put lists together.
pub(super) fn push_thoughts(out: &mut Vec<u8>, thoughts: &[Thought], first: Option<usize>) {
    let texts = thoughts.iter().filter_map(|thought| match thought {
        Thought::Open { text, .. } if !text.is_empty() => Some(&**text),
        _ => None,
    });
    let texts: Vec<&str> = texts.collect();
    if !texts.is_empty() {
        out.extend_from_slice(b"\"reasoning_content\":");
        push_string(out, &texts.join("\n\n"));
        out.push(b',');
    }
    out.extend_from_slice(b"\"thinking_blocks\":");
    push_list(out, thoughts.iter().enumerate(), |out, (position, thought)| {
        out.push(b'{');
        if let Some(first) = first {
            out.extend_from_slice(b"\"index\":");
            push_integer(out, first + position);
            out.push(b',');
        }
        match thought {
            Thought::Open { text, signature } => {
                out.extend_from_slice(b"\"type\":\"thinking\",\"thinking\":");
                push_string(out, text);
                out.extend_from_slice(b",\"signature\":");
                push_string(out, signature);
            }
            Thought::Sealed(data) => {
                out.extend_from_slice(b"\"type\":\"redacted_thinking\",\"data\":");
                push_string(out, data);
            }
        }
        out.push(b'}');
    });
}

/// Appends the members of a tool call.
pub(super) fn push_call(out: &mut Vec<u8>, call: &ToolCall) {
    out.extend_from_slice(b"\"id\":");
    push_string(out, &call.id);
    out.extend_from_slice(b",\"type\":\"function\",\"function\":{\"name\":");
    push_string(out, &call.name);
    out.extend_from_slice(b",\"arguments\":");
    push_string(out, &call.arguments);
    out.push(b'}');
}

/// Returns OpenAI's word for why an answer ended.
pub(super) const fn finish_word(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::ContentFilter => "content_filter",
    }
}

fn push_vector(out: &mut Vec<u8>, vector: &[f32], encoding: VectorEncoding) {
    match encoding {
        VectorEncoding::Floats => push_list(out, vector, |out, number| push_float(out, f64::from(*number))),
        VectorEncoding::Base64 => {
            let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
            push_string(out, &STANDARD.encode(bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bantam_types::Tier;

    fn note() -> RoutingNote {
        RoutingNote {
            request_id: 1,
            task: None,
            tier: Tier::Local,
            model: "m".into(),
            confidence: None,
            escalated: Vec::new(),
            cost: None,
        }
    }

    #[test]
    fn the_note_joins_the_body_and_replaces_another_bantam_s() {
        for (body, has_note) in
            [("{\"choices\":[]} \n", false), ("{\"bantam\":{\"old\":1},\"choices\":[]}", true)]
        {
            let out = with_note(body.as_bytes(), has_note, &note());
            let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(value["bantam"]["tier"], "local");
            assert!(value["bantam"].get("old").is_none());
            assert!(value["choices"].is_array());
        }
    }
}
