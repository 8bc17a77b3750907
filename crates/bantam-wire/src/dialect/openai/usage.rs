//! OpenAI's `usage` object, read and written.

use bantam_types::TokenUsage;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer};

use super::write::push_integer;
use crate::call::CallKind;

/// As much of the object as costs need.
#[derive(Deserialize)]
pub(super) struct UsageShape {
    #[serde(default, deserialize_with = "count")]
    prompt_tokens: u64,
    #[serde(default, deserialize_with = "count")]
    completion_tokens: u64,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    #[serde(default, deserialize_with = "count")]
    cached_tokens: u64,
}

/// Reads a count as leniently as upstreams write them: missing, `null`, or a number with a fraction.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    struct Count;
    impl Visitor<'_> for Count {
        type Value = u64;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a count")
        }
        fn visit_unit<E>(self) -> Result<u64, E> {
            Ok(0)
        }
        fn visit_u64<E>(self, count: u64) -> Result<u64, E> {
            Ok(count)
        }
        fn visit_i64<E>(self, count: i64) -> Result<u64, E> {
            Ok(u64::try_from(count).unwrap_or(0))
        }
        fn visit_f64<E>(self, count: f64) -> Result<u64, E> {
            // Below 0 and what is not a number become 0.
            Ok(count as u64)
        }
    }
    deserializer.deserialize_any(Count)
}

impl From<UsageShape> for TokenUsage {
    fn from(shape: UsageShape) -> Self {
        let cached = shape.prompt_tokens_details.map_or(0, |details| details.cached_tokens);
        Self {
            input: shape.prompt_tokens,
            cached_input: cached.min(shape.prompt_tokens),
            output: shape.completion_tokens,
        }
    }
}

/// Appends the object. Vectors have no tokens of their own, and nothing is cached for them.
pub(super) fn push_usage(out: &mut Vec<u8>, kind: CallKind, usage: TokenUsage) {
    let TokenUsage { input, cached_input, output } = usage;
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
pub(super) fn push_usage_or_null(out: &mut Vec<u8>, kind: CallKind, usage: Option<TokenUsage>) {
    match usage {
        Some(usage) => push_usage(out, kind, usage),
        None => out.extend_from_slice(b"null"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_however_upstreams_write_them() {
        let check = |json: &str, expected: (u64, u64, u64)| {
            let usage = TokenUsage::from(serde_json::from_str::<UsageShape>(json).unwrap());
            assert_eq!((usage.input, usage.cached_input, usage.output), expected, "{json}");
        };
        check("{}", (0, 0, 0));
        check(r#"{"prompt_tokens":3,"completion_tokens":2,"prompt_tokens_details":null}"#, (3, 0, 2));
        check(r#"{"prompt_tokens":3.0,"completion_tokens":null}"#, (3, 0, 0));
        check(r#"{"prompt_tokens":3,"prompt_tokens_details":{"cached_tokens":9}}"#, (3, 3, 0));
        check(r#"{"prompt_tokens":-3,"prompt_tokens_details":{"cached_tokens":null}}"#, (0, 0, 0));
    }
}
