//! Why an adapter could not be opened.

use std::path::PathBuf;

use bantam_weights::{DequantiseError, OpenWeightsError, RequireTensorError};

/// Why an adapter could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("open the adapter {}", .path.display())]
pub struct LoadAdapterError {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub kind: LoadAdapterErrorKind,
}

/// What is wrong with an adapter.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadAdapterErrorKind {
    /// No `adapter_config.json`, or not readable.
    #[error("read adapter_config.json")]
    ReadConfig(#[source] std::io::Error),
    /// An `adapter_config.json` beyond any sensible length.
    #[error("adapter_config.json has {bytes} bytes, more than are read")]
    ConfigTooLong {
        /// Its length.
        bytes: u64,
    },
    /// Not JSON, or with fields of other types.
    #[error("parse adapter_config.json")]
    ParseConfig(#[source] serde_json::Error),
    /// An adapter that is applied in another way.
    #[error("`{key}` is {found}; {expected} runs here")]
    Unsupported {
        /// The key.
        key: Box<str>,
        /// What it says.
        found: Box<str>,
        /// What it would have to say.
        expected: &'static str,
    },
    /// A key that has to be there.
    #[error("`{key}` is missing")]
    MissingKey {
        /// The key.
        key: &'static str,
    },
    /// A factor that makes no sense.
    #[error("alpha is {found}; it must be a number other than 0")]
    Alpha {
        /// What the file says.
        found: f32,
    },
    /// No weights, or not readable.
    #[error("open the weights")]
    Weights(#[from] OpenWeightsError),
    /// A tensor that changes something that is not changed here, or that the model does not have.
    #[error("the tensor {tensor} changes nothing that this model has and an adapter may change")]
    UnknownTensor {
        /// Its name.
        tensor: Box<str>,
    },
    /// One factor without the other.
    #[error("the tensor {tensor} is missing")]
    Missing {
        /// The one that is missing.
        tensor: Box<str>,
    },
    /// A rank of nothing, beyond any adapter, or other than the configuration says.
    #[error("the tensor {tensor} has rank {found}, which is not that of the adapter or beyond any")]
    Rank {
        /// Its name.
        tensor: Box<str>,
        /// Its rank.
        found: usize,
        /// The rank by the configuration.
        expected: Option<usize>,
    },
    /// A tensor of another shape than the model's layer has.
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
    /// An adapter that changes nothing.
    #[error("it has no tensors")]
    Empty,
}
