//! What can be wrong with a GGUF file.

use crate::tensor::{TensorError, TensorErrorKind};

use super::{ALIGNMENT_MAX, ALIGNMENT_UNIT, DEPTH_MAX};

/// What is wrong with a GGUF file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// The file ends too early.
    #[error("the file ends inside {what}: {needed} bytes needed at byte {at}, {left} left")]
    Truncated {
        /// What is cut.
        what: &'static str,
        /// Where it starts.
        at: u64,
        /// Its length.
        needed: u64,
        /// What the file still has.
        left: u64,
    },
    /// Too old or too new.
    #[error("the GGUF version is {found}; 2 and 3 are read")]
    Version {
        /// The file's version.
        found: u32,
    },
    /// Numbers in the other byte order.
    #[error("the file is big-endian")]
    BigEndian,
    /// More things than the file has bytes for.
    #[error("{found} {what} are announced, and the file has bytes for {at_most} at most")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many are announced.
        found: u64,
        /// How many could be there.
        at_most: u64,
    },
    /// A text beyond its limit.
    #[error("{what} has {found} bytes; at most {at_most} are read")]
    TooLong {
        /// Which.
        what: &'static str,
        /// Its length.
        found: u64,
        /// The limit.
        at_most: u64,
    },
    /// A text that is none.
    #[error("{what} at byte {at} is not UTF-8")]
    NotUtf8 {
        /// Which.
        what: &'static str,
        /// Where.
        at: u64,
    },
    /// A key without a name.
    #[error("a key is empty")]
    EmptyKey,
    /// A key that stands twice.
    #[error("the key {key:?} stands twice")]
    DuplicateKey {
        /// Which.
        key: Box<str>,
    },
    /// A type of value that does not exist.
    #[error("the key {key:?} has a value of unknown type {found}")]
    ValueType {
        /// Which.
        key: Box<str>,
        /// The type.
        found: u32,
    },
    /// Neither true nor false.
    #[error("the key {key:?} has {found} for true or false")]
    Bool {
        /// Which.
        key: Box<str>,
        /// The byte.
        found: u8,
    },
    /// Arrays in arrays in arrays.
    #[error("the key {key:?} has arrays nested more than {DEPTH_MAX} deep")]
    TooDeep {
        /// Which.
        key: Box<str>,
    },
    /// An alignment that is no number.
    #[error("general.alignment is no unsigned integer")]
    AlignmentType,
    /// An alignment that none can have.
    #[error(
        "general.alignment is {found}; it must be a power of two from {ALIGNMENT_UNIT} to {ALIGNMENT_MAX}"
    )]
    Alignment {
        /// The file's alignment.
        found: u64,
    },
    /// One of several files.
    #[error("this is one of {parts} parts of a split model")]
    Split {
        /// How many there are.
        parts: u64,
    },
    /// A tensor that is described wrongly.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// Tensors without their data.
    #[error("the file ends after {found} bytes, before its tensors' data")]
    NoData {
        /// Its length.
        found: u64,
    },
    /// Bytes after the last tensor.
    #[error("{bytes} bytes follow the last tensor")]
    Trailing {
        /// How many.
        bytes: u64,
    },
}

impl GgufError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Version { .. } | Self::BigEndian => "convert the model again with a current llama.cpp",
            Self::Split { .. } => "join the parts with `llama-gguf-split --merge` and give the joined file",
            Self::Tensor(TensorError { kind: TensorErrorKind::UnknownType { .. }, .. }) => {
                "quantise the model to a type that is read, such as Q8_0, Q4_0 or Q4_K_M"
            }
            Self::Truncated { .. } | Self::NoData { .. } | Self::Tensor(_) | Self::Trailing { .. } => {
                "the file is damaged or incomplete: download it again and compare its hash"
            }
            _ => "the file was not written by a correct program: get it from its original source",
        }
    }
}

/// The name of a type that GGUF has and that is not read here, or its number.
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
