//! Anthropic's message as OpenAI's completion.

use serde_json::{Value, json};

use crate::completion::{CompletionFacts, ReadCompletionError};

/// Returns `body` as an OpenAI-shaped completion with what Bantam needs to know of it.
///
/// # Errors
/// When it is no Anthropic message; also an error object whatever its status.
pub fn read_message(
    body: &[u8],
    created_unix_s: i64,
) -> Result<(Vec<u8>, CompletionFacts), ReadCompletionError> {
    let message: Value = serde_json::from_slice(body).map_err(|_| ReadCompletionError::NotACompletion)?;
    if message["type"] == "error" {
        return Err(ReadCompletionError::ErrorObject);
    }
    let blocks = message["content"].as_array().ok_or(ReadCompletionError::NotACompletion)?;
    let mut text: Option<String> = None;
    let mut calls = Vec::new();
    for block in blocks {
        match block["type"].as_str() {
            Some("text") => {
                text.get_or_insert_default().push_str(block["text"].as_str().unwrap_or_default());
            }
            Some("tool_use") => calls.push(json!({
                "id": block["id"],
                "type": "function",
                "function": {"name": block["name"], "arguments": block["input"].to_string()},
            })),
            _ => {}
        }
    }
    let usage = super::usage(&message["usage"]);
    let mut answer = json!({"role": "assistant", "content": text, "refusal": null});
    if !calls.is_empty() {
        answer["tool_calls"] = calls.into();
    }
    let completion = json!({
        "id": message["id"],
        "object": "chat.completion",
        "created": created_unix_s,
        "model": message["model"],
        "choices": [{
            "index": 0,
            "message": answer,
            "logprobs": null,
            "finish_reason": super::finish_reason(message["stop_reason"].as_str()),
        }],
        "usage": super::usage_json(usage),
    });
    let facts = CompletionFacts { usage: Some(usage), text, has_note: false };
    let bytes = serde_json::to_vec(&completion).map_err(|_| ReadCompletionError::NotACompletion)?;
    Ok((bytes, facts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::completion::read_completion;

    #[test]
    fn text_and_calls_become_one_choice_that_reads_as_openai_s() {
        let body = json!({"id": "msg_1", "type": "message", "model": "claude", "stop_reason": "tool_use",
            "content": [{"type": "text", "text": "a"}, {"type": "tool_use", "id": "c", "name": "f", "input": {"x": 1}}],
            "usage": {"input_tokens": 5, "cache_read_input_tokens": 2, "output_tokens": 3}});
        let (bytes, facts) = read_message(body.to_string().as_bytes(), 1).unwrap();
        let again = read_completion(&bytes).unwrap();
        assert_eq!(again.usage, facts.usage);
        assert_eq!(again.usage.map(|usage| (usage.input, usage.cached_input)), Some((7, 2)));
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["choices"][0]["finish_reason"], "tool_calls");
        assert_eq!(value["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"], "{\"x\":1}");
    }

    #[test]
    fn an_error_or_garbage_is_no_answer() {
        assert_eq!(read_message(br#"{"type":"error","error":{}}"#, 1), Err(ReadCompletionError::ErrorObject));
        assert_eq!(read_message(b"{}", 1), Err(ReadCompletionError::NotACompletion));
        assert_eq!(read_message(b"oops", 1), Err(ReadCompletionError::NotACompletion));
    }
}
