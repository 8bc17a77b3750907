//! Anthropic's events, in neutral terms.

use bantam_types::AnswerUsage;
use serde_json::Value;

use super::answer::{arguments, text, thought};
use super::finish_reason;
use super::usage::Counts;
use crate::call::{Thought, ToolCall};
use crate::dialect::lenient::is_broken_off;
use crate::error::ReadAnswerError;
use crate::outcome::{AnswerHead, Delta};

/// The events that carry the answer. One of these that cannot be read is a fault.
const KNOWN: &[&str] =
    &["message_start", "content_block_start", "content_block_delta", "message_delta", "message_stop"];

/// Translates one stream, event by event.
#[derive(Debug, Default)]
pub(crate) struct EventTranslator {
    counts: Counts,
    /// Whether the answer's own tokens were counted to their end: those that it begins with are no count.
    has_final_counts: bool,
    /// Number of tool calls begun so far.
    calls: u32,
    /// Of the call that is open: its input as it began, until a piece of it comes.
    begun_input: Option<String>,
    /// The thought that is open.
    thought: Option<Thought>,
    is_finished: bool,
    /// The counts that were told last.
    told: Option<AnswerUsage>,
}

/// What an event is.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// A step of the answer.
    Said(Delta),
    /// Something that the model thinks, and other parts that callers of other dialects do not see.
    Thought,
    /// Nothing of the answer: pings, the ends of blocks, counts on the way.
    Nothing,
    /// No event that is known; there may be new ones at any time.
    Foreign,
}

impl EventTranslator {
    /// Returns whether `message_stop` was seen.
    pub(crate) const fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Returns what was counted up to here, unless it was told.
    pub(crate) fn untold_usage(&mut self) -> Option<AnswerUsage> {
        let usage = if self.has_final_counts { self.counts.usage() } else { self.counts.usage_so_far() };
        let is_told = std::mem::replace(&mut self.told, usage) == usage;
        usage.filter(|_| !is_told)
    }

    /// Returns what an event is. Its type stands in its data and usually in its name as well.
    ///
    /// # Errors
    /// When it is an event of the answer and cannot be read, or an error.
    pub(crate) fn read(&mut self, name: Option<&str>, data: &str) -> Result<Step, ReadAnswerError> {
        let name = name.filter(|name| !matches!(*name, "" | "message"));
        let data: Value = match serde_json::from_str(data) {
            Ok(data) => data,
            Err(_) if name == Some("error") => return Err(ReadAnswerError::ErrorObject),
            Err(_) if name.is_some_and(|name| !KNOWN.contains(&name)) => return Ok(Step::Foreign),
            Err(_) => return Err(ReadAnswerError::NotAnAnswer),
        };
        let delta = match data["type"].as_str().or(name) {
            Some("message_start") => {
                let message = &data["message"];
                self.counts.learn(&message["usage"]);
                let name = |value: &Value| value.as_str().map(Into::into);
                Delta::Begin(AnswerHead { id: name(&message["id"]), model: name(&message["model"]) })
            }
            Some("content_block_start") if data["content_block"]["type"] == "tool_use" => {
                let block = &data["content_block"];
                self.calls += 1;
                self.begun_input = Some(arguments(&block["input"]));
                let (id, name) = (text(&block["id"]), text(&block["name"]));
                let call = ToolCall { id, name, arguments: String::new() };
                Delta::ToolCall { choice: 0, index: self.calls - 1, call }
            }
            Some("content_block_start") => {
                self.thought = thought(&data["content_block"]);
                return Ok(Step::Nothing);
            }
            Some("content_block_delta") => match self.piece(&data["delta"]) {
                Some(delta) => delta,
                None => return Ok(Step::Thought),
            },
            // No piece came: the call has the input that it began with, mostly that of no arguments.
            Some("content_block_stop") => match self.begun_input.take() {
                Some(json) => Delta::Arguments { choice: 0, index: self.calls.saturating_sub(1), json },
                None => match self.thought.take() {
                    Some(thought) => Delta::Thought { choice: 0, thought },
                    None => return Ok(Step::Nothing),
                },
            },
            Some("message_delta") => {
                self.counts.learn(&data["usage"]);
                let end = data["delta"]["stop_reason"].as_str().filter(|word| !word.is_empty());
                self.has_final_counts |= end.is_some() && !data["usage"]["output_tokens"].is_null();
                match end {
                    Some(word) if is_broken_off(word) => return Err(ReadAnswerError::ErrorObject),
                    Some(word) => Delta::Finish { choice: 0, reason: finish_reason(Some(word)) },
                    None => return Ok(Step::Nothing),
                }
            }
            Some("message_stop") => {
                self.is_finished = true;
                return Ok(Step::Nothing);
            }
            Some("error") => return Err(ReadAnswerError::ErrorObject),
            Some("ping") => return Ok(Step::Nothing),
            _ => return Ok(Step::Foreign),
        };
        Ok(Step::Said(delta))
    }

