//! Anthropic's events as OpenAI's chunks.

use bantam_types::TokenUsage;
use serde_json::{Value, json};

use crate::completion::ReadCompletionError;
use crate::sse::SseEvent;

/// Turns one Anthropic stream into OpenAI chunks.
#[derive(Debug)]
pub struct StreamTranslator {
    created_unix_s: i64,
    id: Value,
    model: Value,
    usage: TokenUsage,
    /// Number of tool calls begun so far.
    calls: u64,
    finished: bool,
}

impl StreamTranslator {
    /// Returns a translator whose chunks say they were created at `created_unix_s`.
    pub const fn new(created_unix_s: i64) -> Self {
        Self {
            created_unix_s,
            id: Value::Null,
            model: Value::Null,
            usage: TokenUsage { input: 0, cached_input: 0, output: 0 },
            calls: 0,
            finished: false,
        }
    }

    /// Returns whether `message_stop` was seen: a stream that ends before it was cut.
    pub const fn is_finished(&self) -> bool {
        self.finished
    }

    /// Returns the chunks that `event` becomes; none for pings and block ends.
    ///
    /// # Errors
    /// When the event is not one of Anthropic's, or an error.
    pub fn translate(&mut self, event: &SseEvent) -> Result<Vec<String>, ReadCompletionError> {
        let data: Value =
            serde_json::from_str(&event.data).map_err(|_| ReadCompletionError::NotACompletion)?;
        let chunk = match data["type"].as_str() {
            Some("message_start") => {
                self.id = data["message"]["id"].clone();
                self.model = data["message"]["model"].clone();
                self.usage = super::usage(&data["message"]["usage"]);
                self.chunk(&json!({"role": "assistant", "content": ""}), None)
            }
            Some("content_block_start") if data["content_block"]["type"] == "tool_use" => {
                self.calls += 1;
                let block = &data["content_block"];
                self.call(&json!({"id": block["id"], "type": "function",
                    "function": {"name": block["name"], "arguments": ""}}))
            }
            Some("content_block_delta") => match data["delta"]["type"].as_str() {
                Some("text_delta") => self.chunk(&json!({"content": data["delta"]["text"]}), None),
                Some("input_json_delta") => {
                    self.call(&json!({"function": {"arguments": data["delta"]["partial_json"]}}))
                }
                _ => return Ok(Vec::new()),
            },
            Some("message_delta") => {
                if let Some(output) = data["usage"]["output_tokens"].as_u64() {
                    self.usage.output = output;
                }
                let reason = super::finish_reason(data["delta"]["stop_reason"].as_str());
                self.chunk(&json!({}), Some(reason))
            }
            Some("message_stop") => {
                self.finished = true;
                let mut chunk = self.chunk(&json!({}), None);
                chunk["choices"] = json!([]);
                chunk["usage"] = super::usage_json(self.usage);
                chunk
            }
            Some("error") => return Err(ReadCompletionError::ErrorObject),
            Some("ping" | "content_block_start" | "content_block_stop") => return Ok(Vec::new()),
            _ => return Err(ReadCompletionError::NotACompletion),
        };
        Ok(vec![chunk.to_string()])
    }

    fn call(&self, call: &Value) -> Value {
        let mut call = call.clone();
        call["index"] = self.calls.saturating_sub(1).into();
        self.chunk(&json!({"tool_calls": [call]}), None)
    }

    fn chunk(&self, delta: &Value, finish_reason: Option<&str>) -> Value {
        json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created_unix_s, "model": self.model,
            "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason}],
            "usage": null,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::read_chunk;

    fn translate(events: &[Value]) -> Result<Vec<Value>, ReadCompletionError> {
        let mut translator = StreamTranslator::new(1);
        let mut chunks = Vec::new();
        for event in events {
            let event = SseEvent { event: None, data: event.to_string() };
            for chunk in translator.translate(&event)? {
                read_chunk(&chunk).unwrap();
                chunks.push(serde_json::from_str(&chunk).unwrap());
            }
        }
        assert!(translator.is_finished());
        Ok(chunks)
    }

    #[test]
    fn text_and_calls_stream_as_openai_s_with_usage_at_the_end() {
        let chunks = translate(&[
            json!({"type": "message_start", "message": {"id": "m", "model": "c", "usage": {"input_tokens": 4, "output_tokens": 1}}}),
            json!({"type": "ping"}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}}),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t", "name": "f"}}),
            json!({"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{}"}}),
            json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}}),
            json!({"type": "message_stop"}),
        ])
        .unwrap();
        assert_eq!(chunks[1]["choices"][0]["delta"]["content"], "hi");
        assert_eq!(chunks[2]["choices"][0]["delta"]["tool_calls"][0]["function"]["name"], "f");
        assert_eq!(chunks[3]["choices"][0]["delta"]["tool_calls"][0]["index"], 0);
        assert_eq!(chunks[4]["choices"][0]["finish_reason"], "tool_calls");
        assert_eq!(chunks[5]["usage"]["completion_tokens"], 9);
        assert_eq!(chunks[5]["usage"]["prompt_tokens"], 4);
    }

    #[test]
    fn an_error_event_ends_the_stream_as_an_error() {
        let mut translator = StreamTranslator::new(1);
        let event = SseEvent { event: None, data: json!({"type": "error"}).to_string() };
        assert_eq!(translator.translate(&event), Err(ReadCompletionError::ErrorObject));
    }
}
