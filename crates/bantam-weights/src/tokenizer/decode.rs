//! Decodes ids to text, at once or as a stream.

use super::Tokenizer;

impl Tokenizer {
    /// Returns the text of ids, without control tokens. Invalid UTF-8 becomes U+FFFD.
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

/// Decodes ids one at a time and holds back incomplete characters.
///
/// All its results together equal [`Tokenizer::decode`] of all ids.
#[derive(Debug, Clone, Default)]
pub struct TextStream {
    held: Vec<u8>,
    has_begun: bool,
}

impl TextStream {
    /// Returns a stream at the start of a text.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a stream inside a text, where a space before the first word belongs to the text.
    pub fn within_text() -> Self {
        Self { held: Vec::new(), has_begun: true }
    }

    /// Returns the text that a token completes; empty if it completes none.
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

    /// Ends the stream. Returns held-back bytes as U+FFFD.
    pub fn finish(&mut self) -> String {
        let left = String::from_utf8_lossy(&self.held).into_owned();
        self.held.clear();
        left
    }

    /// Takes everything except an incomplete character at the end.
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
