//! Turns rows of conversations and answers into tokens, exactly as the served model will read them.

use std::collections::BTreeMap;

use bantam_template::{ChatTemplate, Conversation, TemplateError};
use bantam_weights::{EncodeOptions, Tokenizer};
use jiff::civil::DateTime;
use serde::Deserialize;
use serde_json::Value;

use crate::dpo::Preference;
use crate::sft::TokenRow;

/// Why rows cannot be used for training.
#[derive(Debug, thiserror::Error)]
#[error("line {line}")]
pub struct ReadRowsError {
    /// The line number, from 1.
    pub line: usize,
    /// What is wrong with it.
    #[source]
    pub kind: ReadRowsErrorKind,
}

/// What is wrong with a row.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadRowsErrorKind {
    /// Not JSON, or JSON with unexpected fields.
    #[error("read the row")]
    Parse(#[from] serde_json::Error),
    /// The chat template rejects the conversation.
    #[error("render the conversation with the chat template")]
    Template(#[from] TemplateError),
    /// The row has no answer.
    #[error("there is no answer to learn from")]
    NoAnswer,
    /// The template renders an earlier message differently once a later one follows.
    #[error(
        "the chat template renders the conversation before message {message} differently once the message follows"
    )]
    NotPrefix {
        /// The message number, from 1.
        message: usize,
    },
    /// The row is longer than the token limit.
    #[error("the row has {tokens} tokens; the limit is {at_most}")]
    TooLong {
        /// Tokens in the row.
        tokens: usize,
        /// The limit.
        at_most: usize,
    },
    /// The tokenizer produces an id outside the base's vocabulary.
    #[error("the tokenizer produced the id {id}, but the base has only {vocabulary} tokens")]
    OtherVocabulary {
        /// The id.
        id: u32,
        /// Tokens in the base's vocabulary.
        vocabulary: usize,
    },
}

