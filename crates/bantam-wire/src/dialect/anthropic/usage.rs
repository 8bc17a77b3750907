//! Anthropic's `usage` object.

use bantam_types::TokenUsage;
use serde_json::Value;

/// Reads the counts: cached tokens are counted beside `input_tokens` there and within the input here.
pub(super) fn read(usage: &Value) -> TokenUsage {
    let count = |name: &str| usage.get(name).and_then(Value::as_u64).unwrap_or(0);
    let cached = count("cache_read_input_tokens");
    TokenUsage {
        input: count("input_tokens")
            .saturating_add(cached)
            .saturating_add(count("cache_creation_input_tokens")),
        cached_input: cached,
        output: count("output_tokens"),
    }
}
