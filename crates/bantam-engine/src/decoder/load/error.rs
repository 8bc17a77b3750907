//! Why a decoder could not be opened.

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
    /// What is wrong with it.
    #[source]
    pub kind: LoadDecoderErrorKind,
}

/// What is wrong with a decoder's files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadDecoderErrorKind {
    /// No `config.json`, or not readable.
    #[error("read config.json")]
    ReadConfig(#[source] std::io::Error),
    /// A `config.json` beyond any sensible length.
    #[error("config.json has {bytes} bytes; at most {CONFIG_BYTES_MAX} are read")]
    ConfigTooLong {
        /// Its length.
        bytes: u64,
    },
    /// Another architecture, or sizes that cannot be.
    #[error("use the configuration")]
    Config(#[from] DecoderConfigError),
    /// No weights, or not readable.
    #[error("open the weights")]
    Weights(#[from] OpenWeightsError),
    /// A tensor that is missing or has another shape than the configuration says.
    #[error("find a tensor")]
    Tensor(#[from] RequireTensorError),
    /// A tensor of a type that is not read here.
    #[error("read the tensor {tensor}")]
    Dequantise {
        /// Its name.
        tensor: Box<str>,
        /// Why not.
        #[source]
        source: DequantiseError,
    },
    /// A tensor with an infinite number, or none.
    #[error("the tensor {tensor} holds a number that is not finite")]
    NotFinite {
        /// Its name.
        tensor: Box<str>,
    },
    /// Packed weights that do not fit their layer.
    #[error("lay out the weights")]
    Packed(#[from] PackedError),
    /// A model without its last layer.
    #[error("the last layer is missing")]
    NoHead,
}
