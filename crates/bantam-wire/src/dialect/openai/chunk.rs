//! The chunks of an upstream's stream: the facts of those that are passed on, or all of those that are translated.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::answer::{End, finish_reason, read_head};
use super::log_probabilities::{ChatShape as ChatLogProbabilities, TextShape as TextLogProbabilities};
use super::usage;
use crate::call::{CallKind, ToolCall};
use crate::dialect::lenient::{self, content_text, is_error, is_filled, side};
use crate::error::ReadAnswerError;
use crate::format::Progress;
use crate::outcome::{ChunkFacts, Delta};

#[derive(Deserialize)]
struct Shape<'a, Item> {
    #[serde(default = "none")]
    choices: Option<Vec<Item>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    service_tier: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    bantam: Option<&'a RawValue>,
}

const fn none<T>() -> Option<T> {
    None
}

/// Reads a chunk. One without choices says nothing of an answer, but may tell the usage.
fn read<'a, Item: Deserialize<'a>>(
    data: &'a str,
) -> Result<(Shape<'a, Item>, Option<Vec<Item>>), ReadAnswerError> {
    let mut shape: Shape<'a, Item> = serde_json::from_str(data).map_err(|_| ReadAnswerError::NotAnAnswer)?;
    if is_error(shape.error) {
        return Err(ReadAnswerError::ErrorObject);
    }
    if shape.choices.is_none() && is_error_itself(data) {
        return Err(ReadAnswerError::ErrorObject);
    }
    let choices = shape.choices.take();
    Ok((shape, choices))
}

/// Returns whether an object without choices is an error, as those say that have no `error` member.
fn is_error_itself(data: &str) -> bool {
    #[derive(Default, Deserialize)]
    struct Kind<'a> {
        #[serde(borrow, default, deserialize_with = "side")]
        object: Option<Cow<'a, str>>,
        #[serde(borrow, default, deserialize_with = "side", rename = "type")]
        kind: Option<Cow<'a, str>>,
    }
    let Kind { object, kind } = serde_json::from_str(data).unwrap_or_default();
    [object, kind].into_iter().flatten().any(|word| word == "error")
}

#[derive(Deserialize)]
struct ChoiceFacts<'a> {
    #[serde(default, deserialize_with = "side")]
    index: Option<u32>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// What relaying needs of one chunk.
pub(crate) struct ReadChunk {
    pub(crate) facts: ChunkFacts,
    /// Whether it has a list of choices, be it empty.
    pub(crate) has_list: bool,
}

/// Reads what relaying needs of one chunk, and notes in `progress` which answers it begins and ends.
///
/// # Errors
/// When it is not a chunk, or an error object in place of one, or when it says that an answer broke off.
pub(crate) fn read_facts(
    data: &str,
    kind: CallKind,
    progress: &mut Progress,
) -> Result<ReadChunk, ReadAnswerError> {
    let (shape, choices) = read::<ChoiceFacts<'_>>(data)?;
    let has_list = choices.is_some();
    let choices = choices.unwrap_or_default();
    let mut finishes = false;
    for ChoiceFacts { index, finish_reason, error } in &choices {
        let end = End { finish_reason: *finish_reason, error: *error };
        if end.is_broken_off() {
            return Err(ReadAnswerError::ErrorObject);
        }
        let ends = end.word().is_some();
        progress.saw(index.unwrap_or(0), ends);
        finishes |= ends;
    }
    let facts = ChunkFacts {
        usage: usage::read(kind, shape.usage, progress.service_tier(usage::read_tier(shape.service_tier))),
        has_choices: !choices.is_empty(),
        finishes,
        has_note: shape.bantam.is_some(),
    };
    Ok(ReadChunk { facts, has_list })
}

/// Returns whether a chunk says something that a caller would miss: more than that an answer begins.
pub(crate) fn says_something(data: &str) -> bool {
    let Ok(chunk) = serde_json::from_str::<Value>(data) else { return false };
    let choices = chunk["choices"].as_array();
    choices.into_iter().flatten().any(|choice| {
        let says = lenient::says_something(&choice["delta"]);
        says || is_filled(&choice["text"]) || is_filled(&choice["finish_reason"])
    })
}

/// Returns whether `data` is a chunk that has choices.
pub(crate) fn has_choices(data: &str) -> bool {
    read::<&RawValue>(data).is_ok_and(|(_, choices)| choices.is_some_and(|choices| !choices.is_empty()))
}

/// Returns the data of a chunk without choices as one that has an empty list, as callers expect it.
pub(crate) fn with_choices(data: String) -> String {
    let Ok(Value::Object(mut chunk)) = serde_json::from_str(&data) else { return data };
    chunk.insert("choices".to_owned(), Value::Array(Vec::new()));
    Value::Object(chunk).to_string()
}

