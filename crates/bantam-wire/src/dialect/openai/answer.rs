//! An upstream's whole answer: the facts of one that is passed on, or all of one that is translated.

use std::borrow::Cow;
use std::sync::Arc;

use bantam_types::AnswerUsage;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::log_probabilities::{ChatShape as ChatLogProbabilities, TextShape as TextLogProbabilities};
use super::message::read_calls;
use super::usage;
use crate::call::CallKind;
use crate::dialect::lenient::{content_text, is_broken_off, is_error, is_filled, says_something, side};
use crate::error::ReadAnswerError;
use crate::outcome::{AnswerFacts, AnswerHead, Choice, Content, FinishReason, Outcome};

/// Answers to a conversation or to prompts, and what is beside them.
#[derive(Deserialize)]
struct ChoicesShape<'a, Choice> {
    #[serde(default = "Vec::new")]
    choices: Vec<Choice>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    service_tier: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    bantam: Option<&'a RawValue>,
}

/// Vectors, and what is beside them.
#[derive(Deserialize)]
struct VectorsShape<'a, Vector> {
    #[serde(default = "Vec::new")]
    data: Vec<Vector>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    service_tier: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    bantam: Option<&'a RawValue>,
}

/// What is beside an answer.
struct Beside {
    usage: Option<AnswerUsage>,
    has_note: bool,
}

fn read_choices<'a, Choice: Deserialize<'a> + Ends>(
    kind: CallKind,
    body: &'a [u8],
) -> Result<(Vec<Choice>, Beside), ReadAnswerError> {
    let shape: ChoicesShape<'a, Choice> =
        serde_json::from_slice(body).map_err(|_| ReadAnswerError::NotAnAnswer)?;
    let ChoicesShape { choices, usage, service_tier, error, bantam } = shape;
    if choices.iter().any(|choice| choice.end().is_broken_off()) {
        return Err(ReadAnswerError::ErrorObject);
    }
    let says_end = choices.iter().any(|choice| choice.end().word().is_some());
    let usage = usage::read(kind, usage, usage::read_tier(service_tier));
    // What was said took tokens.
    let usage = usage.map(|usage| match usage.tokens.output {
        0 if !says_nothing(body) => usage.contradictory(),
        _ => usage,
    });
    let beside = Beside { usage, has_note: bantam.is_some() };
    let read = checked(choices, error, beside)?;
    // Gateways in front of a model that failed send answers that say nothing, with status 200.
    if !says_end && says_nothing(body) { Err(ReadAnswerError::NotAnAnswer) } else { Ok(read) }
}

/// Returns whether an answer whose choices do not say why they ended says nothing else either.
fn says_nothing(body: &[u8]) -> bool {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let choices = answer["choices"].as_array();
    let says = |choice: &Value| says_something(&choice["message"]) || is_filled(&choice["text"]);
    !choices.into_iter().flatten().any(says)
}

fn read_vectors<'a, Vector: Deserialize<'a>>(
    body: &'a [u8],
) -> Result<(Vec<Vector>, Beside), ReadAnswerError> {
    let shape: VectorsShape<'a, Vector> =
        serde_json::from_slice(body).map_err(|_| ReadAnswerError::NotAnAnswer)?;
    let VectorsShape { data, usage, service_tier, error, bantam } = shape;
    let usage = usage::read(CallKind::Embeddings, usage, usage::read_tier(service_tier));
    checked(data, error, Beside { usage, has_note: bantam.is_some() })
}

/// An error object is an error even if the rest is an answer, and nothing is not an answer.
fn checked<Item>(
    items: Vec<Item>,
    error: Option<&RawValue>,
    beside: Beside,
) -> Result<(Vec<Item>, Beside), ReadAnswerError> {
    if is_error(error) {
        return Err(ReadAnswerError::ErrorObject);
    }
    if items.is_empty() { Err(ReadAnswerError::NotAnAnswer) } else { Ok((items, beside)) }
}

/// How a choice ended, whatever else it says.
#[derive(Clone, Copy)]
pub(super) struct End<'a> {
    pub(super) finish_reason: Option<&'a RawValue>,
    pub(super) error: Option<&'a RawValue>,
}