    /// Returns what a piece of a block says; `None` for pieces of thoughts and of newer kinds.
    fn piece(&mut self, piece: &Value) -> Option<Delta> {
        match piece["type"].as_str()? {
            kind @ ("thinking_delta" | "signature_delta") => {
                if let Some(Thought::Open { text: thinking, signature }) = &mut self.thought {
                    match kind {
                        "thinking_delta" => thinking.push_str(&text(&piece["thinking"])),
                        _ => signature.push_str(&text(&piece["signature"])),
                    }
                }
                None
            }
            "text_delta" => {
                Some(Delta::Text { choice: 0, text: text(&piece["text"]), log_probabilities: None })
            }
            "input_json_delta" => {
                let json = text(&piece["partial_json"]);
                if !json.is_empty() {
                    self.begun_input = None;
                }
                Some(Delta::Arguments { choice: 0, index: self.calls.saturating_sub(1), json })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use bantam_types::TokenUsage;
    use serde_json::json;

    use super::*;
    use crate::outcome::FinishReason;

    fn translate(events: &[Value]) -> Vec<Delta> {
        let mut translator = EventTranslator::default();
        let mut deltas: Vec<Delta> = events
            .iter()
            .filter_map(|event| match translator.read(None, &event.to_string()).unwrap() {
                Step::Said(delta) => Some(delta),
                Step::Thought | Step::Nothing | Step::Foreign => None,
            })
            .collect();
        assert!(translator.is_finished());
        deltas.extend(translator.untold_usage().map(Delta::Usage));
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
            Delta::Usage(TokenUsage::new(4, 0, 9).into()),
        ];
        assert_eq!(deltas, expected);
    }

    #[test]
    fn an_unknown_event_costs_nothing_and_an_error_ends_the_stream() {
        let check = |name: Option<&str>, data: &str, expected: Result<Step, ReadAnswerError>| {
            assert_eq!(EventTranslator::default().read(name, data), expected, "{name:?} {data}");
        };
        check(None, r#"{"type":"error"}"#, Err(ReadAnswerError::ErrorObject));
        check(Some("error"), "overloaded", Err(ReadAnswerError::ErrorObject));
        check(Some("error"), r#"{"error":{"type":"overloaded_error"}}"#, Err(ReadAnswerError::ErrorObject));
        check(None, r#"{"type":"news"}"#, Ok(Step::Foreign));
        check(None, "{}", Ok(Step::Foreign));
        check(Some("news"), "no JSON", Ok(Step::Foreign));
        check(Some("ping"), "{}", Ok(Step::Nothing));
        check(None, "no JSON", Err(ReadAnswerError::NotAnAnswer));
        check(Some("content_block_delta"), "no JSON", Err(ReadAnswerError::NotAnAnswer));
        let thought = r#"{"type":"content_block_delta","delta":{"type":"newer_delta"}}"#;
        check(Some("content_block_delta"), thought, Ok(Step::Thought));
        let counts_only =
            r#"{"type":"message_delta","delta":{"stop_reason":null},"usage":{"output_tokens":3}}"#;
        check(None, counts_only, Ok(Step::Nothing));
        let broken = r#"{"type":"message_delta","delta":{"stop_reason":"error"}}"#;
        check(None, broken, Err(ReadAnswerError::ErrorObject));
    }

    #[test]
    fn a_call_without_arguments_has_those_of_an_empty_object() {
        let start = |input: Value| {
            json!({"type": "content_block_start", "index": 0,
                "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": input}})
        };
        let piece = |json: &str| {
            json!({"type": "content_block_delta", "index": 0,
                "delta": {"type": "input_json_delta", "partial_json": json}})
        };
        let check = |events: &[Value], expected: &str| {
            let stop = json!({"type": "content_block_stop", "index": 0});
            let end = json!({"type": "message_stop"});
            let deltas = translate(&[events, &[stop, end]].concat());
            let pieces = deltas.iter().filter_map(|delta| match delta {
                Delta::Arguments { json, .. } => Some(&**json),
                _ => None,
            });
            assert_eq!(pieces.collect::<String>(), expected);
        };
        check(&[start(json!({}))], "{}");
        check(&[start(json!({})), piece("")], "{}");
        check(&[start(json!({})), piece(""), piece("{\"a\""), piece(":1}")], "{\"a\":1}");
        check(&[start(json!({"a": 1}))], "{\"a\":1}");
        check(&[start(Value::Null)], "{}");
    }
}
