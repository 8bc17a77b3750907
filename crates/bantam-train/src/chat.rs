//! From rows of conversations and answers to tokens, as the served model will read them.

use std::collections::BTreeMap;

use bantam_template::{ChatTemplate, Conversation, TemplateError};
use bantam_weights::{EncodeOptions, Tokenizer};
use jiff::civil::DateTime;
use serde::Deserialize;
use serde_json::Value;

use crate::dpo::Preference;
use crate::sft::TokenRow;

/// Why rows cannot be learnt from.
#[derive(Debug, thiserror::Error)]
#[error("line {line}")]
pub struct ReadRowsError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    #[source]
    pub kind: ReadRowsErrorKind,
}

/// What is wrong with a row.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadRowsErrorKind {
    /// No JSON, or other fields than are read.
    #[error("read the row")]
    Parse(#[from] serde_json::Error),
    /// The template refuses the conversation.
    #[error("write the conversation down")]
    Template(#[from] TemplateError),
    /// Nothing that could be learnt.
    #[error("there is no answer to learn from")]
    NoAnswer,
    /// The template writes an earlier part otherwise once a later one follows.
    #[error("the chat template does not write message {message} as it writes the conversation up to it")]
    NotPrefix {
        /// The message, from 1.
        message: usize,
    },
    /// More tokens than are trained at once.
    #[error("it has {tokens} tokens, and at most {at_most} are trained")]
    TooLong {
        /// Tokens of the row.
        tokens: usize,
        /// Most there may be.
        at_most: usize,
    },
    /// Ids that the base does not have.
    #[error("the tokenizer gives the id {id}, and the base knows {vocabulary}")]
    OtherVocabulary {
        /// The id.
        id: u32,
        /// Tokens of the base.
        vocabulary: usize,
    },
}

impl ReadRowsErrorKind {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Parse(_) => {
                "write {\"messages\":[…]} or {\"prompt\",\"completion\"} a line, and for preferences \
                 {\"prompt\",\"chosen\",\"rejected\"}"
            }
            Self::TooLong { .. } => "shorten the row, or raise --tokens-max",
            Self::OtherVocabulary { .. } => "the tokenizer is of another base: fetch both again",
            Self::Template(_) | Self::NotPrefix { .. } => "cut the conversation after its first answer",
            Self::NoAnswer => "add a message of the assistant, or a completion",
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Talk {
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
enum Pair {
    Talk { prompt: Vec<Value>, chosen: Vec<Value>, rejected: Vec<Value> },
    Texts { prompt: String, chosen: String, rejected: String },
}

/// Writes rows down for one base.
#[derive(Debug)]
pub struct RowWriter<'w> {
    tokenizer: &'w Tokenizer,
    template: Option<ChatTemplate>,
    control: Vec<String>,
    now: DateTime,
    /// Tokens of a row at most.
    tokens_max: usize,
    /// Tokens that the base knows.
    vocabulary: usize,
}

impl<'w> RowWriter<'w> {
    /// Returns the writer for a base's tokenizer and its template of conversations, if it has one. `now` is the time
    /// that templates write.
    ///
    /// # Errors
    /// [`TemplateError`], when the template cannot be used.
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

    /// Reads rows of answers, one in each line that is not empty. All messages of the assistant are learnt, with what
    /// ends them; of a prompt and a completion the completion is, with the token that ends a text.
    ///
    /// # Errors
    /// [`ReadRowsError`], which names the first line that cannot be used.
    pub fn answers(&self, text: &str) -> Result<Vec<TokenRow>, ReadRowsError> {
        self.lines(text, |line| match serde_json::from_str(line)? {
            Answer::Talk { messages, tools } => self.talk(&messages, &tools),
            Answer::Texts { prompt, completion } => self.texts(&prompt, &completion),
        })
    }

    /// Reads rows of preferences, one in each line that is not empty.
    ///
    /// # Errors
    /// [`ReadRowsError`], which names the first line that cannot be used.
    pub fn preferences(&self, text: &str) -> Result<Vec<Preference>, ReadRowsError> {
        self.lines(text, |line| {
            Ok(match serde_json::from_str(line)? {
                Pair::Talk { prompt, chosen, rejected } => self.preference(&prompt, &chosen, &rejected)?,
                Pair::Texts { prompt, chosen, rejected } => Preference {
                    chosen: self.texts(&prompt, &chosen)?,
                    rejected: self.texts(&prompt, &rejected)?,
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

    fn texts(&self, prompt: &str, completion: &str) -> Result<TokenRow, ReadRowsErrorKind> {
        let mut row = TokenRow::default();
        let plain = |add_special| EncodeOptions { add_special, parse_special: false };
        let mut asked = self.tokenizer.encode(prompt, plain(true));
        // Some tokenizers end every text that they begin.
        while asked.last().is_some_and(|id| self.tokenizer.eos_ids().contains(id)) {
            asked.pop();
        }
        row.push(&asked, false);
        row.push(&self.tokenizer.encode(completion, plain(false)), true);
        row.push(self.tokenizer.eos_ids().first().map_or(&[], std::slice::from_ref), true);
        self.check(row)
    }

    /// Writes a conversation down, to learn all messages of the assistant and what ends them.
    ///
    /// # Errors
    /// [`ReadRowsErrorKind`], when it cannot be used.
    pub fn talk(&self, messages: &[Value], tools: &[Value]) -> Result<TokenRow, ReadRowsErrorKind> {
        self.talk_from(messages, tools, 0)
    }

    /// Writes two answers down, each as all that follows the conversation `prompt`. Earlier answers are only read.
    ///
    /// # Errors
    /// [`ReadRowsErrorKind`], when they cannot be used.
    pub fn preference(
        &self,
        prompt: &[Value],
        chosen: &[Value],
        rejected: &[Value],
    ) -> Result<Preference, ReadRowsErrorKind> {
        let row = |answer: &[Value]| self.talk_from(&[prompt, answer].concat(), &[], prompt.len());
        Ok(Preference { chosen: row(chosen)?, rejected: row(rejected)? })
    }

    /// Learns the assistant's messages from `first` on.
    fn talk_from(
        &self,
        messages: &[Value],
        tools: &[Value],
        first: usize,
    ) -> Result<TokenRow, ReadRowsErrorKind> {
        let mut row = TokenRow::default();
        let mut done: Vec<(String, bool)> = Vec::new();
        for (index, message) in messages.iter().enumerate().skip(first) {
            if message.get("role").and_then(Value::as_str) != Some("assistant") {
                continue;
            }
            // What is asked and what is answered are cut apart as text, and each encoded alone, as when served.
            for (count, add_generation_prompt) in [(index, true), (index + 1, false)] {
                let now = self.written(&messages[..count], tools, add_generation_prompt)?;
                let rest = rest_of(&now, &done).ok_or(ReadRowsErrorKind::NotPrefix { message: index + 1 })?;
                for (text, is_quotation) in rest {
                    // Templates write the token that begins a text themselves.
                    let add_special = self.template.is_none() && row.ids.is_empty();
                    let options = EncodeOptions { add_special, parse_special: !is_quotation };
                    row.push(&self.tokenizer.encode(&text, options), !add_generation_prompt);
                }
                done = now;
            }
            if self.template.is_none() && index + 1 == messages.len() {
                // Nothing else says that the answer is over.
                row.push(self.tokenizer.eos_ids().first().map_or(&[], std::slice::from_ref), true);
            }
        }
        self.check(row)
    }

    fn written(
        &self,
        messages: &[Value],
        tools: &[Value],
        add_generation_prompt: bool,
    ) -> Result<Vec<(String, bool)>, ReadRowsErrorKind> {
        let Some(template) = &self.template else {
            // As a model without a template is served: texts, one after the other.
            let text = |message: &Value| {
                format!("{}\n", message.get("content").and_then(Value::as_str).unwrap_or_default())
            };
            return Ok(vec![(messages.iter().map(text).collect(), false)]);
        };
        let variables = BTreeMap::new();
        let talk =
            Conversation { messages, tools, add_generation_prompt, variables: &variables, now: self.now };
        let control: Vec<&str> = self.control.iter().map(String::as_str).collect();
        let pieces = template.render(&talk, &control)?;
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

/// The pieces of `now` behind those of `done`; nothing where `now` does not begin with them.
fn rest_of(now: &[(String, bool)], done: &[(String, bool)]) -> Option<Vec<(String, bool)>> {
    let Some((last, whole)) = done.split_last() else { return Some(now.to_vec()) };
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

    fn learnt(row: &TokenRow) -> String {
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
    fn answers_and_what_ends_them_are_learnt_and_questions_are_not() {
        let talk = r#"{"messages":[{"role":"user","content":"ab"},{"role":"assistant","content":"cd"},
            {"role":"user","content":"ef"},{"role":"assistant","content":"gh"}]}"#
            .replace('\n', "");
        let rows = rows(&format!("{talk}\n\n{{\"prompt\":\"ab \",\"completion\":\"cd\"}}")).unwrap();
        let expected = "<user\nab>\n<assistant\nCD>\n<user\nef>\n<assistant\nGH>\n";
        assert_eq!(learnt(&rows[0]), expected);
        assert_eq!(learnt(&rows[1]), "ab CD>");
        assert!(rows[1].is_learnt[5], "the end is learnt");
    }

    #[test]
    fn words_that_read_like_control_tokens_stay_words() {
        let row =
            r#"{"messages":[{"role":"user","content":"<|im_end|>"},{"role":"assistant","content":"b"}]}"#;
        assert_eq!(learnt(&rows(row).unwrap()[0]), "<user\n<|im_end|>>\n<assistant\nB>\n");
    }

    #[test]
    fn rows_that_cannot_be_learnt_from_are_named_by_line() {
        let cases = [
            ("{}", "line 1", "messages"),
            ("\n{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}", "line 2", "assistant"),
            (&format!("{{\"prompt\":\"{}\",\"completion\":\"b\"}}", "a".repeat(70)), "line 1", "tokens-max"),
        ];
        for (text, line, hint) in cases {
            let error = rows(text).unwrap_err();
            assert_eq!(error.to_string(), line);
            assert!(error.kind.hint().contains(hint), "{}", error.kind.hint());
        }
    }
}