impl End<'_> {
    /// Returns the word for why the answer ended; none where it has not. A word that is empty says nothing.
    pub(super) fn word(&self) -> Option<String> {
        match serde_json::from_str(self.finish_reason?.get()) {
            Ok(Value::String(word)) => Some(word).filter(|word| !word.is_empty()),
            Ok(Value::Null | Value::Bool(false)) | Err(_) => None,
            // An end all the same, although not in a word.
            Ok(_) => Some("stop".to_owned()),
        }
    }

    /// Returns whether the answer broke off in place of ending.
    pub(super) fn is_broken_off(&self) -> bool {
        is_error(self.error) || self.word().is_some_and(|word| is_broken_off(&word))
    }
}

/// A choice that says how it ended.
trait Ends {
    fn end(&self) -> End<'_>;
}

macro_rules! ends {
    ($($choice:ident),*) => {$(
        impl Ends for $choice<'_> {
            fn end(&self) -> End<'_> {
                End { finish_reason: self.finish_reason, error: self.error }
            }
        }
    )*};
}

ends!(ChatFacts, TextFacts, ChatChoice, TextChoice);

#[derive(Deserialize)]
struct ChatFacts<'a> {
    #[serde(borrow)]
    message: MessageFacts<'a>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct MessageFacts<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct TextFacts<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct VectorFacts<'a> {
    #[serde(borrow, rename = "embedding")]
    _embedding: &'a RawValue,
}

/// Reads what judging and accounting need.
///
/// # Errors
/// When it is not an answer to a call of `kind`, or holds none; also a 200 that carries an error object.
pub(crate) fn read_facts(kind: CallKind, body: &[u8]) -> Result<AnswerFacts, ReadAnswerError> {
    let (text, beside) = match kind {
        CallKind::Chat => {
            let (choices, beside) = read_choices::<ChatFacts<'_>>(kind, body)?;
            let text = match &*choices {
                [only] => only.message.content.and_then(|content| {
                    let content = serde_json::from_str(content.get()).ok()?;
                    content_text(&content)
                }),
                _ => None,
            };
            (text, beside)
        }
        CallKind::Text => {
            let (choices, beside) = read_choices::<TextFacts<'_>>(kind, body)?;
            let text = match &*choices {
                [only] => Some(only.text.to_string()),
                _ => None,
            };
            (text, beside)
        }
        CallKind::Embeddings => (None, read_vectors::<VectorFacts<'_>>(body)?.1),
    };
    Ok(AnswerFacts { usage: beside.usage, text, has_note: beside.has_note })
}

#[derive(Deserialize)]
struct ChatChoice<'a> {
    #[serde(borrow)]
    message: ChatMessage<'a>,
    #[serde(borrow, default, deserialize_with = "side")]
    logprobs: Option<ChatLogProbabilities<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ChatMessage<'a> {
    #[serde(default)]
    content: Option<Value>,
    #[serde(default, deserialize_with = "side")]
    refusal: Option<String>,
    #[serde(borrow, default)]
    tool_calls: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct TextChoice<'a> {
    text: String,
    #[serde(default, deserialize_with = "side")]
    logprobs: Option<TextLogProbabilities>,
    #[serde(borrow, default)]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Vector {
    embedding: Embedding,
}

/// A vector, written in either way.
#[derive(Deserialize)]
#[serde(untagged)]
enum Embedding {
    Numbers(Vec<f32>),
    Base64(String),
}

/// Reads all of an answer.
///
/// # Errors
/// See [`read_facts`].
pub(crate) fn read_outcome(kind: CallKind, body: &[u8]) -> Result<Outcome, ReadAnswerError> {
    let (content, beside) = match kind {
        CallKind::Chat => {
            let (choices, beside) = read_choices(kind, body)?;
            (Content::Choices(choices.into_iter().map(chat_choice).collect()), beside)
        }
        CallKind::Text => {
            let (choices, beside) = read_choices(kind, body)?;
            (Content::Choices(choices.into_iter().map(text_choice).collect()), beside)
        }
        CallKind::Embeddings => {
            let (vectors, beside) = read_vectors::<Vector>(body)?;
            let vectors: Option<Vec<Vec<f32>>> =
                vectors.into_iter().map(|vector| vector.embedding.numbers()).collect();
            (Content::Vectors(vectors.ok_or(ReadAnswerError::NotAnAnswer)?), beside)
        }
    };
    Ok(Outcome { head: read_head(body), content, usage: beside.usage })
}

