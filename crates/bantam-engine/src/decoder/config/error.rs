//! Why a configuration is refused.

/// Why a configuration is not one of a decoder that runs here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecoderConfigError {
    /// Not JSON, or no object.
    #[error("parse the configuration")]
    Parse(#[source] serde_json::Error),
    /// Another kind of model.
    #[error("the architecture is `{found}`; llama, mistral, qwen2, qwen3, gemma3 (text) and phi3 run here")]
    Architecture {
        /// What the file says.
        found: Box<str>,
    },
    /// A key that has to be there.
    #[error("`{key}` is missing")]
    Missing {
        /// The key.
        key: Box<str>,
    },
    /// A value of another type.
    #[error("`{key}` is no {expected}")]
    Type {
        /// The key.
        key: Box<str>,
        /// What it would have to be.
        expected: &'static str,
    },
    /// Something that computes what is not computed here.
    #[error("`{key}` is {found}; {expected} runs here")]
    Unsupported {
        /// The key.
        key: Box<str>,
        /// What it says.
        found: Box<str>,
        /// What it would have to say.
        expected: &'static str,
    },
    /// A size that is nothing or beyond any decoder.
    #[error("the {what} is {found}; it must be 1 to {at_most}")]
    Size {
        /// Which size.
        what: &'static str,
        /// What it is.
        found: usize,
        /// The most.
        at_most: usize,
    },
    /// Heads that do not share keys evenly.
    #[error("{kv_heads} heads of keys do not divide {heads} heads of queries")]
    KvHeads {
        /// Heads of queries.
        heads: usize,
        /// Heads of keys and values.
        kv_heads: usize,
    },
    /// A number out of its range.
    #[error("the {what} is {found}, which no model has")]
    Number {
        /// Which number.
        what: &'static str,
        /// What it is.
        found: f32,
    },
    /// A part of a head that cannot be rotated in pairs.
    #[error("{found} numbers of a head are rotated; it must be an even number from 2 to {at_most}")]
    Rotated {
        /// How many.
        found: usize,
        /// The most.
        at_most: usize,
    },
    /// A list of another length.
    #[error("`{key}` has {found} entries; {expected} are needed")]
    Length {
        /// The key.
        key: Box<str>,
        /// Its length.
        found: usize,
        /// The length it must have.
        expected: usize,
    },
}

impl DecoderConfigError {
    pub(super) fn missing(key: &str) -> Self {
        Self::Missing { key: key.into() }
    }

    pub(super) fn wrong_type(key: &str, expected: &'static str) -> Self {
        Self::Type { key: key.into(), expected }
    }

    pub(super) fn unsupported(key: &str, found: &str, expected: &'static str) -> Self {
        Self::Unsupported { key: key.into(), found: found.chars().take(64).collect(), expected }
    }
}
