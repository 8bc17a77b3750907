//! Anthropic's events, in neutral terms.

use bantam_types::TokenUsage;
use serde_json::Value;

use super::answer::text;
use super::{finish_reason, usage};
use crate::call::ToolCall;
use crate::error::ReadAnswerError;
use crate::outcome::{AnswerHead, Delta};

/// Translates one stream, event by event.
#[derive(Debug, Default)]
pub(crate) struct EventTranslator {
    /// Counted so far: the input at the beginning, the output at the end.
    usage: TokenUsage,
    /// Number of tool calls begun so far.
    calls: u32,
    is_finished: bool,
}

impl EventTranslator {
    /// Returns whether `message_stop` was seen: a stream that ends before it was cut.
    pub(crate) const fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Returns the step of the answer that an event is; nothing for pings, thinking and the ends of blocks.
    ///
    /// # Errors
    /// When it is not one of Anthropic's events, or an error.
    pub(crate) fn read(&mut self, data: &str) -> Result<Option<Delta>, ReadAnswerError> {
        let data: Value = serde_json::from_str(data).map_err(|_| ReadAnswerError::NotAnAnswer)?;
        let delta = match data["type"].as_str() {
            Some("message_start") => {
                let message = &data["message"];
                self.usage = usage::read(&message["usage"]);
                let name = |value: &Value| value.as_str().map(Into::into);
                Delta::Begin(AnswerHead { id: name(&message["id"]), model: name(&message["model"]) })
            }
            Some("content_block_start") if data["content_block"]["type"] == "tool_use" => {
                let block = &data["content_block"];
                self.calls += 1;
                let (id, name) = (text(&block["id"]), text(&block["name"]));
                let call = ToolCall { id, name, arguments: String::new() };
                Delta::ToolCall { choice: 0, index: self.calls - 1, call }
            }
            Some("content_block_delta") => match data["delta"]["type"].as_str() {
                Some("text_delta") => {
                    let text = text(&data["delta"]["text"]);
                    Delta::Text { choice: 0, text, log_probabilities: None }
                }
                Some("input_json_delta") => {
                    let json = text(&data["delta"]["partial_json"]);
                    Delta::Arguments { choice: 0, index: self.calls.saturating_sub(1), json }
                }
                _ => return Ok(None),
            },
            Some("message_delta") => {
                if let Some(output) = data["usage"]["output_tokens"].as_u64() {
                    self.usage.output = output;
                }
                let reason = finish_reason(data["delta"]["stop_reason"].as_str());
                Delta::Finish { choice: 0, reason }
            }
            Some("message_stop") => {
                self.is_finished = true;
                Delta::Usage(self.usage)
            }
            Some("error") => return Err(ReadAnswerError::ErrorObject),
            Some("ping" | "content_block_start" | "content_block_stop") => return Ok(None),
            _ => return Err(ReadAnswerError::NotAnAnswer),
        };
        Ok(Some(delta))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::outcome::FinishReason;

    fn translate(events: &[Value]) -> Vec<Delta> {
        let mut translator = EventTranslator::default();
        let deltas = events.iter().filter_map(|event| translator.read(&event.to_string()).unwrap()).collect();
        assert!(translator.is_finished());
        deltas
    }

    #[test]
    fn text_and_calls_stream_with_usage_at_the_end() {
        let deltas = translate(&[
            json!({"type": "message_start", "message": {"id": "m", "model": "c", "usage": {"input_tokens": 4, "output_tokens": 1}}}),
            json!({"type": "ping"}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}}),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t", "name": "f"}}),
            json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{}"}}),
            json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}}),
            json!({"type": "message_stop"}),
        ]);
        let call = ToolCall { id: "t".to_owned(), name: "f".to_owned(), arguments: String::new() };
        let expected = [
            Delta::Begin(AnswerHead { id: Some("m".into()), model: Some("c".into()) }),
            Delta::Text { choice: 0, text: "hi".to_owned(), log_probabilities: None },
            Delta::ToolCall { choice: 0, index: 0, call },
            Delta::Arguments { choice: 0, index: 0, json: "{}".to_owned() },
            Delta::Finish { choice: 0, reason: FinishReason::ToolCalls },
            Delta::Usage(TokenUsage { input: 4, cached_input: 0, output: 9 }),
        ];
        assert_eq!(deltas, expected);
    }

    #[test]
    fn an_error_event_ends_the_stream_as_an_error() {
        let mut translator = EventTranslator::default();
        assert_eq!(translator.read(r#"{"type":"error"}"#), Err(ReadAnswerError::ErrorObject));
        assert_eq!(translator.read(r#"{"type":"news"}"#), Err(ReadAnswerError::NotAnAnswer));
    }
}