impl ReadRowsErrorKind {
    /// Returns what to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Parse(_) => {
                "write one {\"messages\":[…]} or {\"prompt\",\"completion\"} per line; for preferences, \
                 {\"prompt\",\"chosen\",\"rejected\"}"
            }
            Self::TooLong { .. } => "shorten the row or raise `tokens_max`",
            Self::OtherVocabulary { .. } => "the tokenizer belongs to another base: fetch both again",
            Self::Template(_) | Self::NotPrefix { .. } => "cut the conversation after its first answer",
            Self::NoAnswer => "add an assistant message or a completion",
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum AnswerLine {
    Chat {
        messages: Vec<Value>,
        #[serde(default)]
        tools: Vec<Value>,
    },
    Texts {
        prompt: String,
        completion: String,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum PreferenceLine {
    Chat { prompt: Vec<Value>, chosen: Vec<Value>, rejected: Vec<Value> },
    Texts { prompt: String, chosen: String, rejected: String },
}

/// Renders and tokenises rows for one base.
#[derive(Debug)]
pub struct RowWriter<'w> {
    tokenizer: &'w Tokenizer,
    template: Option<ChatTemplate>,
    control: Vec<String>,
    now: DateTime,
    /// Maximum number of tokens per row.
    tokens_max: usize,
    /// Tokens in the base's vocabulary.
    vocabulary: usize,
}

impl<'w> RowWriter<'w> {
    /// Returns a writer for a base's tokenizer and its chat template, if it has one. `now` is the time that templates
    /// render.
    ///
    /// # Errors
    /// [`TemplateError`] if the template cannot be used.
    pub fn new(
        tokenizer: &'w Tokenizer,
        now: DateTime,
        (tokens_max, vocabulary): (usize, usize),
    ) -> Result<Self, TemplateError> {
        let text = |id: Option<u32>| {
            id.map(|id| String::from_utf8_lossy(tokenizer.token_bytes(id)).into_owned()).unwrap_or_default()
        };
        let (bos, eos) = (text(tokenizer.bos()), text(tokenizer.eos_ids().first().copied()));
        let template =
            tokenizer.chat_template().map(|source| ChatTemplate::new(source, &bos, &eos)).transpose()?;
        let control = (0..tokenizer.vocabulary() as u32)
            .filter(|id| tokenizer.is_control(*id))
            .filter_map(|id| String::from_utf8(tokenizer.token_bytes(id).to_vec()).ok())
            .filter(|text| !text.is_empty())
            .collect();
        Ok(Self { tokenizer, template, control, now, tokens_max, vocabulary })
    }

    /// Reads rows of answers, one per non-empty line. In a conversation, every assistant message is trained on, with
    /// the tokens that end it; in a prompt with a completion, the completion and the end-of-text token are.
    ///
    /// # Errors
    /// [`ReadRowsError`] with the first line that cannot be used.
    pub fn answers(&self, text: &str) -> Result<Vec<TokenRow>, ReadRowsError> {
        self.lines(text, |line| match serde_json::from_str(line)? {
            AnswerLine::Chat { messages, tools } => self.talk(&messages, &tools),
            AnswerLine::Texts { prompt, completion } => self.completion(&prompt, &completion),
        })
    }

    /// Reads rows of preferences, one per non-empty line.
    ///
    /// # Errors
    /// [`ReadRowsError`] with the first line that cannot be used.
    pub fn preferences(&self, text: &str) -> Result<Vec<Preference>, ReadRowsError> {
        self.lines(text, |line| {
            Ok(match serde_json::from_str(line)? {
                PreferenceLine::Chat { prompt, chosen, rejected } => {
                    self.preference(&prompt, &chosen, &rejected)?
                }
                PreferenceLine::Texts { prompt, chosen, rejected } => Preference {
                    chosen: self.completion(&prompt, &chosen)?,
                    rejected: self.completion(&prompt, &rejected)?,
                },
            })
        })
    }

    fn lines<R>(
        &self,
        text: &str,
        row: impl Fn(&str) -> Result<R, ReadRowsErrorKind>,
    ) -> Result<Vec<R>, ReadRowsError> {
        let numbered = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        numbered
            .map(|(index, line)| row(line).map_err(|kind| ReadRowsError { line: index + 1, kind }))
            .collect()
    }

    fn completion(&self, prompt: &str, completion: &str) -> Result<TokenRow, ReadRowsErrorKind> {
        let mut row = TokenRow::default();
        let plain = |add_special| EncodeOptions { add_special, parse_special: false };
        let mut prompt_ids = self.tokenizer.encode(prompt, plain(true));
        // Some tokenizers append an end token to every text.
        while prompt_ids.last().is_some_and(|id| self.tokenizer.eos_ids().contains(id)) {
            prompt_ids.pop();
        }
        row.push(&prompt_ids, false);
        row.push(&self.tokenizer.encode(completion, plain(false)), true);
        row.push(self.tokenizer.eos_ids().first().map_or(&[], std::slice::from_ref), true);
        self.check(row)
    }

    /// Tokenises a conversation. Every assistant message is trained on, with the tokens that end it.
    ///
    /// # Errors
    /// [`ReadRowsErrorKind`] if it cannot be used.
    pub fn talk(&self, messages: &[Value], tools: &[Value]) -> Result<TokenRow, ReadRowsErrorKind> {
        self.talk_from(messages, tools, 0)
    }

    /// Tokenises two answers, each as the continuation of the conversation `prompt`. Answers within `prompt` are not
    /// trained on.
    ///
    /// # Errors
    /// [`ReadRowsErrorKind`] if they cannot be used.
    pub fn preference(
        &self,
        prompt: &[Value],
        chosen: &[Value],
        rejected: &[Value],
    ) -> Result<Preference, ReadRowsErrorKind> {
        let row = |answer: &[Value]| self.talk_from(&[prompt, answer].concat(), &[], prompt.len());
        Ok(Preference { chosen: row(chosen)?, rejected: row(rejected)? })
    }

    /// Tokenises a conversation of which the assistant's messages from `first` on are trained on.
    fn talk_from(
        &self,
        messages: &[Value],
        tools: &[Value],
        first: usize,
    ) -> Result<TokenRow, ReadRowsErrorKind> {
        let mut row = TokenRow::default();
        let mut rendered: Vec<(String, bool)> = Vec::new();
        for (index, message) in messages.iter().enumerate().skip(first) {
            if message.get("role").and_then(Value::as_str) != Some("assistant") {
                continue;
            }
            // Prompt and answer are split as text and encoded separately, as they are when served.
            for (count, add_generation_prompt) in [(index, true), (index + 1, false)] {
                let now = self.render(&messages[..count], tools, add_generation_prompt)?;
                let new = without_prefix(&now, &rendered)
                    .ok_or(ReadRowsErrorKind::NotPrefix { message: index + 1 })?;
                for (text, is_quotation) in new {
                    // Templates write the begin-of-text token themselves.
                    let add_special = self.template.is_none() && row.ids.is_empty();
                    let options = EncodeOptions { add_special, parse_special: !is_quotation };
                    row.push(&self.tokenizer.encode(&text, options), !add_generation_prompt);
                }
                rendered = now;
            }
            if self.template.is_none() && index + 1 == messages.len() {
                // Without a template, nothing else marks the end of the answer.
                row.push(self.tokenizer.eos_ids().first().map_or(&[], std::slice::from_ref), true);
            }
        }
        self.check(row)
    }

    fn render(
        &self,
        messages: &[Value],
        tools: &[Value],
        add_generation_prompt: bool,
    ) -> Result<Vec<(String, bool)>, ReadRowsErrorKind> {
        let Some(template) = &self.template else {
            // The gateway serves a model without a template this way: it concatenates the messages.
            let text = |message: &Value| {
                format!("{}\n", message.get("content").and_then(Value::as_str).unwrap_or_default())
            };
            return Ok(vec![(messages.iter().map(text).collect(), false)]);
        };
        let variables = BTreeMap::new();
        let conversation =
            Conversation { messages, tools, add_generation_prompt, variables: &variables, now: self.now };
        let control: Vec<&str> = self.control.iter().map(String::as_str).collect();
        let pieces = template.render(&conversation, &control)?;
        Ok(pieces.into_iter().map(|piece| (piece.text, piece.is_quotation)).collect())
    }

    fn check(&self, row: TokenRow) -> Result<TokenRow, ReadRowsErrorKind> {
        if let Some(id) = row.ids.iter().find(|id| **id as usize >= self.vocabulary) {
            return Err(ReadRowsErrorKind::OtherVocabulary { id: *id, vocabulary: self.vocabulary });
        }
        match (row.terms(), row.ids.len()) {
            (0, _) => Err(ReadRowsErrorKind::NoAnswer),
            (_, tokens) if tokens > self.tokens_max => {
                Err(ReadRowsErrorKind::TooLong { tokens, at_most: self.tokens_max })
            }
            _ => Ok(row),
        }
    }
}

/// Returns the pieces of `now` after the pieces of `prefix`, or `None` if `now` does not start with them.
fn without_prefix(now: &[(String, bool)], prefix: &[(String, bool)]) -> Option<Vec<(String, bool)>> {
    let Some((last, whole)) = prefix.split_last() else { return Some(now.to_vec()) };
    if !now.starts_with(whole) {
        return None;
    }
    let (first, after) = now[whole.len()..].split_first()?;
    let rest = first.0.strip_prefix(last.0.as_str()).filter(|rest| first.1 == last.1 || rest.is_empty())?;
    let mut pieces = vec![(rest.to_owned(), first.1)];
    pieces.extend_from_slice(after);
    pieces.retain(|(text, _)| !text.is_empty());
    Some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::SmallTokens;

    fn rows(text: &str) -> Result<Vec<TokenRow>, ReadRowsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.gguf");
        SmallTokens::bytes().write(&path).unwrap();
        let tokenizer = Tokenizer::open(&path).unwrap();
        RowWriter::new(&tokenizer, DateTime::constant(2026, 1, 1, 0, 0, 0, 0), (64, 258))
            .unwrap()
            .answers(text)
    }

    /// Spells the row's bytes: upper case if trained on, `<` and `>` for the two control tokens.
    fn spelled(row: &TokenRow) -> String {
        let ids = row.ids.iter().zip(&row.is_learnt);
        ids.map(|(id, is)| match (*id, is) {
            (256, _) => '<',
            (257, _) => '>',
            (byte, true) => char::from(byte as u8).to_ascii_uppercase(),
            (byte, false) => char::from(byte as u8),
        })
        .collect()
    }

    #[test]
    fn answers_and_their_end_tokens_are_trained_on_and_questions_are_not() {
        let conversation =
            r#"{"messages":[{"role":"user","content":"ab"},{"role":"assistant","content":"cd"},
            {"role":"user","content":"ef"},{"role":"assistant","content":"gh"}]}"#
                .replace('\n', "");
        let rows = rows(&format!("{conversation}\n\n{{\"prompt\":\"ab \",\"completion\":\"cd\"}}")).unwrap();
        let expected = "<user\nab>\n<assistant\nCD>\n<user\nef>\n<assistant\nGH>\n";
        assert_eq!(spelled(&rows[0]), expected);
        assert_eq!(spelled(&rows[1]), "ab CD>");
        assert!(rows[1].is_learnt[5], "the end token is trained on");
    }

    #[test]
    fn text_that_looks_like_a_control_token_stays_text() {
        let row =
            r#"{"messages":[{"role":"user","content":"<|im_end|>"},{"role":"assistant","content":"b"}]}"#;
        assert_eq!(spelled(&rows(row).unwrap()[0]), "<user\n<|im_end|>>\n<assistant\nB>\n");
    }

    #[test]
    fn an_error_names_the_line_of_a_row_that_cannot_be_used() {
        let cases = [
            ("{}", "line 1", "messages"),
            ("\n{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}", "line 2", "assistant"),
            (&format!("{{\"prompt\":\"{}\",\"completion\":\"b\"}}", "a".repeat(70)), "line 1", "tokens_max"),
        ];
        for (text, line, hint) in cases {
            let error = rows(text).unwrap_err();
            assert_eq!(error.to_string(), line);
            assert!(error.kind.hint().contains(hint), "{}", error.kind.hint());
        }
    }
}
