//! Turns a text into the token ids that a base reads, with either kind of tokenizer that encoders have.

use bantam_weights::{EncodeOptions, Fit, Tokenizer, TokenizerError, WordPiece, WordPieceError};
use serde::Deserialize;

/// Treats users' words as plain text, even if they look like special tokens.
const AS_TEXT: EncodeOptions = EncodeOptions { add_special: false, parse_special: false };

/// The tokenizer of a base: WordPiece as in BERT, or byte-level as in ModernBERT.
#[derive(Debug)]
pub struct TextReader(TokenizerKind);

#[derive(Debug)]
enum TokenizerKind {
    WordPiece(WordPiece),
    Bytes { tokenizer: Box<Tokenizer>, start: u32, end: u32 },
}

/// Why a tokenizer cannot be used for a base.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextReaderError {
    /// An unsupported WordPiece tokenizer.
    #[error(transparent)]
    WordPiece(#[from] WordPieceError),
    /// Another unsupported tokenizer.
    #[error(transparent)]
    Other(#[from] Box<TokenizerError>),
    /// The tokenizer does not add one token before and one after a text, as encoders expect.
    #[error("it adds {tokens} tokens to a text; an encoder's tokenizer adds one before it and one after it")]
    Around {
        /// Tokens of an empty text.
        tokens: usize,
    },
}

#[derive(Deserialize)]
struct TokenizerJson {
    model: Option<ModelJson>,
}

#[derive(Deserialize)]
struct ModelJson {
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl TextReader {
    /// Reads a `tokenizer.json` in the format of Hugging Face; unsupported features are errors.
    pub(super) fn from_json(bytes: &[u8]) -> Result<Self, TextReaderError> {
        let kind = serde_json::from_slice::<TokenizerJson>(bytes).ok().and_then(|json| json.model?.kind);
        if kind.as_deref() != Some("BPE") {
            return Ok(Self(TokenizerKind::WordPiece(WordPiece::from_tokenizer_json(bytes)?)));
        }
        let tokenizer = Box::new(Tokenizer::from_json(bytes).map_err(Box::new)?);
        let around = tokenizer.encode("", EncodeOptions { add_special: true, parse_special: false });
        let [start, end] = around[..] else {
            return Err(TextReaderError::Around { tokens: around.len() });
        };
        Ok(Self(TokenizerKind::Bytes { tokenizer, start, end }))
    }

    /// Replaces the content of `out` with the ids of a text between its special tokens, at most `max_tokens` in total.
    /// If not even the special tokens fit, `out` is left empty.
    pub fn encode(&self, text: &str, max_tokens: usize, out: &mut Vec<u32>) -> Fit {
        match &self.0 {
            TokenizerKind::WordPiece(tokenizer) => tokenizer.encode(text, max_tokens, out),
            TokenizerKind::Bytes { tokenizer, start, end } => {
                out.clear();
                let Some(room) = max_tokens.checked_sub(2) else { return Fit::Truncated };
                let ids = tokenizer.encode(text, AS_TEXT);
                out.push(*start);
                out.extend(ids.iter().take(room));
                out.push(*end);
                if ids.len() > room { Fit::Truncated } else { Fit::Whole }
            }
        }
    }

    /// Appends the ids of a text without special tokens.
    pub fn append(&self, text: &str, out: &mut Vec<u32>) {
        match &self.0 {
            TokenizerKind::WordPiece(tokenizer) => tokenizer.append(text, out),
            TokenizerKind::Bytes { tokenizer, .. } => out.extend(tokenizer.encode(text, AS_TEXT)),
        }
    }

    /// Appends the ids of the word at these bytes of `text`. If the tokenizer's tokens include the space before a word,
    /// the space is included too.
    pub(crate) fn append_word(&self, text: &str, (start, end): (usize, usize), out: &mut Vec<u32>) {
        let has_space = matches!(self.0, TokenizerKind::Bytes { .. }) && text[..start].ends_with(' ');
        self.append(&text[start - usize::from(has_space)..end], out);
    }

    /// Returns one more than the largest id, which is the number of rows that the base's embedding must have.
    pub fn vocabulary_size(&self) -> usize {
        match &self.0 {
            TokenizerKind::WordPiece(tokenizer) => tokenizer.vocabulary_size() as usize,
            TokenizerKind::Bytes { tokenizer, .. } => tokenizer.vocabulary(),
        }
    }

    /// Returns the id before every text.
    pub fn start_id(&self) -> u32 {
        match &self.0 {
            TokenizerKind::WordPiece(tokenizer) => tokenizer.start_id(),
            TokenizerKind::Bytes { start, .. } => *start,
        }
    }

    /// Returns the id after every text.
    pub fn end_id(&self) -> u32 {
        match &self.0 {
            TokenizerKind::WordPiece(tokenizer) => tokenizer.end_id(),
            TokenizerKind::Bytes { end, .. } => *end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a byte-level tokenizer with a few merges that adds `[CLS]` and `[SEP]`, in the form of ModernBERT's.
    fn bytes_json(template: &str) -> Vec<u8> {
        let tokens = ["a", "b", "c", "Ġ", "ab", "Ġab", "Ġc"];
        let vocabulary: Vec<String> =
            tokens.iter().enumerate().map(|(id, token)| format!("\"{token}\": {id}")).collect();
        let added = |id: u32, name: &str| {
            format!(
                "{{\"id\": {id}, \"content\": \"{name}\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \
                 \"normalized\": false, \"special\": true}}"
            )
        };
        format!(
            "{{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": [{}, {}], \
             \"normalizer\": {{\"type\": \"NFC\"}}, \"pre_tokenizer\": {{\"type\": \"ByteLevel\", \
             \"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": true}}, \"post_processor\": {template}, \
             \"decoder\": {{\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": true, \"use_regex\": true}}, \
             \"model\": {{\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, \"continuing_subword_prefix\": null, \
             \"end_of_word_suffix\": null, \"fuse_unk\": false, \"byte_fallback\": false, \"ignore_merges\": false, \
             \"vocab\": {{{}}}, \"merges\": [\"a b\", \"Ġ ab\", \"Ġ c\"]}}}}",
            added(7, "[CLS]"),
            added(8, "[SEP]"),
            vocabulary.join(", ")
        )
        .into_bytes()
    }

    const AROUND: &str = "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"[CLS]\", \
        \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, {\"SpecialToken\": {\"id\": \"[SEP]\", \
        \"type_id\": 0}}], \"pair\": [{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"B\", \
        \"type_id\": 1}}], \"special_tokens\": {\"[CLS]\": {\"id\": \"[CLS]\", \"ids\": [7], \"tokens\": [\"[CLS]\"]}, \
        \"[SEP]\": {\"id\": \"[SEP]\", \"ids\": [8], \"tokens\": [\"[SEP]\"]}}}";

    #[test]
    fn a_byte_level_tokenizer_reads_texts_and_their_words() {
        let reader = TextReader::from_json(&bytes_json(AROUND)).unwrap();
        let mut ids = Vec::new();
        assert_eq!(reader.encode("ab c", 16, &mut ids), Fit::Whole);
        assert_eq!(ids, [7, 4, 6, 8]);
        assert_eq!(reader.encode("ab c", 3, &mut ids), Fit::Truncated);
        assert_eq!(ids, [7, 4, 8]);
        ids.clear();
        reader.append_word("ab c", (0, 2), &mut ids);
        reader.append_word("ab c", (3, 4), &mut ids);
        assert_eq!(ids, [4, 6], "the words of a text give the text's ids");
        // Control tokens in a user's words are plain text.
        reader.encode("[SEP]", 16, &mut ids);
        assert!(ids[1..ids.len() - 1].iter().all(|id| *id != 8));
        assert_eq!((reader.start_id(), reader.end_id(), reader.vocabulary_size()), (7, 8, 9));
    }

    #[test]
    fn rejects_a_tokenizer_that_adds_no_special_tokens() {
        let refused = TextReader::from_json(&bytes_json("null")).unwrap_err();
        assert!(matches!(refused, TextReaderError::Around { tokens: 0 }), "{refused}");
    }
}
