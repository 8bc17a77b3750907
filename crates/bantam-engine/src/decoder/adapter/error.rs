//! Errors of opening an adapter.

use std::path::PathBuf;

use bantam_weights::{DequantiseError, OpenWeightsError, RequireTensorError};

/// Why an adapter could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("open the adapter {}", .path.display())]
pub struct LoadAdapterError {
    /// The file or folder.
    pub path: PathBuf,
    /// The cause.
    #[source]
    pub kind: LoadAdapterErrorKind,
}

/// What is wrong with an adapter.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadAdapterErrorKind {
    /// `adapter_config.json` is missing or not readable.
    #[error("read adapter_config.json")]
    ReadConfig(#[source] std::io::Error),
    /// `adapter_config.json` is too long.
    #[error("adapter_config.json is too long ({bytes} bytes)")]
    ConfigTooLong {
        /// Its length in bytes.
        bytes: u64,
    },
    /// `adapter_config.json` is not JSON or has fields of the wrong type.
    #[error("parse adapter_config.json")]
    ParseConfig(#[source] serde_json::Error),
    /// The adapter needs an unsupported feature.
    #[error("`{key}` is {found}, which is not supported (expected {expected})")]
    Unsupported {
        /// The configuration key.
        key: Box<str>,
        /// Its value.
        found: Box<str>,
        /// The supported values.
        expected: &'static str,
    },
    /// A required key is missing.
    #[error("`{key}` is missing")]
    MissingKey {
        /// The key.
        key: &'static str,
    },
    /// Alpha is not usable.
    #[error("alpha is {found}; it must be a finite number other than 0")]
    Alpha {
        /// Its value.
        found: f32,
    },
    /// The weights are missing or not readable.
    #[error("open the weights")]
    Weights(#[from] OpenWeightsError),
    /// A tensor changes something that adapters cannot change here, or that the model does not have.
    #[error("tensor {tensor} does not belong to a layer of this model that an adapter can change")]
    UnknownTensor {
        /// The tensor's name.
        tensor: Box<str>,
    },
    /// One of two factors is missing.
    #[error("tensor {tensor} is missing")]
    Missing {
        /// The missing tensor.
        tensor: Box<str>,
    },
    /// The rank is 0, too large, or differs from the configuration.
    #[error(
        "tensor {tensor} has rank {found}, which is too large or differs from the adapter's configuration"
    )]
    Rank {
        /// The tensor's name.
        tensor: Box<str>,
        /// Its rank.
        found: usize,
        /// The rank in the configuration.
        expected: Option<usize>,
    },
    /// A tensor's shape does not match the model's layer.
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
    /// The adapter has no tensors.
    #[error("the adapter has no tensors")]
    Empty,
}