#[derive(Deserialize)]
struct ChatChoice<'a> {
    #[serde(default, deserialize_with = "side")]
    index: Option<u32>,
    #[serde(borrow, default)]
    delta: Option<ChatDelta<'a>>,
    #[serde(borrow, default, deserialize_with = "side")]
    logprobs: Option<ChatLogProbabilities<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct ChatDelta<'a> {
    #[serde(default)]
    content: Option<Value>,
    #[serde(default, deserialize_with = "side")]
    refusal: Option<String>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<CallPiece<'a>>>,
}

#[derive(Deserialize)]
struct CallPiece<'a> {
    #[serde(default, deserialize_with = "side")]
    index: Option<u32>,
    #[serde(borrow, default, deserialize_with = "side")]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    function: Option<FunctionPiece<'a>>,
}

#[derive(Default, Deserialize)]
struct FunctionPiece<'a> {
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(default)]
    arguments: Option<String>,
}

#[derive(Deserialize)]
struct TextChoice<'a> {
    #[serde(default, deserialize_with = "side")]
    index: Option<u32>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default, deserialize_with = "side")]
    logprobs: Option<TextLogProbabilities>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// Reads one stream chunk by chunk, in neutral terms.
#[derive(Debug)]
pub(crate) struct ChunkReader {
    kind: CallKind,
    has_begun: bool,
}

impl ChunkReader {
    pub(crate) const fn new(kind: CallKind) -> Self {
        Self { kind, has_begun: false }
    }

    /// Returns what a chunk says.
    ///
    /// # Errors
    /// See [`read_facts`].
    pub(crate) fn read(
        &mut self,
        data: &str,
        progress: &mut Progress,
    ) -> Result<Vec<Delta>, ReadAnswerError> {
        let mut deltas = Vec::new();
        let (usage, service_tier) = if self.kind == CallKind::Text {
            let (shape, choices) = read::<TextChoice<'_>>(data)?;
            for choice in choices.into_iter().flatten() {
                text_choice(choice, &mut deltas, progress)?;
            }
            (shape.usage, shape.service_tier)
        } else {
            let (shape, choices) = read::<ChatChoice<'_>>(data)?;
            for choice in choices.into_iter().flatten() {
                chat_choice(choice, &mut deltas, progress)?;
            }
            (shape.usage, shape.service_tier)
        };
        let service_tier = progress.service_tier(usage::read_tier(service_tier));
        deltas.extend(usage::read(self.kind, usage, service_tier).map(Delta::Usage));
        if !std::mem::replace(&mut self.has_begun, true) {
            deltas.insert(0, Delta::Begin(read_head(data.as_bytes())));
        }
        Ok(deltas)
    }
}

/// Notes an end, and returns its step.
fn finish(choice: u32, end: End<'_>, progress: &mut Progress) -> Result<Option<Delta>, ReadAnswerError> {
    if end.is_broken_off() {
        return Err(ReadAnswerError::ErrorObject);
    }
    let word = end.word();
    progress.saw(choice, word.is_some());
    Ok(word.map(|word| Delta::Finish { choice, reason: finish_reason(Some(&word)) }))
}

fn text_choice(
    choice: TextChoice<'_>,
    deltas: &mut Vec<Delta>,
    progress: &mut Progress,
) -> Result<(), ReadAnswerError> {
    let TextChoice { index, text, logprobs, finish_reason, error } = choice;
    let (choice, text) = (index.unwrap_or(0), text.unwrap_or_default());
    let finish = finish(choice, End { finish_reason, error }, progress)?;
    if !text.is_empty() || logprobs.is_some() {
        let log_probabilities = logprobs.map(TextLogProbabilities::tokens);
        deltas.push(Delta::Text { choice, text, log_probabilities });
    }
    deltas.extend(finish);
    Ok(())
}

