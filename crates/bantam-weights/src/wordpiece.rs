//! BERT's tokenizer: normalises, splits at spaces and punctuation, then takes the longest known pieces.
//!
//! Encoders need one exact path, so this is two tries and one pass over the text instead of a general pipeline that
//! tracks offsets. It equals PyPI `tokenizers` with `encode_special_tokens = True`: `[SEP]` in a request's text is
//! three words and cannot end a segment. Truncation and padding in `tokenizer.json` are ignored; the caller knows the
//! model's context.

mod characters;
mod error;
mod gguf;
mod normalise;
mod tokenizer_json;
mod trie;

pub use error::WordPieceError;

use normalise::{NormaliserRules, WordSink};
pub(crate) use trie::Trie;

use crate::file::WeightFile;
use crate::metadata::Metadata;

/// Whether a text fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// The whole text was encoded.
    Whole,
    /// Only the start of the text was encoded, because there was no room for the rest.
    Truncated,
}

/// A BERT encoder's tokenizer: a vocabulary, its rules, and the tokens around a text.
#[derive(Debug)]
pub struct WordPiece {
    rules: NormaliserRules,
    starts: Trie,
    continuations: Trie,
    special: SpecialIds,
    word_chars_max: usize,
    vocabulary_size: u32,
}

/// Ids of tokens that text cannot produce.
#[derive(Debug, Clone, Copy)]
struct SpecialIds {
    start: u32,
    end: u32,
    unknown: u32,
}

/// The vocabulary of a file, before it is checked.
struct VocabularySource<'a> {
    /// Tokens that can start a word.
    starts: Vec<(&'a [u8], u32)>,
    /// Tokens that can continue a word, without their prefix.
    continuations: Vec<(&'a [u8], u32)>,
    special: SpecialIds,
    word_chars_max: usize,
    rules: NormaliserRules,
}

impl WordPiece {
    /// Reads a `tokenizer.json` of Hugging Face. Unsupported features are errors.
    pub fn from_tokenizer_json(bytes: &[u8]) -> Result<Self, WordPieceError> {
        tokenizer_json::read(bytes)
    }

    /// Reads the vocabulary of a GGUF file, whose `tokenizer.ggml.model` must be `bert`.
    pub fn from_gguf(file: &WeightFile) -> Result<Self, WordPieceError> {
        gguf::read(&file.metadata())
    }

    /// Like [`Self::from_gguf`], but takes only the file's metadata.
    pub(crate) fn of_metadata(metadata: &Metadata<'_>) -> Result<Self, WordPieceError> {
        gguf::read(metadata)
    }

    fn new(vocabulary: VocabularySource<'_>) -> Result<Self, WordPieceError> {
        let ids = || vocabulary.starts.iter().chain(&vocabulary.continuations).map(|(_, id)| *id);
        let SpecialIds { start, end, unknown } = vocabulary.special;
        let id_max = ids().chain([start, end, unknown]).max().unwrap_or_default();
        Ok(Self {
            rules: vocabulary.rules,
            starts: Trie::new(vocabulary.starts)?,
            continuations: Trie::new(vocabulary.continuations)?,
            special: vocabulary.special,
            word_chars_max: vocabulary.word_chars_max,
            vocabulary_size: id_max.saturating_add(1),
        })
    }

    /// Replaces the content of `out` with the ids of a text between `[CLS]` and `[SEP]`, at most `max_tokens`.
    ///
    /// Reads the text only until `out` is full, and takes time linear in what it reads. If not even `[CLS]` and
    /// `[SEP]` fit, `out` is empty.
    pub fn encode(&self, text: &str, max_tokens: usize, out: &mut Vec<u32>) -> Fit {
        out.clear();
        let Some(end) = max_tokens.checked_sub(1).filter(|&end| end > 0) else {
            return Fit::Truncated;
        };
        out.push(self.special.start);
        let mut words = WordCollector { tokenizer: self, out, end, word: Vec::new(), chars: 0 };
        normalise::walk(&self.rules, text, &mut words);
        words.split();
        let fit = if out.len() > end { Fit::Truncated } else { Fit::Whole };
        out.truncate(end);
        out.push(self.special.end);
        fit
    }

    /// Appends the ids of a text, without `[CLS]` and `[SEP]`. Encoding a text in parts that end at word boundaries
    /// gives the same ids.
    pub fn append(&self, text: &str, out: &mut Vec<u32>) {
        let mut words = WordCollector { tokenizer: self, out, end: usize::MAX, word: Vec::new(), chars: 0 };
        normalise::walk(&self.rules, text, &mut words);
        words.split();
    }

    /// Returns the largest id plus 1, the number of rows that the model's embedding table must have.
    pub fn vocabulary_size(&self) -> u32 {
        self.vocabulary_size
    }

    /// Returns the id before every text, `[CLS]`.
    pub fn start_id(&self) -> u32 {
        self.special.start
    }

    /// Returns the id after every text, `[SEP]`.
    pub fn end_id(&self) -> u32 {
        self.special.end
    }

    /// Returns the id of words without pieces, `[UNK]`.
    pub fn unknown_id(&self) -> u32 {
        self.special.unknown
    }

    /// Appends a word's pieces, always the longest that matches; `[UNK]` if one is missing.
    fn pieces(&self, word: &[u8], out: &mut Vec<u32>) {
        let before = out.len();
        let (mut trie, mut rest) = (&self.starts, word);
        while !rest.is_empty() {
            let Some((length, id)) = trie.longest(rest) else {
                out.truncate(before);
                out.push(self.special.unknown);
                return;
            };
            out.push(id);
            (trie, rest) = (&self.continuations, &rest[length..]);
        }
    }
}

/// Collects characters into words and encodes them.
struct WordCollector<'a> {
    tokenizer: &'a WordPiece,
    out: &'a mut Vec<u32>,
    /// The index of the last token; if there are more ids than this, the text is truncated.
    end: usize,
    word: Vec<u8>,
    chars: usize,
}

impl WordSink for WordCollector<'_> {
    #[inline]
    fn push(&mut self, character: char) {
        self.chars += 1;
        if self.chars <= self.tokenizer.word_chars_max {
            let mut buffer = [0; 4];
            self.word.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
        }
    }

    fn split(&mut self) {
        if self.chars == 0 {
            return;
        }
        if self.chars > self.tokenizer.word_chars_max {
            self.out.push(self.tokenizer.special.unknown);
        } else {
            self.tokenizer.pieces(&self.word, self.out);
        }
        self.word.clear();
        self.chars = 0;
    }

    fn is_full(&self) -> bool {
        self.out.len() > self.end
    }
}
