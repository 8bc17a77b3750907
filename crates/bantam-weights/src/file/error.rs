//! Errors of opening a weight file and of looking up tensors.

use std::path::PathBuf;

use crate::gguf::GgufError;
use crate::safetensors::{SafetensorsError, ShardIndexError};
use crate::sniff::RefusedContent;

/// Why a weight file cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("open the weights {}", .path.display())]
pub struct OpenWeightsError {
    /// The file or folder.
    pub path: PathBuf,
    /// The cause.
    #[source]
    pub kind: OpenWeightsErrorKind,
}

/// The cause of an [`OpenWeightsError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenWeightsErrorKind {
    /// The file cannot be read.
    #[error("cannot read the file")]
    Read(#[from] std::io::Error),
    /// The path is a pipe or a device.
    #[error("not a regular file")]
    NotFile,
    /// The folder contains no model.
    #[error("the folder has neither model.safetensors nor model.safetensors.index.json")]
    EmptyFolder,
    /// The file has another format.
    #[error(transparent)]
    Refused(#[from] RefusedContent),
    /// The GGUF file is malformed or not supported.
    #[error("invalid GGUF file")]
    Gguf(#[from] GgufError),
    /// The safetensors file is malformed or not supported.
    #[error("invalid safetensors file")]
    Safetensors(#[from] SafetensorsError),
    /// The shard index or a shard is invalid.
    #[error("invalid shard index")]
    Index(#[from] ShardIndexError),
}

impl OpenWeightsErrorKind {
    /// Returns what the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Read(_) => "check that the path is correct and readable",
            Self::NotFile => "use a regular file",
            Self::EmptyFolder => "use the path of the model file",
            Self::Refused(refused) => refused.hint(),
            Self::Gguf(error) => error.hint(),
            Self::Safetensors(error) => error.hint(),
            Self::Index(error) => error.hint(),
        }
    }
}

/// Why a required tensor is not available.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequireTensorError {
    /// The file does not contain the tensor.
    #[error("tensor {tensor:?} is missing")]
    Missing {
        /// The tensor's name.
        tensor: Box<str>,
    },
    /// The tensor has another shape.
    #[error("tensor {tensor:?} has shape {found:?}; the model needs {expected:?}")]
    Shape {
        /// The tensor's name.
        tensor: Box<str>,
        /// The shape in the file.
        found: Box<[usize]>,
        /// The shape that the architecture needs.
        expected: Box<[usize]>,
    },
}
