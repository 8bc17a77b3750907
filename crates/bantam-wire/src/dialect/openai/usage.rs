//! OpenAI's `usage` object, read and written.

use bantam_types::{AnswerUsage, TokenUsage};
use serde_json::Value;
use serde_json::value::RawValue;

use super::write::push_integer;
use crate::call::CallKind;
use crate::dialect::lenient::count;

/// Reads as much of the object as costs need. Counts that are missing, unreadable or all zero are unknown: an answer is
/// rather not priced than priced too low.
pub(super) fn read(kind: CallKind, json: Option<&RawValue>) -> Option<AnswerUsage> {
    let usage: Value = serde_json::from_str(json?.get()).ok()?;
    let of = |name: &str| count(usage.get(name));
    let input = of("prompt_tokens")?;
    let output = match of("completion_tokens") {
        Some(output) => output,
        // Vectors have no tokens of their own.
        None if kind == CallKind::Embeddings => 0,
        None => of("total_tokens")?.checked_sub(input)?,
    };
    let cached = count(usage["prompt_tokens_details"].get("cached_tokens")).unwrap_or(0);
    (input > 0 || output > 0).then(|| TokenUsage::new(input, cached.min(input), output).into())
}

/// Appends the object. Vectors have no tokens of their own, and nothing is cached for them.
pub(super) fn push_usage(out: &mut Vec<u8>, kind: CallKind, usage: AnswerUsage) {
    let TokenUsage { input, cached_input, output, .. } = usage.tokens;
    out.extend_from_slice(b"{\"prompt_tokens\":");
    push_integer(out, input);
    if kind != CallKind::Embeddings {
        out.extend_from_slice(b",\"completion_tokens\":");
        push_integer(out, output);
    }
    out.extend_from_slice(b",\"total_tokens\":");
    push_integer(out, input.saturating_add(output));
    if kind != CallKind::Embeddings {
        out.extend_from_slice(b",\"prompt_tokens_details\":{\"cached_tokens\":");
        push_integer(out, cached_input);
        out.push(b'}');
    }
    out.push(b'}');
}

/// Appends the object, or `null`.
pub(super) fn push_usage_or_null(out: &mut Vec<u8>, kind: CallKind, usage: Option<AnswerUsage>) {
    match usage {
        Some(usage) => push_usage(out, kind, usage),
        None => out.extend_from_slice(b"null"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_not_counted_as_nothing() {
        let check = |kind, json: &str, expected: Option<(u64, u64, u64)>| {
            let raw: &RawValue = serde_json::from_str(json).unwrap();
            let usage = read(kind, Some(raw));
            assert_eq!(
                usage.map(|AnswerUsage { tokens, .. }| (tokens.input, tokens.cached_input, tokens.output)),
                expected,
                "{json}"
            );
        };
        let chat = CallKind::Chat;
        check(
            chat,
            r#"{"prompt_tokens":3,"completion_tokens":2,"prompt_tokens_details":null}"#,
            Some((3, 0, 2)),
        );
        check(chat, r#"{"prompt_tokens":3.0,"completion_tokens":"2","total_tokens":7}"#, Some((3, 0, 2)));
        check(chat, r#"{"prompt_tokens":3,"completion_tokens":null,"total_tokens":5}"#, Some((3, 0, 2)));
        check(
            chat,
            r#"{"prompt_tokens":3,"completion_tokens":0,"prompt_tokens_details":{"cached_tokens":9}}"#,
            Some((3, 3, 0)),
        );
        check(
            chat,
            r#"{"prompt_tokens":3,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":-9}}"#,
            Some((3, 0, 1)),
        );
        for unknown in [
            "{}",
            "7",
            "[]",
            "\"\"",
            r#"{"prompt_tokens":0,"completion_tokens":0}"#,
            r#"{"prompt_tokens":3}"#,
            r#"{"prompt_tokens":3,"total_tokens":2}"#,
            r#"{"prompt_tokens":-3,"completion_tokens":1}"#,
            r#"{"prompt_tokens":3,"completion_tokens":1.5}"#,
            r#"{"prompt_tokens":null,"completion_tokens":1}"#,
        ] {
            check(chat, unknown, None);
        }
        check(CallKind::Embeddings, r#"{"prompt_tokens":3,"total_tokens":3}"#, Some((3, 0, 0)));
    }
}
