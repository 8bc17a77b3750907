//! Why a weight file is not opened, or does not fit its architecture.

use std::path::PathBuf;

use crate::gguf::GgufError;
use crate::safetensors::{IndexError, SafetensorsError};
use crate::sniff::RefusedContent;

/// Why a weight file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("open the weights {}", .path.display())]
pub struct OpenWeightsError {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong.
    #[source]
    pub kind: OpenWeightsErrorKind,
}

/// What is wrong with a weight file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenWeightsErrorKind {
    /// The file could not be read.
    #[error("cannot read the file")]
    Read(#[from] std::io::Error),
    /// A pipe or a device.
    #[error("this is no regular file")]
    NotFile,
    /// A folder without a model.
    #[error("the folder has neither model.safetensors nor model.safetensors.index.json")]
    EmptyFolder,
    /// Some other content.
    #[error(transparent)]
    Refused(#[from] RefusedContent),
    /// A GGUF file with a fault.
    #[error("this GGUF file is not right")]
    Gguf(#[from] GgufError),
    /// A safetensors file with a fault.
    #[error("this safetensors file is not right")]
    Safetensors(#[from] SafetensorsError),
    /// A list of shards with a fault.
    #[error("this list of shards is not right")]
    Index(#[from] IndexError),
}

impl OpenWeightsErrorKind {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Read(_) => "check that the path is right and may be read",
            Self::NotFile => "give a file on a disk",
            Self::EmptyFolder => "give the model's file itself",
            Self::Refused(refused) => refused.hint(),
            Self::Gguf(error) => error.hint(),
            Self::Safetensors(error) => error.hint(),
            Self::Index(error) => error.hint(),
        }
    }
}

/// Why a file lacks a tensor that its architecture needs.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequireTensorError {
    /// No tensor of the name.
    #[error("the tensor {tensor:?} is missing")]
    Missing {
        /// Its name.
        tensor: Box<str>,
    },
    /// A tensor of another shape.
    #[error("the tensor {tensor:?} has shape {found:?}; the model needs {expected:?}")]
    Shape {
        /// Its name.
        tensor: Box<str>,
        /// The shape in the file.
        found: Box<[usize]>,
        /// The shape of the architecture.
        expected: Box<[usize]>,
    },
}
