//! BERT's tokenizer: normalise, split at spaces and punctuation, then take the longest known pieces.
//!
//! Written out, because encoders need one exact path through it and no more: two tries and one pass over the
//! text, in place of general pipelines that keep offsets. It equals PyPI `tokenizers` with
//! `encode_special_tokens = True`: a request's text is text, so `[SEP]` in it is three words and cannot end a
//! segment. Truncation and padding in `tokenizer.json` are left to the caller, who knows the model's window.

mod characters;
mod error;
mod gguf;
mod normalise;
mod tokenizer_json;
mod trie;

pub use error::WordPieceError;

use normalise::{Rules, Sink};
pub(crate) use trie::Trie;

use crate::file::WeightFile;
use crate::metadata::Metadata;

/// Whether all of a text became tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// All of it.
    Whole,
    /// Its beginning only: there was no room for the rest.
    Truncated,
}

/// A BERT encoder's tokenizer: a vocabulary, its rules, and the tokens around a text.
#[derive(Debug)]
pub struct WordPiece {
    rules: Rules,
    starts: Trie,
    continuations: Trie,
    special: Special,
    word_chars_max: usize,
    vocabulary_size: u32,
}

/// The ids of the tokens that no text gives.
#[derive(Debug, Clone, Copy)]
struct Special {
    start: u32,
    end: u32,
    unknown: u32,
}

/// A vocabulary as its file has it, before it is checked.
struct Vocabulary<'a> {
    /// Tokens that begin a word.
    starts: Vec<(&'a [u8], u32)>,
    /// Tokens that go on with one, without their mark.
    continuations: Vec<(&'a [u8], u32)>,
    special: Special,
    word_chars_max: usize,
    rules: Rules,
}

impl WordPiece {
    /// Reads a `tokenizer.json` as Hugging Face writes it; what it asks for and is not done here is an error.
    pub fn from_tokenizer_json(bytes: &[u8]) -> Result<Self, WordPieceError> {
        tokenizer_json::read(bytes)
    }

    /// Reads the vocabulary in a GGUF file's metadata, whose `tokenizer.ggml.model` must be `bert`.
    pub fn from_gguf(file: &WeightFile) -> Result<Self, WordPieceError> {
        gguf::read(&file.metadata())
    }

    /// As [`Self::from_gguf`], of a file's metadata alone.
    pub(crate) fn of_metadata(metadata: &Metadata<'_>) -> Result<Self, WordPieceError> {
        gguf::read(metadata)
    }

    fn new(vocabulary: Vocabulary<'_>) -> Result<Self, WordPieceError> {
        let ids = || vocabulary.starts.iter().chain(&vocabulary.continuations).map(|(_, id)| *id);
        let Special { start, end, unknown } = vocabulary.special;
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

    /// Replaces the content of `out` by the ids of a text between `[CLS]` and `[SEP]`, `max_tokens` at most.
    ///
    /// Takes time linear in what is read of the text: reading stops where the room ends. Where not even the two
    /// tokens around the text have room, `out` is empty.
    pub fn encode(&self, text: &str, max_tokens: usize, out: &mut Vec<u32>) -> Fit {
        out.clear();
        let Some(end) = max_tokens.checked_sub(1).filter(|&end| end > 0) else {
            return Fit::Truncated;
        };
        out.push(self.special.start);
        let mut words = Words { tokenizer: self, out, end, word: Vec::new(), chars: 0 };
        normalise::walk(&self.rules, text, &mut words);
        words.split();
        let fit = if out.len() > end { Fit::Truncated } else { Fit::Whole };
        out.truncate(end);
        out.push(self.special.end);
        fit
    }

    /// Appends the ids of a text, without tokens around it. A text that is cut where words end gives the ids of the
    /// whole, part by part.
    pub fn append(&self, text: &str, out: &mut Vec<u32>) {
        let mut words = Words { tokenizer: self, out, end: usize::MAX, word: Vec::new(), chars: 0 };
        normalise::walk(&self.rules, text, &mut words);
        words.split();
    }

    /// One more than the largest id: how many rows the model's embedding must have.
    pub fn vocabulary_size(&self) -> u32 {
        self.vocabulary_size
    }

    /// The id before every text, `[CLS]`.
    pub fn start_id(&self) -> u32 {
        self.special.start
    }

    /// The id after every text, `[SEP]`.
    pub fn end_id(&self) -> u32 {
        self.special.end
    }

    /// The id of a word that has no pieces, `[UNK]`.
    pub fn unknown_id(&self) -> u32 {
        self.special.unknown
    }

    /// Appends a word's pieces: the longest that fits, again and again; unknown, where one is missing.
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

/// Gathers characters to words and turns those into ids.
struct Words<'a> {
    tokenizer: &'a WordPiece,
    out: &'a mut Vec<u32>,
    /// Where the last token goes; more ids than this mean that the text was cut.
    end: usize,
    word: Vec<u8>,
    chars: usize,
}

impl Sink for Words<'_> {
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