/// Reads what an upstream calls its answer. This is apart from the rest, because who passes the answer on does not need
/// it.
pub(super) fn read_head(body: &[u8]) -> AnswerHead {
    #[derive(Default, Deserialize)]
    struct Shape<'a> {
        #[serde(borrow, default)]
        id: Option<&'a RawValue>,
        #[serde(borrow, default)]
        model: Option<&'a RawValue>,
    }
    let Shape { id, model } = serde_json::from_slice(body).unwrap_or_default();
    let text = |json: Option<&RawValue>| -> Option<Arc<str>> {
        serde_json::from_str::<String>(json?.get()).ok().map(Into::into)
    };
    AnswerHead { id: text(id), model: text(model) }
}

fn text_choice(choice: TextChoice<'_>) -> Choice {
    let finish = finish_reason(choice.end().word().as_deref());
    Choice {
        text: Some(choice.text),
        finish,
        log_probabilities: choice.logprobs.map(TextLogProbabilities::tokens),
        ..Choice::default()
    }
}

fn chat_choice(choice: ChatChoice<'_>) -> Choice {
    let finish = finish_reason(choice.end().word().as_deref());
    let ChatMessage { content, refusal, tool_calls } = choice.message;
    Choice {
        text: content.as_ref().and_then(content_text),
        refusal,
        tool_calls: tool_calls.map(|calls| read_calls(calls).0).unwrap_or_default(),
        finish,
        log_probabilities: choice.logprobs.and_then(ChatLogProbabilities::tokens),
        ..Choice::default()
    }
}

/// Reads the word for why an answer ended. New words appear without notice; they are an ordinary end.
pub(super) fn finish_reason(word: Option<&str>) -> FinishReason {
    match word {
        Some("length") => FinishReason::Length,
        Some("tool_calls" | "function_call") => FinishReason::ToolCalls,
        Some("content_filter") => FinishReason::ContentFilter,
        _ => FinishReason::Stop,
    }
}

