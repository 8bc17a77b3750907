//! Anthropic's native API as an upstream: OpenAI's chat in, OpenAI's answer out.
//!
//! Translation goes by `serde_json::Value`: an Anthropic call takes hundreds of milliseconds, so
//! clarity wins over copies here.

mod request;
mod response;
mod stream;

pub use request::{ANTHROPIC_VERSION, cannot_honour, request_body};
pub use response::read_message;
pub use stream::StreamTranslator;

use bantam_types::TokenUsage;
use serde_json::Value;

/// Reads Anthropic's `usage`: cached tokens are counted beside `input_tokens` there and within it here.
fn usage(value: &Value) -> TokenUsage {
    let count = |name: &str| value.get(name).and_then(Value::as_u64).unwrap_or(0);
    let cached = count("cache_read_input_tokens");
    TokenUsage {
        input: count("input_tokens") + cached + count("cache_creation_input_tokens"),
        cached_input: cached,
        output: count("output_tokens"),
    }
}

fn usage_json(usage: TokenUsage) -> Value {
    serde_json::json!({
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input.saturating_add(usage.output),
        "prompt_tokens_details": {"cached_tokens": usage.cached_input},
    })
}

fn finish_reason(stop_reason: Option<&str>) -> &'static str {
    match stop_reason {
        Some("max_tokens" | "model_context_window_exceeded") => "length",
        Some("tool_use") => "tool_calls",
        Some("refusal") => "content_filter",
        _ => "stop",
    }
}
