//! Anthropic's message, in neutral terms.

use serde_json::Value;

use super::{finish_reason, usage};
use crate::call::{Thought, ToolCall};
use crate::dialect::lenient::is_broken_off;
use crate::error::ReadAnswerError;
use crate::outcome::{AnswerHead, Choice, Content, Outcome};

/// Reads all of a message. It goes by `serde_json::Value`: such a call takes hundreds of milliseconds, so clarity wins
/// over copies here.
///
/// # Errors
/// When it is not a message; also an error object whatever its status.
pub(crate) fn read_outcome(body: &[u8]) -> Result<Outcome, ReadAnswerError> {
    let message: Value = serde_json::from_slice(body).map_err(|_| ReadAnswerError::NotAnAnswer)?;
    let stop_reason = message["stop_reason"].as_str();
    if message["type"] == "error" || stop_reason.is_some_and(is_broken_off) {
        return Err(ReadAnswerError::ErrorObject);
    }
    let blocks = message["content"].as_array().ok_or(ReadAnswerError::NotAnAnswer)?;
    if blocks.is_empty() && stop_reason.is_none_or(str::is_empty) {
        return Err(ReadAnswerError::NotAnAnswer);
    }
    let mut choice = Choice { finish: finish_reason(stop_reason), ..Choice::default() };
    for block in blocks {
        match block["type"].as_str() {
            Some("text") => {
                let text = block["text"].as_str().unwrap_or_default();
                choice.text.get_or_insert_default().push_str(text);
            }
            Some("tool_use") => choice.tool_calls.push(ToolCall {
                id: text(&block["id"]),
                name: text(&block["name"]),
                arguments: arguments(&block["input"]),
            }),
            // The rest is nothing that the answer says.
            _ => choice.thoughts.extend(thought(block)),
        }
    }
    let name = |value: &Value| value.as_str().map(Into::into);
    Ok(Outcome {
        head: AnswerHead { id: name(&message["id"]), model: name(&message["model"]) },
        content: Content::Choices(vec![choice]),
        usage: usage::read(&message["usage"]).map(|usage| match usage.tokens.output {
            // What was said took tokens.
            0 if !blocks.is_empty() => usage.contradictory(),
            _ => usage,
        }),
    })
}

/// Returns the input of a call as the JSON of an object: none is an empty one.
pub(super) fn arguments(input: &Value) -> String {
    if input.is_null() { "{}".to_owned() } else { input.to_string() }
}

/// Returns the thought that a block is, where it is one.
pub(super) fn thought(block: &Value) -> Option<Thought> {
    match block["type"].as_str()? {
        "thinking" => {
            Some(Thought::Open { text: text(&block["thinking"]), signature: text(&block["signature"]) })
        }
        "redacted_thinking" => Some(Thought::Sealed(text(&block["data"]))),
        _ => None,
    }
}

/// Returns a string's text, or nothing.
pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::outcome::FinishReason;

    #[test]
    fn text_and_calls_become_one_choice() {
        let body = json!({"id": "msg_1", "type": "message", "model": "claude", "stop_reason": "tool_use",
            "content": [{"type": "text", "text": "a"}, {"type": "tool_use", "id": "c", "name": "f", "input": {"x": 1}}],
            "usage": {"input_tokens": 5, "cache_read_input_tokens": 2, "output_tokens": 3}});
        let outcome = read_outcome(body.to_string().as_bytes()).unwrap();
        let usage = outcome.usage.unwrap().tokens;
        assert_eq!((usage.input, usage.cached_input, usage.output), (7, 2, 3));
        let [choice] = outcome.choices() else { panic!("{outcome:?}") };
        assert_eq!((choice.text.as_deref(), choice.finish), (Some("a"), FinishReason::ToolCalls));
        assert_eq!(choice.tool_calls[0].arguments, "{\"x\":1}");
    }

    #[test]
    fn a_call_without_arguments_has_those_of_an_empty_object() {
        for input in ["{}", "null"] {
            let body = format!(
                r#"{{"content":[{{"type":"tool_use","id":"c","name":"f","input":{input}}}],"usage":{{"input_tokens":1}}}}"#
            );
            let outcome = read_outcome(body.as_bytes()).unwrap();
            assert_eq!(outcome.choices()[0].tool_calls[0].arguments, "{}");
        }
    }

    #[test]
    fn an_error_or_garbage_is_not_an_answer() {
        assert_eq!(read_outcome(br#"{"type":"error","error":{}}"#), Err(ReadAnswerError::ErrorObject));
        assert_eq!(read_outcome(b"{}"), Err(ReadAnswerError::NotAnAnswer));
        assert_eq!(read_outcome(br#"{"content":[],"stop_reason":null}"#), Err(ReadAnswerError::NotAnAnswer));
        assert!(read_outcome(br#"{"content":[],"stop_reason":"end_turn"}"#).is_ok(), "it has nothing to say");
        assert_eq!(read_outcome(b"oops"), Err(ReadAnswerError::NotAnAnswer));
    }
}
