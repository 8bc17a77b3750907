//! Why a tokenizer cannot be read.

/// Why a tokenizer cannot be read, or not be honoured to the letter.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WordPieceError {
    /// Longer than any tokenizer.
    #[error("the tokenizer has {found} bytes; at most {at_most} are read")]
    TooLong {
        /// Its length.
        found: usize,
        /// The limit.
        at_most: usize,
    },
    /// No JSON, or not that of a tokenizer.
    #[error("cannot read the tokenizer")]
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
    /// A token that the tokenizer needs and its vocabulary lacks.
    #[error("the token {token:?} is not in the vocabulary")]
    MissingToken {
        /// Which.
        token: String,
    },
    /// A token that stands twice.
    #[error("the token {token:?} stands twice")]
    DuplicateToken {
        /// Which.
        token: String,
    },
    /// More tokens than ids.
    #[error("the vocabulary is too large")]
    TooManyTokens,
}