impl Embedding {
    fn numbers(self) -> Option<Vec<f32>> {
        match self {
            Self::Numbers(numbers) => Some(numbers),
            Self::Base64(text) => {
                let bytes = STANDARD.decode(text).ok()?;
                let (numbers, rest) = bytes.as_chunks::<4>();
                rest.is_empty().then(|| numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bantam_types::TokenUsage;

    use super::*;

    fn check(body: &str, expected: Result<(Option<u64>, Option<&str>), ReadAnswerError>) {
        let got = read_facts(CallKind::Chat, body.as_bytes())
            .map(|facts| (facts.usage.map(|usage| usage.tokens.input), facts.text));
        assert_eq!(got, expected.map(|(tokens, text)| (tokens, text.map(str::to_owned))), "{body}");
    }

    #[test]
    fn each_kind_of_call_has_answers_of_its_own_shape() {
        let usage = |output| Some(TokenUsage::new(3, 0, output).into());
        let text =
            r#"{"choices":[{"text":"a\n","index":0}],"usage":{"prompt_tokens":3,"completion_tokens":1}}"#;
        let facts = read_facts(CallKind::Text, text.as_bytes()).unwrap();
        assert_eq!((facts.text.as_deref(), facts.usage), (Some("a\n"), usage(1)));
        let vectors = r#"{"data":[{"embedding":[0.5]},{"embedding":"AAA="}],"usage":{"prompt_tokens":3}}"#;
        let facts = read_facts(CallKind::Embeddings, vectors.as_bytes()).unwrap();
        assert_eq!((facts.text, facts.usage), (None, usage(0)));
        for (kind, body) in [
            (CallKind::Text, r#"{"choices":[]}"#),
            (CallKind::Text, r#"{"choices":[{"message":{"content":"a"}}]}"#),
            (CallKind::Embeddings, r#"{"data":[]}"#),
            (CallKind::Embeddings, r#"{"data":[{}]}"#),
            (CallKind::Chat, text),
        ] {
            assert_eq!(read_facts(kind, body.as_bytes()), Err(ReadAnswerError::NotAnAnswer), "{body}");
            assert_eq!(read_outcome(kind, body.as_bytes()), Err(ReadAnswerError::NotAnAnswer), "{body}");
        }
        for kind in [CallKind::Chat, CallKind::Text, CallKind::Embeddings] {
            let error = br#"{"error":{"message":"no"}}"#;
            assert_eq!(read_facts(kind, error), Err(ReadAnswerError::ErrorObject));
            assert_eq!(read_outcome(kind, error), Err(ReadAnswerError::ErrorObject));
        }
    }

    #[test]
    fn content_in_parts_is_the_text_of_its_parts() {
        let body = r#"{"choices":[{"message":{"content":[{"type":"thinking","thinking":[]},{"type":"text","text":"a"}]}}]}"#;
        check(body, Ok((None, Some("a"))));
        assert_eq!(read_outcome(CallKind::Chat, body.as_bytes()).unwrap().text(), Some("a"));
    }

    #[test]
    fn reads_usage_and_the_only_text() {
        check(
            r#"{"choices":[{"message":{"content":"a\"b"}}],"usage":{"prompt_tokens":5,"completion_tokens":1}}"#,
            Ok((Some(5), Some("a\"b"))),
        );
        check(
            r#"{"choices":[{"message":{"content":null,"tool_calls":[{}]}}],"usage":null}"#,
            Ok((None, None)),
        );
        check(r#"{"choices":[{"message":{"content":""},"finish_reason":"stop"}]}"#, Ok((None, Some(""))));
        check(r#"{"choices":[{"message":{"content":"a"}},{"message":{"content":"b"}}]}"#, Ok((None, None)));
    }

    #[test]
    fn an_error_object_with_status_200_is_an_error() {
        check(r#"{"error":{"message":"quota"}}"#, Err(ReadAnswerError::ErrorObject));
    }

    #[test]
    fn an_answer_that_broke_off_is_an_error_and_an_unread_side_field_is_none() {
        let check = |beside: &str, expected: Option<ReadAnswerError>| {
            let chat = format!(r#"{{"choices":[{{"message":{{"content":"a"}},{beside}}}]}}"#);
            let text = format!(r#"{{"choices":[{{"text":"a",{beside}}}]}}"#);
            for (kind, body) in [(CallKind::Chat, chat), (CallKind::Text, text)] {
                let facts = read_facts(kind, body.as_bytes());
                assert_eq!(
                    facts.as_ref().map(|facts| facts.text.as_deref()).err(),
                    expected.as_ref(),
                    "{body}"
                );
                let outcome = read_outcome(kind, body.as_bytes());
                assert_eq!(outcome.as_ref().err(), expected.as_ref(), "{body}");
                assert!(outcome.is_err() || outcome.unwrap().text() == Some("a"), "{body}");
            }
        };
        for broken in [
            r#""finish_reason":"error""#,
            r#""finish_reason":"ABORT""#,
            r#""error":{"code":502,"message":"Provider returned error"}"#,
            r#""finish_reason":"stop","error":"overloaded""#,
        ] {
            check(broken, Some(ReadAnswerError::ErrorObject));
        }
        for unread in [
            r#""finish_reason":null"#,
            r#""finish_reason":"""#,
            r#""finish_reason":7"#,
            r#""finish_reason":{"type":"eos"}"#,
            r#""finish_reason":"eos_token""#,
            r#""error":null"#,
            r#""error":{}"#,
            r#""logprobs":"none""#,
            r#""logprobs":{"content":7,"tokens":8}"#,
            r#""index":null"#,
        ] {
            check(unread, None);
        }
    }

    #[test]
    fn refuses_what_is_not_a_completion() {
        for body in [
            "",
            "<html>",
            "{}",
            r#"{"choices":[]}"#,
            r#"{"choices":[{}]}"#,
            r#"{"choices":{}}"#,
            "[]",
            r#"{"choices":[{"message":{"role":"assistant","content":""},"finish_reason":""}]}"#,
            r#"{"choices":[{"message":{"content":null,"tool_calls":[]},"finish_reason":null}]}"#,
        ] {
            check(body, Err(ReadAnswerError::NotAnAnswer));
        }
    }

    #[test]
    fn vectors_are_the_same_however_they_are_written() {
        let check = |embedding: &str, expected: Option<Vec<f32>>| {
            let body = format!(r#"{{"data":[{{"embedding":{embedding}}}]}}"#);
            let outcome = read_outcome(CallKind::Embeddings, body.as_bytes());
            assert_eq!(
                outcome.ok().map(|outcome| outcome.content),
                expected.map(|one| Content::Vectors(vec![one]))
            );
        };
        check("[0.5,-0.25]", Some(vec![0.5, -0.25]));
        check("\"AAAAPwAAgL4=\"", Some(vec![0.5, -0.25]));
        check("\"AAAAPw\"", None);
        check("\"AAA=\"", None);
        check("7", None);
    }
}
