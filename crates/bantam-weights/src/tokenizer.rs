//! Tokenizers of decoders and encoders: text to ids and back, from GGUF metadata or `tokenizer.json`.
//!
//! Written out rather than taken from the crate `tokenizers`: that one panics or aborts on crafted files, decides
//! for a whole tokenizer rather than for each text whether control tokens may be written in it, does not read GGUF,
//! and takes eight times as long for a text. What is not known here is refused by its name, never ignored, so ids are
//! those of the reference or there are none.
//!
//! **Invariant:** a text that is encoded without `parse_special` gives no control token, whatever it says.

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

use added::{Added, Section};
use bpe::Bpe;
use normalise::Change;
use special::Special;
use split::Step;
use unigram::Unigram;
use vocabulary::{Kind, Vocabulary};

use crate::WordPiece;
use crate::metadata::Metadata;

/// How a text is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Whether the tokens that the model expects around a text are put there, such as the one that begins it.
    pub add_special: bool,
    /// Whether control tokens may be written in the text. Only for text that is the caller's own, such as a
    /// filled-in chat template: in a user's words `<|im_start|>` must stay text.
    pub parse_special: bool,
}

/// A tokenizer. It is never written to, so threads share it.
#[derive(Debug)]
pub struct Tokenizer {
    vocabulary: Vocabulary,
    /// Found in the text as it is.
    added: Added,
    /// Found in the text once it is normalised.
    added_normalised: Added,
    changes: Vec<Change>,
    steps: Vec<Step>,
    model: Model,
    before: Vec<u32>,
    after: Vec<u32>,
    /// Whether encoding puts a space before a text, which decoding then takes away.
    has_prefix_space: bool,
    special: Special,
    chat_template: Option<String>,
}

/// How a piece becomes tokens.
#[derive(Debug)]
enum Model {
    Bpe(Bpe),
    Unigram(Unigram),
    WordPiece(WordPiece),
}

/// Room for encoding that is used again and again.
#[derive(Debug, Default)]
struct Room {
    bpe: bpe::Room,
    unigram: unigram::Room,
}

impl Tokenizer {
    /// Reads the tokenizer in a GGUF file's metadata.
    pub fn from_gguf(metadata: &Metadata<'_>) -> Result<Self, TokenizerError> {
        gguf::read(metadata)
    }

    /// Reads a `tokenizer.json` as Hugging Face writes it; what it asks for and is not done here is an error.
    ///
    /// The tokens that begin, end and fill texts stand in other files: see [`Self::open`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, TokenizerError> {
        json::read(bytes)
    }

    /// Reads the tokenizer of a GGUF file, or of a folder as Hugging Face has it, with the tokens that its
    /// `tokenizer_config.json`, `special_tokens_map.json`, `generation_config.json` and `config.json` name.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, TokenizerError> {
        folder::open(path.as_ref())
    }

    /// The ids of a text.
    pub fn encode(&self, text: &str, options: EncodeOptions) -> Vec<u32> {
        // English has about four bytes a token.
        let mut out = Vec::with_capacity(text.len() / 3 + 4);
        if options.add_special {
            out.extend_from_slice(&self.before);
        }
        let mut room = Room::default();
        self.added.cut(text, options.parse_special, &mut |section| match section {
            Section::Token(id) => out.push(id),
            Section::Text(start, text) => {
                self.encode_section(text, start == 0, options.parse_special, &mut room, &mut out);
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
        room: &mut Room,
        out: &mut Vec<u32>,
    ) {
        let text = normalise::apply(&self.changes, text);
        self.added_normalised.cut(&text, parse_special, &mut |section| match section {
            Section::Token(id) => out.push(id),
            Section::Text(start, text) => {
                split::cut(&self.steps, text, is_first && start == 0, &mut |piece| match &self.model {
                    Model::Bpe(bpe) => bpe.encode(&self.vocabulary, piece, &mut room.bpe, out),
                    Model::Unigram(unigram) => unigram.encode(piece, &mut room.unigram, out),
                    Model::WordPiece(word_piece) => word_piece.append(piece, out),
                });
            }
        });
    }

    /// The bytes of a token as they stand in text: `Ġa` is ` a`, and `<0x0A>` is a line's end. Those of a control
    /// token are its name, which [`Self::decode`] leaves out. None where there is no such token.
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        self.vocabulary.bytes(id)
    }

    /// Whether a token is an instruction to the model or stands for nothing, so that it is no part of a text.
    pub fn is_control(&self, id: u32) -> bool {
        matches!(self.vocabulary.kind(id), Kind::Control | Kind::Unknown | Kind::Absent)
    }

    /// One more than the largest id. A model may have more rows, which stand for nothing.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary.len()
    }

    /// The id of a control token or another added one, by the text that it is written as.
    pub fn added_id(&self, text: &str) -> Option<u32> {
        let mut all = self.added.tokens().iter().chain(self.added_normalised.tokens());
        all.find(|token| *token.text == *text).map(|token| token.id)
    }

    /// The id of a token by its name in a file: an added one, or another that is exactly these bytes.
    fn id_of(&self, name: &str) -> Option<u32> {
        let found = || self.vocabulary.iter().find(|(_, bytes, _)| *bytes == name.as_bytes());
        self.added_id(name).or_else(|| found().map(|(id, ..)| id))
    }

    /// The token that begins a text.
    pub fn bos(&self) -> Option<u32> {
        self.special.bos
    }

    /// The tokens that end a text or a turn, sorted; generation stops at each.
    pub fn eos_ids(&self) -> &[u32] {
        &self.special.eos
    }

    /// The token that fills rows up.
    pub fn pad(&self) -> Option<u32> {
        self.special.pad
    }

    /// The tokens for filling in the middle, where the model knows it.
    pub fn fill_in_the_middle(&self) -> Option<FillInTheMiddle> {
        self.special.fill_in_the_middle
    }

    /// The template of conversations, in Jinja, where the file has one.
    pub fn chat_template(&self) -> Option<&str> {
        self.chat_template.as_deref()
    }
}
