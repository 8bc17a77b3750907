//! Why a tokenizer cannot be read.

use std::path::PathBuf;

use crate::{OpenWeightsError, WordPieceError};

/// Why a tokenizer cannot be read, or not be honoured to the letter.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// Longer than any tokenizer.
    #[error("the tokenizer has {found} bytes; at most {at_most} are read")]
    TooLong {
        /// Its length.
        found: usize,
        /// The limit.
        at_most: usize,
    },
    /// No JSON, or not that of a tokenizer.
    #[error("cannot read the tokenizer's JSON")]
    Json(#[source] serde_json::Error),
    /// Something that is not done here, so that ids would differ from the model's own.
    #[error("the tokenizer's {what} {found:?} is not supported")]
    Unsupported {
        /// Which part.
        what: &'static str,
        /// What it is.
        found: String,
    },
    /// A key that a GGUF file lacks, or has with another type.
    #[error("the key {key:?} is missing or of another type")]
    Key {
        /// Which.
        key: &'static str,
    },
    /// Lists that must go together and do not.
    #[error("{key:?} has {found} values for {expected} tokens")]
    Count {
        /// Which list.
        key: &'static str,
        /// How many it has.
        found: usize,
        /// How many tokens there are.
        expected: usize,
    },
    /// More ids than any vocabulary has.
    #[error("the vocabulary has {found} ids; at most {at_most} are read")]
    TooManyTokens {
        /// How many.
        found: usize,
        /// The limit.
        at_most: usize,
    },
    /// A token that stands twice.
    #[error("the token {token:?} stands twice")]
    DuplicateToken {
        /// Its beginning.
        token: String,
    },
    /// Two tokens for an id.
    #[error("the id {id} of the token {token:?} is another token's already")]
    DuplicateId {
        /// Which id.
        id: u32,
        /// The later token's beginning.
        token: String,
    },
    /// An id that no token has.
    #[error("the {what} has the id {id}, which is none of the vocabulary's {ids}")]
    Id {
        /// What has it.
        what: &'static str,
        /// Which.
        id: u64,
        /// One more than the largest id.
        ids: usize,
    },
    /// A merge that is no pair of tokens that make a third.
    #[error("the merge {merge:?} (number {number}) names {what} that is not in the vocabulary")]
    Merge {
        /// Its place in the list, from 0.
        number: usize,
        /// Its beginning.
        merge: String,
        /// What is missing.
        what: &'static str,
    },
    /// A token that the tokenizer needs and its vocabulary lacks.
    #[error("the token {token:?} is not in the vocabulary")]
    MissingToken {
        /// Which.
        token: String,
    },
    /// A table of characters that does not hold together.
    #[error("the table of characters (precompiled_charsmap) is damaged: {what}")]
    Charsmap {
        /// How.
        what: &'static str,
    },
    /// A BERT tokenizer that cannot be read.
    #[error(transparent)]
    WordPiece(#[from] WordPieceError),
    /// A model file that cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenWeightsError),
    /// A file of a model's folder that cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A tokenizer in a model's folder that cannot be honoured.
    #[error("cannot use {}", path.display())]
    Within {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<TokenizerError>,
    },
    /// A file of a model's folder that is no JSON of its kind.
    #[error("cannot read {}", path.display())]
    FileJson {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}
