//! Why a WordPiece tokenizer cannot be read.

/// Why a WordPiece tokenizer cannot be read or is not fully supported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WordPieceError {
    /// The tokenizer is too long.
    #[error("the tokenizer is {found} bytes long; the limit is {at_most}")]
    TooLong {
        /// Its length in bytes.
        found: usize,
        /// The limit.
        at_most: usize,
    },
    /// The JSON is invalid or not that of a tokenizer.
    #[error("cannot read the tokenizer")]
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
    /// The vocabulary lacks a token that the tokenizer needs.
    #[error("the token {token:?} is not in the vocabulary")]
    MissingToken {
        /// The token.
        token: String,
    },
    /// A token appears twice.
    #[error("the token {token:?} appears twice")]
    DuplicateToken {
        /// The token.
        token: String,
    },
    /// There are more tokens than ids.
    #[error("the vocabulary is too large")]
    TooManyTokens,
}
