//! Rows that a decoder learns from: texts with answers, conversations, or preferences.

mod read;
mod split;
mod written;

use bantam_student::Example;
use bantam_train::{Preference, ReadRowsErrorKind, RowWriter, TokenRow};
use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub use read::{DecoderRowsError, DecoderRowsErrorKind, read_decoder_rows};
pub use split::SplitError;
pub(crate) use split::split;
pub(crate) use written::written;

/// What a row holds.
#[derive(Clone, Debug, PartialEq)]
pub enum RowContent {
    /// A text as the task gets it, and its answer.
    Question {
        /// The text.
        text: String,
        /// The answer.
        answer: Value,
        /// Whether the answer was called a label.
        is_label: bool,
    },
    /// A conversation; all that the assistant says is learnt.
    Conversation {
        /// Its messages.
        messages: Vec<Value>,
        /// The tools that it may call.
        tools: Vec<Value>,
    },
    /// Two answers to a conversation, one better than the other.
    Pair {
        /// What comes before them.
        prompt: Vec<Value>,
        /// The better answer's messages.
        chosen: Vec<Value>,
        /// The other's.
        rejected: Vec<Value>,
    },
}

/// A row and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderRow {
    /// The line of the file, from 1.
    pub line: usize,
    /// What it holds.
    pub content: RowContent,
}

/// A row that cannot be written as tokens.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the row of line {line}")]
pub struct RowTokensError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    #[source]
    pub kind: ReadRowsErrorKind,
}

/// Returns recorded answers as rows; `are_labels` says whether the answers are labels.
pub fn rows_of_recorded(answers: &[Example], are_labels: bool) -> Vec<DecoderRow> {
    let content = |answer: &Example| RowContent::Question {
        text: answer.text.clone(),
        answer: answer.label.clone().into(),
        is_label: are_labels,
    };
    let rows = answers.iter().enumerate();
    rows.map(|(index, answer)| DecoderRow { line: index + 1, content: content(answer) }).collect()
}

/// Returns what a student with these instructions reads before it answers a text.
pub(crate) fn conversation(instructions: &str, text: &str) -> Vec<Value> {
    vec![json!({ "role": "system", "content": instructions }), json!({ "role": "user", "content": text })]
}

impl RowContent {
    /// Returns what the row is about: rows that ask the same stay on one side of every split.
    pub(crate) fn question(&self) -> String {
        let texts = |messages: &[Value]| {
            let said = messages.iter().filter(|message| message["role"] == "user");
            said.filter_map(|message| message["content"].as_str()).collect::<Vec<_>>().join("\n")
        };
        match self {
            Self::Question { text, .. } => text.clone(),
            Self::Conversation { messages, .. } => texts(messages),
            Self::Pair { prompt, .. } => texts(prompt),
        }
    }

    /// Returns the text and the answer, where a student with `instructions` would be asked exactly that.
    pub(crate) fn as_asked(&self, instructions: &str, schema: Option<&Value>) -> Option<Example> {
        match self {
            Self::Question { text, answer, .. } => {
                Some(Example { text: text.clone(), label: written(answer, schema) })
            }
            Self::Conversation { messages, tools } if tools.is_empty() => {
                let (last, before) = messages.split_last()?;
                let text = before.last().and_then(|message| message["content"].as_str())?;
                let is_asked_so = last["role"] == "assistant" && before == conversation(instructions, text);
                let label = last["content"].as_str()?.to_owned();
                is_asked_so.then(|| Example { text: text.to_owned(), label })
            }
            Self::Conversation { .. } | Self::Pair { .. } => None,
        }
    }

    /// Writes the row as tokens.
    fn tokens(
        &self,
        writer: &RowWriter<'_>,
        instructions: &str,
        schema: Option<&Value>,
    ) -> Result<TokenRow, ReadRowsErrorKind> {
        match self {
            Self::Question { text, answer, .. } => {
                let mut messages = conversation(instructions, text);
                messages.push(json!({ "role": "assistant", "content": written(answer, schema) }));
                writer.talk(&messages, &[])
            }
            Self::Conversation { messages, tools } => writer.talk(messages, tools),
            Self::Pair { .. } => Err(ReadRowsErrorKind::NoAnswer),
        }
    }
}

/// Writes rows of answers as tokens.
pub(crate) fn answer_tokens(
    rows: &[DecoderRow],
    writer: &RowWriter<'_>,
    (instructions, schema): (&str, Option<&Value>),
) -> Result<Vec<TokenRow>, RowTokensError> {
    let write = |row: &DecoderRow| {
        let tokens = row.content.tokens(writer, instructions, schema);
        tokens.map_err(|kind| RowTokensError { line: row.line, kind })
    };
    rows.iter().map(write).collect()
}

/// Writes rows of preferences as tokens.
pub(crate) fn preference_tokens(
    rows: &[DecoderRow],
    writer: &RowWriter<'_>,
) -> Result<Vec<Preference>, RowTokensError> {
    let write = |row: &DecoderRow| {
        let written = match &row.content {
            RowContent::Pair { prompt, chosen, rejected } => writer.preference(prompt, chosen, rejected),
            RowContent::Question { .. } | RowContent::Conversation { .. } => Err(ReadRowsErrorKind::NoAnswer),
        };
        written.map_err(|kind| RowTokensError { line: row.line, kind })
    };
    rows.iter().map(write).collect()
}

/// Returns the SHA-256 of rows, in hex.
pub(crate) fn hash(rows: &[DecoderRow]) -> String {
    let mut hash = Sha256::new();
    for row in rows {
        let parts: Vec<String> = match &row.content {
            RowContent::Question { text, answer, .. } => vec![text.clone(), answer.to_string()],
            RowContent::Conversation { messages, tools } => {
                vec![Value::from(messages.clone()).to_string(), Value::from(tools.clone()).to_string()]
            }
            RowContent::Pair { prompt, chosen, rejected } => {
                [prompt, chosen, rejected].map(|messages| Value::from(messages.clone()).to_string()).into()
            }
        };
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    HEXLOWER.encode(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_is_asked_only_where_the_student_would_be_asked_just_that() {
        let row = |system: &str| {
            let mut messages = conversation(system, "a");
            messages.push(json!({ "role": "assistant", "content": "b" }));
            RowContent::Conversation { messages, tools: Vec::new() }
        };
        let expected = Example { text: "a".into(), label: "b".into() };
        assert_eq!(row("Do.").as_asked("Do.", None), Some(expected));
        assert_eq!(row("Other.").as_asked("Do.", None), None);
    }
}
