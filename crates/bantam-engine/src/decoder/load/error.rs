//! Errors of opening a decoder.

use std::path::PathBuf;

use bantam_kernels::PackedError;
use bantam_weights::{DequantiseError, OpenWeightsError, RequireTensorError};

use super::CONFIG_BYTES_MAX;
use super::config::DecoderConfigError;

/// Why a decoder could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("open the decoder {}", .path.display())]
pub struct LoadDecoderError {
    /// The file or folder.
    pub path: PathBuf,
    /// The cause.
    #[source]
    pub kind: LoadDecoderErrorKind,
}

/// What is wrong with a decoder's files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadDecoderErrorKind {
    /// `config.json` is missing or not readable.
    #[error("read config.json")]
    ReadConfig(#[source] std::io::Error),
    /// `config.json` is too long.
    #[error("config.json is {bytes} bytes long; the limit is {CONFIG_BYTES_MAX}")]
    ConfigTooLong {
        /// Its length in bytes.
        bytes: u64,
    },
    /// The architecture is not supported, or a size is out of range.
    #[error("read the configuration")]
    Config(#[from] DecoderConfigError),
    /// The weights are missing or not readable.
    #[error("open the weights")]
    Weights(#[from] OpenWeightsError),
    /// A tensor is missing or does not match the configuration.
    #[error("check a tensor")]
    Tensor(#[from] RequireTensorError),
    /// A tensor has an unsupported type.
    #[error("read tensor {tensor}")]
    Dequantise {
        /// The tensor's name.
        tensor: Box<str>,
        /// The cause.
        #[source]
        source: DequantiseError,
    },
    /// A tensor contains NaN or infinity.
    #[error("tensor {tensor} contains NaN or infinity")]
    NotFinite {
        /// The tensor's name.
        tensor: Box<str>,
    },
    /// Packed weights do not match their layer.
    #[error("pack the weights")]
    Packed(#[from] PackedError),
    /// The model has no output head.
    #[error("the output head is missing")]
    NoHead,
}
