//! Ids back to text, whole or as they come.

use super::Tokenizer;

impl Tokenizer {
    /// The text of ids, without control tokens. Bytes that are not UTF-8 become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut stream = TextStream::new();
        let mut text = String::new();
        for &id in ids {
            text.push_str(&stream.push(self, id));
        }
        text.push_str(&stream.finish());
        text
    }
}

/// Makes text of ids as they come, and holds back what is not yet a whole character.
///
/// All its results together are what [`Tokenizer::decode`] gives for all ids.
#[derive(Debug, Clone, Default)]
pub struct TextStream {
    held: Vec<u8>,
    has_begun: bool,
}

impl TextStream {
    /// A stream that has had nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A stream in the middle of a text, where a space before the first word is part of it.
    pub fn within_text() -> Self {
        Self { held: Vec::new(), has_begun: true }
    }

    /// The text that is whole now that a token has come; empty, where there is none.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> String {
        if tokenizer.is_control(id) {
            return String::new();
        }
        let mut bytes = tokenizer.token_bytes(id);
        if !self.has_begun && tokenizer.has_prefix_space {
            bytes = bytes.strip_prefix(b" ").unwrap_or(bytes);
        }
        self.has_begun = true;
        self.held.extend_from_slice(bytes);
        self.take_whole()
    }

    /// What was held back, as U+FFFD: no more tokens come.
    pub fn finish(&mut self) -> String {
        let left = String::from_utf8_lossy(&self.held).into_owned();
        self.held.clear();
        left
    }

    /// Takes everything but the beginning of a character that may yet become whole.
    fn take_whole(&mut self) -> String {
        let mut text = String::new();
        let mut start = 0;
        while let Some(rest) = self.held.get(start..).filter(|rest| !rest.is_empty()) {
            let Err(error) = std::str::from_utf8(rest) else {
                text.push_str(&String::from_utf8_lossy(rest));
                start = self.held.len();
                break;
            };
            text.push_str(&String::from_utf8_lossy(&rest[..error.valid_up_to()]));
            start += error.valid_up_to();
            let Some(length) = error.error_len() else { break };
            text.push(char::REPLACEMENT_CHARACTER);
            start += length;
        }
        self.held.drain(..start);
        text
    }
}
