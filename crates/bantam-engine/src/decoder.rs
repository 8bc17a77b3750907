//! Decoders: Llama (SmolLM, Mistral), Qwen 2 and 3, Gemma 3 and Phi-3, from GGUF or safetensors.

mod adapter;
mod cache;
mod config;
mod forward;
mod layer;
mod linear;
mod load;
mod naming;
mod scratch;

use std::path::{Path, PathBuf};

use bantam_kernels::{KvShape, KvStore, RmsNorm, Rope};
use bantam_weights::WeightFile;

pub use adapter::{Adapter, AdapterSurvey, LoadAdapterError, LoadAdapterErrorKind};
pub use config::{Architecture, Biases, DecoderConfig, DecoderConfigError, Rope as DecoderRope};
pub use forward::{ForwardError, LogitRows, Span};
use layer::Layer;
use linear::Linear;
pub use load::{DecoderSurvey, LoadDecoderError, LoadDecoderErrorKind};
pub use scratch::{DecoderScratch, Logits};

/// The precision of weights and activations in matrix products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecoderPrecision {
    /// As trained; the KV cache in 32 bits.
    F32,
    /// Weights in 4 bits if the file has them in Q4_0, otherwise in 8 bits, with a scale per 32 weights; activations
    /// in 8 bits with a scale per 32; the KV cache in 16-bit floats. Norms, biases and adapters are unchanged.
    Quantised,
}

/// Options for opening a decoder.
#[derive(Clone, Debug)]
pub struct DecoderOptions {
    /// The precision to run in.
    pub precision: DecoderPrecision,
    /// The cache file for packed weights. It is used if it was made from the same model, and otherwise written if
    /// possible.
    pub cache: Option<PathBuf>,
}

/// A decoder, ready to run. It is immutable, so threads can share it.
#[derive(Debug)]
pub struct Decoder {
    config: DecoderConfig,
    precision: DecoderPrecision,
    /// The source of embeddings, read row by row.
    file: WeightFile,
    embeddings: String,
    /// The rotation, and that of layers with a window.
    ropes: (Rope, Option<Rope>),
    layers: Vec<Layer>,
    norm: RmsNorm,
    head: Linear,
    /// Total bytes of all linear layers.
    weight_bytes: usize,
}

impl Decoder {
    /// Returns the default cache file for packed weights: `NAME.bantam-cache` beside a file, `model.bantam-cache` in
    /// a folder.
    pub fn cache_path(model: impl AsRef<Path>) -> PathBuf {
        let model = model.as_ref();
        if model.is_dir() {
            return model.join("model.bantam-cache");
        }
        let mut path = model.as_os_str().to_owned();
        path.push(".bantam-cache");
        path.into()
    }

    /// Returns the model's configuration.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Returns the precision it runs in.
    pub fn precision(&self) -> DecoderPrecision {
        self.precision
    }

    /// Returns the files it was loaded from, for their metadata.
    pub fn weights(&self) -> &WeightFile {
        &self.file
    }

    /// Returns the shape of its KV cache.
    pub fn kv_shape(&self) -> KvShape {
        self.config.kv_shape(self.precision)
    }

    /// Returns the size of its linear layers in bytes, in memory or in the mapped cache file.
    pub fn weight_bytes(&self) -> usize {
        self.weight_bytes
    }

    /// Returns an empty KV store of `pages` pages of 16 tokens.
    ///
    /// # Panics
    /// If the store is not addressable.
    pub fn new_kv(&self, pages: usize) -> KvStore {
        KvStore::new(self.kv_shape(), pages)
    }
}
