//! What is answered, in no dialect's words.
//!
//! An [`Outcome`] is a whole answer, a [`Delta`] one step of a stream. The embedded engine and students make them; an
//! upstream's answer becomes one where its dialect is not the caller's. Where it is, the answer stays the bytes that the
//! upstream sent (see [`RawAnswer`] and [`RawChunk`]), and only the facts that judging and accounting need are read.

mod raw;

use std::collections::BTreeMap;
use std::sync::Arc;

use bantam_types::AnswerUsage;

pub use raw::{AnswerBody, AnswerFacts, ChunkFacts, RawAnswer, RawChunk, StreamItem, UsageSoFar};

use crate::call::{Thought, ToolCall};

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// What the backend calls the answer.
    pub head: AnswerHead,
    /// What it says.
    pub content: Content,
    /// Tokens as the backend counted them, if it did.
    pub usage: Option<AnswerUsage>,
}

/// What a backend calls its answer. What it leaves open, the dialect that writes the answer fills in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerHead {
    /// The backend's id of it.
    pub id: Option<Arc<str>>,
    /// The model that the backend names.
    pub model: Option<Arc<str>>,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// One answer or several, to a conversation or to prompts.
    Choices(Vec<Choice>),
    /// A vector for each text.
    Vectors(Vec<Vec<f32>>),
}

impl Default for Content {
    fn default() -> Self {
        Self::Choices(Vec::new())
    }
}

/// One of the answers to a call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// Its text; none where it only calls tools or declines.
    pub text: Option<String>,
    /// The text with which the model declined to answer.
    pub refusal: Option<String>,
    /// The calls that it makes.
    pub tool_calls: Vec<ToolCall>,
    /// What the model thought before, as its provider signed it: callers send it back with the results of calls.
    pub thoughts: Vec<Thought>,
    /// Why it ended.
    pub finish: FinishReason,
    /// The text's tokens, where their probabilities were asked for.
    pub log_probabilities: Option<Vec<TokenLogProbability>>,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FinishReason {
    /// The model had said everything, or came to a stop string.
    #[default]
    Stop,
    /// It had as many tokens as it could have.
    Length,
    /// It calls tools.
    ToolCalls,
    /// Something kept the model from answering on.
    ContentFilter,
}

/// A token of an answer, with its probability.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogProbability {
    /// The token that was chosen.
    pub token: Token,
    /// The likeliest tokens at its place, as many as were asked for.
    pub alternatives: Vec<Token>,
}

/// A token with the logarithm of its probability.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// Its text. A token may end within a character: then this stands for it as well as text can.
    pub text: String,
    /// Its bytes, where they are known.
    pub bytes: Option<Vec<u8>>,
    /// The natural logarithm of its probability.
    pub log_probability: f64,
}

/// One step of a streamed answer. Choices count from 0, and so do the tool calls of each choice.
#[derive(Clone, Debug, PartialEq)]
pub enum Delta {
    /// The answer begins.
    Begin(AnswerHead),
    /// More text.
    Text {
        /// Which answer.
        choice: u32,
        /// The text.
        text: String,
        /// Its tokens, where their probabilities were asked for.
        log_probabilities: Option<Vec<TokenLogProbability>>,
    },
    /// More text with which the model declines.
    Refusal {
        /// Which answer.
        choice: u32,
        /// The text.
        text: String,
    },
    /// A thought is there whole.
    Thought {
        /// Which answer.
        choice: u32,
        /// The thought.
        thought: Thought,
    },
    /// A tool call begins, or is there whole.
    ToolCall {
        /// Which answer.
        choice: u32,
        /// Which of its calls.
        index: u32,
        /// The call; its arguments may be only their beginning.
        call: ToolCall,
    },
    /// More of a tool call's arguments.
    Arguments {
        /// Which answer.
        choice: u32,
        /// Which of its calls.
        index: u32,
        /// The next piece of the JSON.
        json: String,
    },
    /// An answer ends.
    Finish {
        /// Which answer.
        choice: u32,
        /// Why.
        reason: FinishReason,
    },
    /// What all of it took.
    Usage(AnswerUsage),
}

impl Outcome {
    /// Returns the outcome that is one whole text.
    pub fn of_text(text: impl Into<String>, usage: impl Into<AnswerUsage>) -> Self {
        let choice = Choice { text: Some(text.into()), ..Choice::default() };
        Self {
            head: AnswerHead::default(),
            content: Content::Choices(vec![choice]),
            usage: Some(usage.into()),
        }
    }

    /// Returns its answers; none where it is vectors.
    pub fn choices(&self) -> &[Choice] {
        match &self.content {
            Content::Choices(choices) => choices,
            Content::Vectors(_) => &[],
        }
    }

    /// Returns the text of its only answer; nothing where there are several, or calls instead of text.
    pub fn text(&self) -> Option<&str> {
        match self.choices() {
            [only] if only.tool_calls.is_empty() => only.text.as_deref(),
            _ => None,
        }
    }

