//! Why a tokenizer cannot be read.

use std::path::PathBuf;

use crate::{OpenWeightsError, WordPieceError};

/// Why a tokenizer cannot be read or is not fully supported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The tokenizer is too long.
    #[error("the tokenizer is {found} bytes long; the limit is {at_most}")]
    TooLong {
        /// Its length in bytes.
        found: usize,
        /// The limit.
        at_most: usize,
    },
    /// The JSON is invalid or not that of a tokenizer.
    #[error("cannot read the tokenizer's JSON")]
    Json(#[source] serde_json::Error),
    /// A feature is not supported, so that ids could differ from the model's.
    #[error("the tokenizer's {what} {found:?} is not supported")]
    Unsupported {
        /// The part of the tokenizer.
        what: &'static str,
        /// Its value.
        found: String,
    },
    /// A GGUF key is missing or has the wrong type.
    #[error("the key {key:?} is missing or has the wrong type")]
    Key {
        /// The key.
        key: &'static str,
    },
    /// A list does not have one value per token.
    #[error("{key:?} has {found} values for {expected} tokens")]
    Count {
        /// The list.
        key: &'static str,
        /// Its length.
        found: usize,
        /// Number of tokens.
        expected: usize,
    },
    /// The vocabulary has too many ids.
    #[error("the vocabulary has {found} ids; the limit is {at_most}")]
    TooManyTokens {
        /// Number of ids.
        found: usize,
        /// The limit.
        at_most: usize,
    },
    /// A token appears twice.
    #[error("the token {token:?} appears twice")]
    DuplicateToken {
        /// The start of the token.
        token: String,
    },
    /// Two tokens have one id.
    #[error("the id {id} of the token {token:?} is already used by another token")]
    DuplicateId {
        /// The id.
        id: u32,
        /// The start of the second token.
        token: String,
    },
    /// An id does not exist.
    #[error("the {what} has the id {id}, which is not in the vocabulary of {ids}")]
    Id {
        /// What has the id.
        what: &'static str,
        /// The id.
        id: u64,
        /// The largest id plus 1.
        ids: usize,
    },
    /// A merge is not two tokens that form a third.
    #[error("merge {number} ({merge:?}) is invalid: {what}")]
    Merge {
        /// Its index in the list.
        number: usize,
        /// The start of the merge.
        merge: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The vocabulary lacks a token that the tokenizer needs.
    #[error("the token {token:?} is not in the vocabulary")]
    MissingToken {
        /// The token.
        token: String,
    },
    /// The character map is damaged.
    #[error("the character map (precompiled_charsmap) is damaged: {what}")]
    Charsmap {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A WordPiece tokenizer cannot be read.
    #[error(transparent)]
    WordPiece(#[from] WordPieceError),
    /// A model file cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenWeightsError),
    /// A file in a model's folder cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A tokenizer in a model's folder is not supported.
    #[error("cannot use the tokenizer {}", path.display())]
    Within {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<TokenizerError>,
    },
    /// A JSON file in a model's folder is invalid.
    #[error("cannot read {}", path.display())]
    FileJson {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
}
