//! Decoders: Llama (SmolLM, Mistral), Qwen 2 and 3, Gemma 3 and Phi-3, from GGUF or safetensors.

mod adapter;
mod cache;
mod config;
mod forward;
mod layer;
mod linear;
mod load;
mod plan;
mod scratch;

use std::path::{Path, PathBuf};

use bantam_kernels::{KvShape, KvStore, RmsNorm, Rope};
use bantam_weights::WeightFile;

pub use adapter::{Adapter, AdapterSurvey, LoadAdapterError, LoadAdapterErrorKind};
pub use config::{Architecture, Biases, DecoderConfig, DecoderConfigError, Rope as DecoderRope};
pub use forward::{ForwardError, Span, Wanted};
use layer::Layer;
use linear::Linear;
pub use load::{DecoderSurvey, LoadDecoderError, LoadDecoderErrorKind};
pub use scratch::{DecoderScratch, Logits};

/// What weights and activations of matrix products are held in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecoderPrecision {
    /// As trained; keys and values in 32 bits.
    F32,
    /// Weights in 4 bits where the file has them so (Q4_0) and in 8 otherwise, with a scale for every 32 of them;
    /// activations in 8 bits with a scale for every 32; keys and values in 16-bit floats. Norms, biases and
    /// adapters stay as they are.
    Quantised,
}

/// How a decoder is opened.
#[derive(Clone, Debug)]
pub struct DecoderOptions {
    /// What it runs in.
    pub precision: DecoderPrecision,
    /// The file that quantised weights are kept in once they are laid out. It is read if it was made from the
    /// same model, and otherwise made anew, if it can be.
    pub cache: Option<PathBuf>,
}

/// A decoder, ready to run. It is never written to, so threads may share it.
#[derive(Debug)]
pub struct Decoder {
    config: DecoderConfig,
    precision: DecoderPrecision,
    /// Where embeddings are read from, row by row.
    file: WeightFile,
    embeddings: String,
    /// Rotation, and the one of layers with a window.
    ropes: (Rope, Option<Rope>),
    layers: Vec<Layer>,
    norm: RmsNorm,
    head: Linear,
    /// Bytes of all linear layers.
    weight_bytes: usize,
}

impl Decoder {
    /// Returns where packed weights are kept unless somebody wants them elsewhere: `NAME.bantam-cache` beside a
    /// file, `model.bantam-cache` within a folder.
    pub fn cache_path(model: impl AsRef<Path>) -> PathBuf {
        let model = model.as_ref();
        if model.is_dir() {
            return model.join("model.bantam-cache");
        }
        let mut path = model.as_os_str().to_owned();
        path.push(".bantam-cache");
        path.into()
    }

    /// Returns what the model is made of.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Returns what it runs in.
    pub fn precision(&self) -> DecoderPrecision {
        self.precision
    }

    /// Returns the files it was read from, for their metadata.
    pub fn weights(&self) -> &WeightFile {
        &self.file
    }

    /// Returns what a token's keys and values take.
    pub fn kv_shape(&self) -> KvShape {
        self.config.kv_shape(self.precision)
    }

    /// Returns how many bytes its linear layers take, in memory or in the mapped file that they are kept in.
    pub fn weight_bytes(&self) -> usize {
        self.weight_bytes
    }

    /// Returns an empty store of `pages` pages of 16 tokens.
    ///
    /// # Panics
    /// If these are more than can be addressed.
    pub fn new_kv(&self, pages: usize) -> KvStore {
        KvStore::new(self.kv_shape(), pages)
    }
}
