//! Why a student was not exported.

use std::path::PathBuf;

use bantam_train::{DecoderExportError, LoadDecoderNetworkError, ReadAdapterError};

use crate::decoder_rows::DecoderRowsError;
use crate::destination::DestinationError;

/// Why a student was not exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The folder cannot be written.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// A student without a form but an encoder's changes, or without these.
    #[error("a student of this kind can only be exported to peft")]
    PeftOnly,
    /// A model of its own, which changes no other.
    #[error("a decoder without a base has no adapter")]
    NoAdapter,
    /// A description without the numbers of its adapter.
    #[error("student.json does not say the rank of its adapter")]
    NoRank,
    /// The base.
    #[error("cannot open the base")]
    Base(#[from] LoadDecoderNetworkError),
    /// The student's weights.
    #[error("cannot read the student")]
    Adapter(#[from] ReadAdapterError),
    /// An encoder's changes could not be written.
    #[error("cannot export the adapter")]
    Peft(#[from] bantam_train::ExportError),
    /// A decoder's weights could not be written.
    #[error("cannot export the student")]
    Weights(#[from] DecoderExportError),
    /// The folder could not be made.
    #[error("cannot make the folder {}", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file could not be copied.
    #[error("cannot copy {} to {}", .from.display(), .to.display())]
    Copy {
        /// The file.
        from: PathBuf,
        /// Where to.
        to: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A recipe without rows.
    #[error("a recipe needs the rows")]
    NoRows,
    /// The rows.
    #[error(transparent)]
    Rows(#[from] DecoderRowsError),
    /// A decoder that other trainers cannot train.
    #[error("a decoder without a base can only be trained here")]
    TrainedHereAlone,
    /// A base that other trainers cannot read.
    #[error("{} is a GGUF file, which other trainers do not train on", .base.display())]
    GgufBase {
        /// The base.
        base: PathBuf,
    },
    /// A description that does not say how the student was trained.
    #[error("student.json does not say how it was trained")]
    NoSettings,
}

impl ExportError {
    /// Returns whether what was asked for makes no sense, rather than did not work.
    pub const fn is_invalid(&self) -> bool {
        matches!(
            self,
            Self::PeftOnly | Self::NoAdapter | Self::NoRows | Self::TrainedHereAlone | Self::GgufBase { .. }
        )
    }

    /// Returns what to do about it. Settings stand in backticks.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Destination(error) => return Some(error.hint()),
            Self::Base(error) => error.kind.hint(),
            Self::Weights(error) => error.hint(),
            Self::Rows(error) => error.kind.hint(),
            Self::PeftOnly => "set `form` to peft; its encoder must have been changed in training",
            Self::NoAdapter => "set `form` to gguf: it is a model of its own",
            Self::NoRank | Self::Adapter(_) => "train it again",
            Self::Folder { .. } => "give a folder that can be written as `out`",
            Self::Copy { .. } | Self::Write { .. } => "make room, or give another folder as `out`",
            Self::NoRows => "give the file of rows as `data`",
            Self::TrainedHereAlone => "train one on a `base`, or set `form` to gguf",
            Self::GgufBase { .. } => "give the same model's folder of safetensors as `base`",
            Self::Peft(_) | Self::NoSettings => return None,
        };
        Some(hint.to_owned())
    }
}
