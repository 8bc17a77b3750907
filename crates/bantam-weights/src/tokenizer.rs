//! Tokenizers of decoders and encoders: text to ids and back, from GGUF metadata or `tokenizer.json`.
//!
//! Not the crate `tokenizers`, because it panics or aborts on crafted files, allows or forbids control tokens in text
//! per tokenizer rather than per text, does not read GGUF, and takes eight times as long. Unknown features are
//! refused by name, never ignored, so a tokenizer either gives the reference's ids or does not load.
//!
//! **Invariant:** encoding without `parse_special` never gives a control token, whatever the text.

mod added;
mod alphabet;
mod bpe;
mod charsmap;
mod classes;
mod decode;
mod error;
mod folder;
mod gguf;
mod json;
mod merges;
mod normalise;
mod special;
mod split;
mod start;
mod unigram;
mod vocabulary;
mod words;

use std::path::Path;

pub use decode::TextStream;
pub use error::TokenizerError;
pub use special::FillInTheMiddle;

use added::{AddedTokens, Section};
use bpe::Bpe;
use normalise::Normaliser;
use special::SpecialTokens;
use split::SplitStep;
use unigram::Unigram;
use vocabulary::{TokenKind, Vocabulary};

use crate::WordPiece;
use crate::metadata::Metadata;

/// Options for encoding a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Whether to add the tokens that the model expects around a text, such as BOS.
    pub add_special: bool,
    /// Whether to parse control tokens in the text. Only for the caller's own text, such as a rendered chat template:
    /// in a user's text, `<|im_start|>` must stay text.
    pub parse_special: bool,
}

/// A tokenizer. Immutable, so threads can share it.
#[derive(Debug)]
pub struct Tokenizer {
    vocabulary: Vocabulary,
    /// Matched in the original text.
    added: AddedTokens,
    /// Matched in the normalised text.
    added_normalised: AddedTokens,
    normalisers: Vec<Normaliser>,
    steps: Vec<SplitStep>,
    model: Model,
    before: Vec<u32>,
    after: Vec<u32>,
    /// Whether encoding puts a space before a text and decoding removes it.
    has_prefix_space: bool,
    special: SpecialTokens,
    chat_template: Option<String>,
}

/// The algorithm that splits a piece into tokens.
#[derive(Debug)]
enum Model {
    Bpe(Bpe),
    Unigram(Unigram),
    WordPiece(WordPiece),
}

/// Reused working memory.
#[derive(Debug, Default)]
struct EncodeScratch {
    bpe: bpe::BpeScratch,
    unigram: unigram::UnigramScratch,
}

impl Tokenizer {
    /// Reads the tokenizer from a GGUF file's metadata.
    pub fn from_gguf(metadata: &Metadata<'_>) -> Result<Self, TokenizerError> {
        gguf::read(metadata)
    }

    /// Reads a `tokenizer.json` of Hugging Face. Unsupported features are errors.
    ///
    /// The BOS, EOS and padding tokens are in other files: see [`Self::open`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, TokenizerError> {
        json::read(bytes)
    }

    /// Reads the tokenizer of a GGUF file, or of a Hugging Face model folder including the tokens named in its
    /// `tokenizer_config.json`, `special_tokens_map.json`, `generation_config.json` and `config.json`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, TokenizerError> {
        folder::open(path.as_ref())
    }

    /// Returns the ids of a text.
    pub fn encode(&self, text: &str, options: EncodeOptions) -> Vec<u32> {
        // English has about four bytes per token.
        let mut out = Vec::with_capacity(text.len() / 3 + 4);
        if options.add_special {
            out.extend_from_slice(&self.before);
        }
        let mut scratch = EncodeScratch::default();
        self.added.cut(text, options.parse_special, &mut |section| match section {
            Section::Token(id) => out.push(id),
            Section::Text(start, text) => {
                self.encode_section(text, start == 0, options.parse_special, &mut scratch, &mut out);
            }
        });
        if options.add_special {
            out.extend_from_slice(&self.after);
        }
        out
    }

    fn encode_section(
        &self,
        text: &str,
        is_first: bool,
        parse_special: bool,
        scratch: &mut EncodeScratch,
        out: &mut Vec<u32>,
    ) {
        let text = normalise::apply(&self.normalisers, text);
        self.added_normalised.cut(&text, parse_special, &mut |section| match section {
            Section::Token(id) => out.push(id),
            Section::Text(start, text) => {
                split::cut(&self.steps, text, is_first && start == 0, &mut |piece| match &self.model {
                    Model::Bpe(bpe) => bpe.encode(&self.vocabulary, piece, &mut scratch.bpe, out),
                    Model::Unigram(unigram) => unigram.encode(piece, &mut scratch.unigram, out),
                    Model::WordPiece(word_piece) => word_piece.append(piece, out),
                });
            }
        });
    }

    /// Returns the bytes of a token in text: ` a` for `Ġa`, a newline for `<0x0A>`. For a control token, returns its
    /// name, which [`Self::decode`] omits. Empty if the token does not exist.
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        self.vocabulary.bytes(id)
    }

    /// Returns whether a token is a control token, unknown or unused, so that it is not part of a text.
    pub fn is_control(&self, id: u32) -> bool {
        matches!(self.vocabulary.kind(id), TokenKind::Control | TokenKind::Unknown | TokenKind::Absent)
    }

    /// Returns the largest id plus 1. The model can have more rows, which are unused.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary.len()
    }

    /// Returns the id of a control token or other added token by its text.
    pub fn added_id(&self, text: &str) -> Option<u32> {
        let mut all = self.added.tokens().iter().chain(self.added_normalised.tokens());
        all.find(|token| *token.text == *text).map(|token| token.id)
    }

    /// Returns the id of a token by its name in a file: an added token, or another with exactly these bytes.
    fn id_of(&self, name: &str) -> Option<u32> {
        let found = || self.vocabulary.iter().find(|(_, bytes, _)| *bytes == name.as_bytes());
        self.added_id(name).or_else(|| found().map(|(id, ..)| id))
    }

    /// Returns the BOS token.
    pub fn bos(&self) -> Option<u32> {
        self.special.bos
    }

    /// Returns the tokens that end a text or a turn, sorted; generation stops at each.
    pub fn eos_ids(&self) -> &[u32] {
        &self.special.eos
    }

    /// Returns the padding token.
    pub fn pad(&self) -> Option<u32> {
        self.special.pad
    }

    /// Returns the fill-in-the-middle tokens, if the model has them.
    pub fn fill_in_the_middle(&self) -> Option<FillInTheMiddle> {
        self.special.fill_in_the_middle
    }

    /// Returns the chat template, in Jinja, if the file has one.
    pub fn chat_template(&self) -> Option<&str> {
        self.chat_template.as_deref()
    }
}
