//! Errors of GGUF files.

use crate::tensor::{TensorError, TensorErrorKind};

use super::{ALIGNMENT_MAX, ALIGNMENT_UNIT, DEPTH_MAX};

/// Why a GGUF file is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// The file ends too early.
    #[error("the file ends inside {what}: {needed} bytes needed at byte {at}, {left} left")]
    Truncated {
        /// The part that is cut off.
        what: &'static str,
        /// The offset where it starts.
        at: u64,
        /// Its length in bytes.
        needed: u64,
        /// Number of bytes left in the file.
        left: u64,
    },
    /// The version is not supported.
    #[error("GGUF version {found} is not supported; supported are 2 and 3")]
    Version {
        /// The file's version.
        found: u32,
    },
    /// The file has the other byte order.
    #[error("the file is big-endian")]
    BigEndian,
    /// A count exceeds what the file has room for.
    #[error("the file claims {found} {what} but has room for at most {at_most}")]
    Count {
        /// The counted items.
        what: &'static str,
        /// The claimed count.
        found: u64,
        /// The largest possible count.
        at_most: u64,
    },
    /// A string exceeds its limit.
    #[error("{what} is {found} bytes long; the limit is {at_most}")]
    TooLong {
        /// The string.
        what: &'static str,
        /// Its length.
        found: u64,
        /// The limit.
        at_most: u64,
    },
    /// A string is not UTF-8.
    #[error("{what} at byte {at} is not UTF-8")]
    NotUtf8 {
        /// The string.
        what: &'static str,
        /// Its offset.
        at: u64,
    },
    /// A key is empty.
    #[error("a key is empty")]
    EmptyKey,
    /// A key appears twice.
    #[error("the key {key:?} appears twice")]
    DuplicateKey {
        /// The key.
        key: Box<str>,
    },
    /// The type of a value does not exist.
    #[error("the key {key:?} has a value of unknown type {found}")]
    ValueType {
        /// The key.
        key: Box<str>,
        /// The type.
        found: u32,
    },
    /// A boolean is neither 0 nor 1.
    #[error("the key {key:?} has {found} as a boolean; it must be 0 or 1")]
    Bool {
        /// The key.
        key: Box<str>,
        /// The byte.
        found: u8,
    },
    /// Arrays are nested too deeply.
    #[error("the key {key:?} nests arrays more than {DEPTH_MAX} deep")]
    TooDeep {
        /// The key.
        key: Box<str>,
    },
    /// The alignment is not an unsigned integer.
    #[error("general.alignment is not an unsigned integer")]
    AlignmentType,
    /// The alignment is not valid.
    #[error(
        "general.alignment is {found}; it must be a power of two from {ALIGNMENT_UNIT} to {ALIGNMENT_MAX}"
    )]
    Alignment {
        /// The file's alignment.
        found: u64,
    },
    /// The file is a part of a split model.
    #[error("the file is one of {parts} parts of a split model")]
    Split {
        /// Number of parts.
        parts: u64,
    },
    /// A tensor's description is invalid.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The file ends before the tensor data.
    #[error("the file ends after {found} bytes, before the tensor data")]
    NoData {
        /// Its length in bytes.
        found: u64,
    },
    /// Bytes follow the last tensor.
    #[error("{bytes} bytes follow the last tensor")]
    Trailing {
        /// Number of bytes.
        bytes: u64,
    },
}

impl GgufError {
    /// Returns what the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Version { .. } | Self::BigEndian => "convert the model again with a current llama.cpp",
            Self::Split { .. } => "merge the parts with `llama-gguf-split --merge` and use the merged file",
            Self::Tensor(TensorError { kind: TensorErrorKind::UnknownType { .. }, .. }) => {
                "quantise the model to a supported type, such as Q8_0, Q4_0 or Q4_K_M"
            }
            Self::Truncated { .. } | Self::NoData { .. } | Self::Tensor(_) | Self::Trailing { .. } => {
                "the file is damaged or incomplete: download it again and compare its checksum"
            }
            _ => "the file is malformed: get it from its original source",
        }
    }
}

/// Returns the name of a GGUF type that is not supported, or its number.
pub(super) fn type_name(number: u32) -> Box<str> {
    let known = match number {
        9 => "Q8_1",
        10 => "Q2_K",
        11 => "Q3_K",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        _ => return number.to_string().into(),
    };
    known.into()
}
