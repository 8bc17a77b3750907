//! Errors of reading a configuration.

/// Why a configuration is not supported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecoderConfigError {
    /// The file is not JSON or not an object.
    #[error("parse the configuration")]
    Parse(#[source] serde_json::Error),
    /// The architecture is not supported.
    #[error(
        "the architecture `{found}` is not supported; supported are llama, mistral, qwen2, qwen3, gemma3 (text) and phi3"
    )]
    Architecture {
        /// The architecture in the file.
        found: Box<str>,
    },
    /// A required key is missing.
    #[error("`{key}` is missing")]
    Missing {
        /// The key.
        key: Box<str>,
    },
    /// A value has the wrong type.
    #[error("`{key}` must be {expected}")]
    Type {
        /// The key.
        key: Box<str>,
        /// The required type.
        expected: &'static str,
    },
    /// The model needs an unsupported feature.
    #[error("`{key}` is {found}, which is not supported (expected {expected})")]
    Unsupported {
        /// The key.
        key: Box<str>,
        /// Its value.
        found: Box<str>,
        /// The supported values.
        expected: &'static str,
    },
    /// A size is 0 or too large.
    #[error("the {what} is {found}; it must be 1 to {at_most}")]
    Size {
        /// The name of the size.
        what: &'static str,
        /// Its value.
        found: usize,
        /// The limit.
        at_most: usize,
    },
    /// Key heads do not divide query heads evenly.
    #[error("the number of key heads ({kv_heads}) does not divide the number of query heads ({heads})")]
    KvHeads {
        /// Number of query heads.
        heads: usize,
        /// Number of key and value heads.
        kv_heads: usize,
    },
    /// A number is out of range.
    #[error("the {what} is {found}, which is out of range")]
    Number {
        /// The name of the number.
        what: &'static str,
        /// Its value.
        found: f32,
    },
    /// The rotated part of a head is not a valid number of pairs.
    #[error("{found} elements of a head are rotated; the number must be even and from 2 to {at_most}")]
    Rotated {
        /// Number of rotated elements.
        found: usize,
        /// The limit.
        at_most: usize,
    },
    /// A list has the wrong length.
    #[error("`{key}` has {found} entries; {expected} are needed")]
    Length {
        /// The key.
        key: Box<str>,
        /// Its length.
        found: usize,
        /// The required length.
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
