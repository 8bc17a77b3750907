//! The chunks of an upstream's stream: the facts of those that are passed on, or all of those that are translated.

use std::borrow::Cow;

use bantam_types::TokenUsage;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::{finish_reason, read_head};
use super::log_probabilities::{ChatShape as ChatLogProbabilities, TextShape as TextLogProbabilities};
use super::usage::UsageShape;
use crate::call::{CallKind, ToolCall};
use crate::error::ReadAnswerError;
use crate::outcome::{ChunkFacts, Delta};

#[derive(Deserialize)]
struct Shape<'a, Item> {
    #[serde(default = "none")]
    choices: Option<Vec<Item>>,
    #[serde(default)]
    usage: Option<UsageShape>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    bantam: Option<&'a RawValue>,
}

const fn none<T>() -> Option<T> {
    None
}

fn read<'a, Item: Deserialize<'a>>(data: &'a str) -> Result<(Shape<'a, Item>, Vec<Item>), ReadAnswerError> {
    let mut shape: Shape<'a, Item> = serde_json::from_str(data).map_err(|_| ReadAnswerError::NotAnAnswer)?;
    if shape.error.is_some() {
        return Err(ReadAnswerError::ErrorObject);
    }
    let choices = shape.choices.take().ok_or(ReadAnswerError::NotAnAnswer)?;
    Ok((shape, choices))
}

#[derive(Deserialize)]
struct ChoiceFacts<'a> {
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
}

/// Reads what relaying needs of one chunk.
///
/// # Errors
/// When it is not a chunk, or an error object in place of one.
pub(crate) fn read_facts(data: &str) -> Result<ChunkFacts, ReadAnswerError> {
    let (shape, choices) = read::<ChoiceFacts<'_>>(data)?;
    Ok(ChunkFacts {
        usage: shape.usage.map(TokenUsage::from),
        has_choices: !choices.is_empty(),
        finishes: choices.iter().any(|choice| choice.finish_reason.is_some()),
        has_note: shape.bantam.is_some(),
    })
}

#[derive(Deserialize)]
struct ChatChoice<'a> {
    #[serde(default)]
    index: u32,
    #[serde(borrow, default)]
    delta: ChatDelta<'a>,
    #[serde(borrow, default)]
    logprobs: Option<ChatLogProbabilities<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
struct ChatDelta<'a> {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<CallPiece<'a>>>,
}

#[derive(Deserialize)]
struct CallPiece<'a> {
    #[serde(default)]
    index: u32,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    function: FunctionPiece<'a>,
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
    #[serde(default)]
    index: u32,
    text: String,
    #[serde(default)]
    logprobs: Option<TextLogProbabilities>,
    #[serde(borrow, default)]
    finish_reason: Option<Cow<'a, str>>,
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
    pub(crate) fn read(&mut self, data: &str) -> Result<Vec<Delta>, ReadAnswerError> {
        let mut deltas = Vec::new();
        if !std::mem::replace(&mut self.has_begun, true) {
            deltas.push(Delta::Begin(read_head(data.as_bytes())));
        }
        let usage = if self.kind == CallKind::Text {
            let (shape, choices) = read::<TextChoice<'_>>(data)?;
            choices.into_iter().for_each(|choice| text_choice(choice, &mut deltas));
            shape.usage
        } else {
            let (shape, choices) = read::<ChatChoice<'_>>(data)?;
            choices.into_iter().for_each(|choice| chat_choice(choice, &mut deltas));
            shape.usage
        };
        deltas.extend(usage.map(|usage| Delta::Usage(usage.into())));
        Ok(deltas)
    }
}

fn text_choice(choice: TextChoice<'_>, deltas: &mut Vec<Delta>) {
    let TextChoice { index, text, logprobs, finish_reason: reason } = choice;
    if !text.is_empty() || logprobs.is_some() {
        let log_probabilities = logprobs.map(TextLogProbabilities::tokens);
        deltas.push(Delta::Text { choice: index, text, log_probabilities });
    }
    deltas.extend(reason.map(|word| Delta::Finish { choice: index, reason: finish_reason(Some(&word)) }));
}

fn chat_choice(read: ChatChoice<'_>, deltas: &mut Vec<Delta>) {
    let ChatChoice { index: choice, delta, logprobs, finish_reason: reason } = read;
    let log_probabilities = logprobs.and_then(ChatLogProbabilities::tokens);
    let text = delta.content.unwrap_or_default();
    if !text.is_empty() || log_probabilities.is_some() {
        deltas.push(Delta::Text { choice, text, log_probabilities });
    }
    let refusal = delta.refusal.filter(|text| !text.is_empty());
    deltas.extend(refusal.map(|text| Delta::Refusal { choice, text }));
    for CallPiece { index, id, function: FunctionPiece { name, arguments } } in
        delta.tool_calls.into_iter().flatten()
    {
        let json = arguments.unwrap_or_default();
        deltas.push(match name {
            // The name comes with a call's first piece, and only with that.
            Some(name) => {
                let id = id.unwrap_or_default().into_owned();
                let call = ToolCall { id, name: name.into_owned(), arguments: json };
                Delta::ToolCall { choice, index, call }
            }
            None => Delta::Arguments { choice, index, json },
        });
    }
    deltas.extend(reason.map(|word| Delta::Finish { choice, reason: finish_reason(Some(&word)) }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(data: &str, expected: Result<(bool, bool, Option<u64>), ReadAnswerError>) {
        let got = read_facts(data)
            .map(|facts| (facts.has_choices, facts.finishes, facts.usage.map(|usage| usage.output)));
        assert_eq!(got, expected, "{data}");
    }

    #[test]
    fn tells_content_end_and_usage_apart() {
        check(
            r#"{"choices":[{"delta":{"content":"a"},"finish_reason":null}],"usage":null}"#,
            Ok((true, false, None)),
        );
        check(r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#, Ok((true, true, None)));
        check(
            r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#,
            Ok((false, false, Some(2))),
        );
        check(r#"{"error":{"message":"x"}}"#, Err(ReadAnswerError::ErrorObject));
        for garbage in ["", "hello", "{}", "[]", r#"{"choices":7}"#] {
            check(garbage, Err(ReadAnswerError::NotAnAnswer));
        }
    }
}