fn chat_choice(
    read: ChatChoice<'_>,
    deltas: &mut Vec<Delta>,
    progress: &mut Progress,
) -> Result<(), ReadAnswerError> {
    let ChatChoice { index, delta, logprobs, finish_reason, error } = read;
    let (choice, delta) = (index.unwrap_or(0), delta.unwrap_or_default());
    let finish = finish(choice, End { finish_reason, error }, progress)?;
    let log_probabilities = logprobs.and_then(ChatLogProbabilities::tokens);
    let text = delta.content.as_ref().and_then(content_text).unwrap_or_default();
    if !text.is_empty() || log_probabilities.is_some() {
        deltas.push(Delta::Text { choice, text, log_probabilities });
    }
    let refusal = delta.refusal.filter(|text| !text.is_empty());
    deltas.extend(refusal.map(|text| Delta::Refusal { choice, text }));
    for CallPiece { index, id, function } in delta.tool_calls.into_iter().flatten() {
        let FunctionPiece { name, arguments } = function.unwrap_or_default();
        let (index, json) = (index.unwrap_or(0), arguments.unwrap_or_default());
        deltas.push(match name.filter(|name| !name.is_empty()) {
            // The name comes with a call's first piece, and only with that.
            Some(name) => {
                let id = id.unwrap_or_default().into_owned();
                let call = ToolCall { id, name: name.into_owned(), arguments: json };
                Delta::ToolCall { choice, index, call }
            }
            None => Delta::Arguments { choice, index, json },
        });
    }
    deltas.extend(finish);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(data: &str, expected: Result<(bool, bool, Option<u64>), ReadAnswerError>) {
        let got = read_facts(data, CallKind::Chat, &mut Progress::default())
            .map(|chunk| chunk.facts)
            .map(|facts| (facts.has_choices, facts.finishes, facts.usage.map(|usage| usage.tokens.output)));
        assert_eq!(got, expected, "{data}");
        let steps = ChunkReader::new(CallKind::Chat).read(data, &mut Progress::default());
        let told = steps.map(|steps| {
            let finishes = steps.iter().any(|step| matches!(step, Delta::Finish { .. }));
            (finishes, steps.iter().find_map(Delta::usage).map(|usage| usage.tokens.output))
        });
        assert_eq!(told, expected.map(|(_, finishes, output)| (finishes, output)), "{data}");
    }

    #[test]
    fn tells_content_end_and_usage_apart() {
        check(
            r#"{"choices":[{"delta":{"content":"a"},"finish_reason":null}],"usage":null}"#,
            Ok((true, false, None)),
        );
        check(r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#, Ok((true, true, None)));
        for choices in [r#""choices":[],"#, r#""choices":null,"#, ""] {
            let usage = r#""usage":{"prompt_tokens":1,"completion_tokens":2}"#;
            check(&format!("{{{choices}{usage}}}"), Ok((false, false, Some(2))));
        }
        for error in
            [r#"{"error":{"message":"x"}}"#, r#"{"object":"error","message":"x"}"#, r#"{"type":"error"}"#]
        {
            check(error, Err(ReadAnswerError::ErrorObject));
        }
        for foreign in ["{}", r#"{"citations":["a"]}"#, r#"{"type":"ping"}"#] {
            check(foreign, Ok((false, false, None)));
        }
        for garbage in ["", "hello", r#"{"choices":7}"#, r#"{"choices":[{"delta":"#] {
            check(garbage, Err(ReadAnswerError::NotAnAnswer));
        }
    }

    #[test]
    fn an_end_is_a_word_and_a_broken_end_is_an_error() {
        let chunk = |beside: &str| format!(r#"{{"choices":[{{"delta":{{"content":"a"}},{beside}}}]}}"#);
        for (beside, finishes) in [
            (r#""finish_reason":"""#, false),
            (r#""finish_reason":false"#, false),
            (r#""finish_reason":"new word""#, true),
            (r#""finish_reason":{"type":"eos"}"#, true),
            (r#""index":"0""#, false),
            (r#""index":null,"logprobs":"none""#, false),
            (r#""error":null"#, false),
        ] {
            check(&chunk(beside), Ok((true, finishes, None)));
        }
        for broken in [
            r#""finish_reason":"error""#,
            r#""finish_reason":"abort""#,
            r#""finish_reason":"insufficient_system_resource""#,
            r#""error":{"code":502}"#,
        ] {
            check(&chunk(broken), Err(ReadAnswerError::ErrorObject));
        }
    }

    #[test]
    fn a_role_alone_says_nothing() {
        let chunk = |choice: &str| format!(r#"{{"choices":[{choice}]}}"#);
        for (choice, says) in [
            (r#"{"delta":{"role":"assistant","content":"","refusal":null},"finish_reason":null}"#, false),
            (r#"{"delta":{}}"#, false),
            (r#"{"delta":null,"finish_reason":""}"#, false),
            ("", false),
            (r#"{"delta":{"role":"assistant","content":"a"}}"#, true),
            (r#"{"delta":{"reasoning_content":"a"}}"#, true),
            (r#"{"delta":{"tool_calls":[{"index":0}]}}"#, true),
            (r#"{"delta":{},"finish_reason":"stop"}"#, true),
            (r#"{"text":"a"}"#, true),
            (r#"{"text":""}"#, false),
        ] {
            assert_eq!(says_something(&chunk(choice)), says, "{choice}");
        }
    }
}
