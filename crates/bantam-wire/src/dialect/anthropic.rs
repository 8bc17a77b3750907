//! Anthropic's dialect, spoken to upstreams: `POST /v1/messages`.

mod answer;
mod conversation;
mod media;
mod request;
mod stream;
mod thinking;
mod usage;

pub(crate) use answer::read_outcome;
pub use request::{ANTHROPIC_VERSION, ModelTraits, Thinking, body, refusal, support};
pub(crate) use stream::{EventTranslator, Step};
pub(in crate::dialect) use usage::read as read_usage;

use crate::outcome::FinishReason;

/// Reads Anthropic's word for why an answer ended.
fn finish_reason(stop_reason: Option<&str>) -> FinishReason {
    match stop_reason {
        Some("max_tokens" | "model_context_window_exceeded") => FinishReason::Length,
        Some("tool_use") => FinishReason::ToolCalls,
        Some("refusal") => FinishReason::ContentFilter,
        _ => FinishReason::Stop,
    }
}