    /// Returns the answer that the steps of a stream add up to.
    pub fn of_steps(steps: impl IntoIterator<Item = Delta>) -> Self {
        let mut outcome = Self::default();
        let mut choices: BTreeMap<u32, Choice> = BTreeMap::new();
        let mut calls: BTreeMap<(u32, u32), ToolCall> = BTreeMap::new();
        for step in steps {
            match step {
                Delta::Begin(head) => outcome.head = head,
                Delta::Usage(usage) => {
                    outcome.usage = Some(outcome.usage.map_or(usage, |before| before.followed_by(usage)));
                }
                Delta::Text { choice, text, log_probabilities } => {
                    let choice = choices.entry(choice).or_default();
                    choice.text.get_or_insert_default().push_str(&text);
                    if let Some(tokens) = log_probabilities {
                        choice.log_probabilities.get_or_insert_default().extend(tokens);
                    }
                }
                Delta::Refusal { choice, text } => {
                    choices.entry(choice).or_default().refusal.get_or_insert_default().push_str(&text);
                }
                Delta::Thought { choice, thought } => {
                    choices.entry(choice).or_default().thoughts.push(thought);
                }
                Delta::ToolCall { choice, index, call } => {
                    calls.insert((choice, index), call);
                }
                Delta::Arguments { choice, index, json } => {
                    if let Some(call) = calls.get_mut(&(choice, index)) {
                        call.arguments.push_str(&json);
                    }
                }
                Delta::Finish { choice, reason } => choices.entry(choice).or_default().finish = reason,
            }
        }
        for ((choice, _), call) in calls {
            choices.entry(choice).or_default().tool_calls.push(call);
        }
        outcome.content = Content::Choices(choices.into_values().collect());
        outcome
    }

    /// Returns the same answer as the steps of a stream.
    pub fn deltas(&self) -> Vec<Delta> {
        let mut deltas = vec![Delta::Begin(self.head.clone())];
        for (choice, answer) in (0_u32..).zip(self.choices()) {
            let thoughts = answer.thoughts.iter().cloned();
            deltas.extend(thoughts.map(|thought| Delta::Thought { choice, thought }));
            if answer.text.is_some() || answer.log_probabilities.is_some() {
                let text = answer.text.clone().unwrap_or_default();
                let log_probabilities = answer.log_probabilities.clone();
                deltas.push(Delta::Text { choice, text, log_probabilities });
            }
            deltas.extend(answer.refusal.clone().map(|text| Delta::Refusal { choice, text }));
            let calls = (0_u32..).zip(&answer.tool_calls);
            deltas.extend(calls.map(|(index, call)| Delta::ToolCall { choice, index, call: call.clone() }));
            deltas.push(Delta::Finish { choice, reason: answer.finish });
        }
        deltas.extend(self.usage.map(Delta::Usage));
        deltas
    }
}

impl Delta {
    /// Returns whether it says something that a caller would miss: more than that an answer begins.
    pub fn says_something(&self) -> bool {
        match self {
            Self::Begin(_) | Self::Usage(_) => false,
            Self::Text { text, log_probabilities, .. } => !text.is_empty() || log_probabilities.is_some(),
            Self::Refusal { text, .. } => !text.is_empty(),
            Self::Thought { .. } | Self::ToolCall { .. } | Self::Arguments { .. } | Self::Finish { .. } => {
                true
            }
        }
    }

    /// Returns the token counts, in the step that tells them.
    pub const fn usage(&self) -> Option<AnswerUsage> {
        match self {
            Self::Usage(usage) => Some(*usage),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use bantam_types::TokenUsage;

    use super::*;

    #[test]
    fn the_only_text_is_told_and_nothing_else_for_it() {
        let check = |choices: Vec<Choice>, expected: Option<&str>| {
            let outcome = Outcome { content: Content::Choices(choices), ..Outcome::default() };
            assert_eq!(outcome.text(), expected);
        };
        let text = || Choice { text: Some("a".to_owned()), ..Choice::default() };
        let call = ToolCall { id: "1".to_owned(), name: "f".to_owned(), arguments: "{}".to_owned() };
        check(vec![text()], Some("a"));
        check(vec![text(), text()], None);
        check(vec![Choice { tool_calls: vec![call], ..text() }], None);
        check(vec![Choice::default()], None);
    }

    #[test]
    fn a_whole_answer_is_the_sum_of_its_steps() {
        let usage = TokenUsage::new(1, 0, 2);
        let steps = Outcome::of_text("a", usage).deltas();
        let expected = [
            Delta::Begin(AnswerHead::default()),
            Delta::Text { choice: 0, text: "a".to_owned(), log_probabilities: None },
            Delta::Finish { choice: 0, reason: FinishReason::Stop },
            Delta::Usage(usage.into()),
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    fn the_steps_of_an_answer_add_up_to_it() {
        let call = |id: &str, arguments: &str| ToolCall {
            id: id.to_owned(),
            name: "f".to_owned(),
            arguments: arguments.to_owned(),
        };
        let token = TokenLogProbability {
            token: Token { text: "a".to_owned(), bytes: None, log_probability: -0.5 },
            alternatives: Vec::new(),
        };
        let answer = Outcome {
            head: AnswerHead { id: Some("1".into()), model: None },
            content: Content::Choices(vec![
                Choice {
                    text: Some("a".to_owned()),
                    log_probabilities: Some(vec![token]),
                    ..Choice::default()
                },
                Choice {
                    tool_calls: vec![call("1", "{}"), call("2", "[]")],
                    finish: FinishReason::ToolCalls,
                    ..Choice::default()
                },
                Choice { refusal: Some("no".to_owned()), finish: FinishReason::Length, ..Choice::default() },
            ]),
            usage: Some(TokenUsage::new(1, 0, 2).into()),
        };
        assert_eq!(Outcome::of_steps(answer.deltas()), answer);
        let text = |text: &str| Delta::Text { choice: 0, text: text.to_owned(), log_probabilities: None };
        let piece = |json: &str| Delta::Arguments { choice: 0, index: 0, json: json.to_owned() };
        let steps = [
            text("a"),
            Delta::ToolCall { choice: 0, index: 0, call: call("1", "") },
            piece("{"),
            text("b"),
            piece("}"),
        ];
        let summed = Outcome::of_steps(steps);
        assert_eq!(
            (summed.choices()[0].text.as_deref(), &*summed.choices()[0].tool_calls),
            (Some("ab"), &[call("1", "{}")][..])
        );
    }
}
