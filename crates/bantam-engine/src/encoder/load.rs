//! Loads an encoder from a folder, with all checks.

mod modernbert;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bantam_kernels::{F32Linear, Int8Linear, LayerNorm};
use bantam_weights::{DequantiseError, OpenWeightsError, RequireTensorError, WeightFile};

use super::adapter::EncoderAdapter;
use super::embeddings::Embeddings;
use super::layer::{Layer, Linear};
use super::outliers::{Outliers, Probe};
use super::{Architecture, Encoder, EncoderConfig, EncoderConfigError, Precision, Stack};

/// Largest `config.json` accepted, in bytes.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Why an encoder could not be loaded.
#[derive(Debug, thiserror::Error)]
#[error("load the encoder {}", .path.display())]
pub struct LoadEncoderError {
    /// The folder.
    pub path: PathBuf,
    /// The cause.
    #[source]
    pub kind: LoadEncoderErrorKind,
}

/// What is wrong with an encoder's folder.
#[derive(Debug, thiserror::Error)]
pub enum LoadEncoderErrorKind {
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
    Config(#[from] EncoderConfigError),
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
    /// A tensor does not belong to the configured model, so the weights or the configuration are those of another
    /// model.
    #[error("tensor {tensor} does not belong to a model of this configuration")]
    Unexpected {
        /// The tensor's name.
        tensor: Box<str>,
    },
    /// An adapter's change does not match a layer of this encoder.
    #[error("the adapter changes {module}, which does not exist or has another shape")]
    Adapter {
        /// The layer's name.
        module: Box<str>,
    },
    /// A tensor contains NaN or infinity.
    #[error("tensor {tensor} contains NaN or infinity")]
    NotFinite {
        /// The tensor's name.
        tensor: Box<str>,
    },
}

impl Encoder {
    /// Loads `config.json` and the weights (`model.safetensors`, or the shards of its index) from `folder`.
    pub fn load(folder: impl AsRef<Path>, precision: Precision) -> Result<Self, LoadEncoderError> {
        let folder = folder.as_ref();
        Self::load_folder(folder, precision)
            .map_err(|kind| LoadEncoderError { path: folder.to_owned(), kind })
    }

    fn load_folder(folder: &Path, precision: Precision) -> Result<Self, LoadEncoderErrorKind> {
        let path = folder.join("config.json");
        let bytes = std::fs::metadata(&path).map_err(LoadEncoderErrorKind::ReadConfig)?.len();
        if bytes > CONFIG_BYTES_MAX {
            return Err(LoadEncoderErrorKind::ConfigTooLong { bytes });
        }
        let json = std::fs::read(&path).map_err(LoadEncoderErrorKind::ReadConfig)?;
        let config = EncoderConfig::from_json(&json)?;
        let whole = folder.join("model.safetensors");
        let weights = if whole.exists() { whole } else { folder.join("model.safetensors.index.json") };
        Self::from_weights(config, &WeightFile::open(weights)?, precision)
    }

    /// Builds an encoder of `config` with these weights, named as in `BertModel` (with or without the prefix `bert.`)
    /// or as in `ModernBertModel` (with or without `model.`).
    pub fn from_weights(
        config: EncoderConfig,
        weights: &WeightFile,
        precision: Precision,
    ) -> Result<Self, LoadEncoderErrorKind> {
        Self::adapted(config, weights, precision, None)
    }

    /// Like [`Self::from_weights`], but merges `adapter` into the linear layers before they are quantised. Every
    /// change must match a layer.
    pub fn adapted(
        config: EncoderConfig,
        weights: &WeightFile,
        precision: Precision,
        adapter: Option<&EncoderAdapter>,
    ) -> Result<Self, LoadEncoderErrorKind> {
        let (first, prefix) = match config.architecture {
            Architecture::Bert => ("bert.embeddings.LayerNorm.weight", "bert."),
            Architecture::ModernBert(_) => ("model.embeddings.norm.weight", "model."),
        };
        let prefix = if weights.tensor(first).is_some() { prefix } else { "" };
        let reader =
            Reader { config: &config, weights, prefix, precision, adapter, read: RefCell::default() };
        let encoder = match &config.architecture {
            Architecture::Bert => reader.bert(),
            Architecture::ModernBert(modern) => modernbert::load(&reader, &config, modern),
        }?;
        reader.check_all_changed()?;
        Ok(encoder)
    }
}

/// The context for reading one model.
struct Reader<'r> {
    config: &'r EncoderConfig,
    weights: &'r WeightFile,
    prefix: &'static str,
    precision: Precision,
    adapter: Option<&'r EncoderAdapter>,
    /// Names of the tensors read so far.
    read: RefCell<BTreeSet<String>>,
}

impl Reader<'_> {
    fn bert(&self) -> Result<Encoder, LoadEncoderErrorKind> {
        let (config, precision) = (self.config, self.precision);
        let embeddings = self.embeddings()?;
        let norm = self.norm("embeddings.LayerNorm", true)?;
        let mut probe = Probe::new(config, &embeddings, &norm);
        let mut layers = Vec::with_capacity(config.layers);
        for index in 0..config.layers {
            let raw = self.layer(index)?;
            layers.push(match precision {
                Precision::F32 => raw.layer(RawLinear::to_f32, &Outliers::default()),
                Precision::Int8 => {
                    let exact = raw.layer(RawLinear::to_f32, &Outliers::default());
                    let outliers = probe.pass(config, |tokens, pool, scratch, observe| {
                        exact.forward(config, (tokens, None), pool, scratch, observe);
                    });
                    raw.layer(RawLinear::to_int8, &outliers)
                }
            });
        }
        Ok(Encoder { config: config.clone(), precision, embeddings, norm, stack: Stack::Bert(layers) })
    }

    /// Refuses unread tensors whose names, after the prefix, start with one of `parts`.
    fn check_all_read(&self, parts: &[&str]) -> Result<(), LoadEncoderErrorKind> {
        let read = self.read.borrow();
        let is_part = |name: &str| {
            let name = name.strip_prefix(self.prefix).unwrap_or_default();
            parts.iter().any(|part| name.starts_with(part))
        };
        match self.weights.tensors().find(|(name, _)| is_part(name) && !read.contains(*name)) {
            Some((name, _)) => Err(LoadEncoderErrorKind::Unexpected { tensor: name.into() }),
            None => Ok(()),
        }
    }

    /// Refuses an adapter with a change for a layer that this encoder does not have.
    fn check_all_changed(&self) -> Result<(), LoadEncoderErrorKind> {
        let read = self.read.borrow();
        let is_read = |module: &str| read.contains(&format!("{}{module}.weight", self.prefix));
        let mut updates = self.adapter.iter().flat_map(|adapter| &adapter.updates);
        match updates.find(|update| !is_read(&update.module)) {
            Some(update) => Err(LoadEncoderErrorKind::Adapter { module: update.module.as_str().into() }),
            None => Ok(()),
        }
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, LoadEncoderErrorKind> {
        let name = format!("{}{name}", self.prefix);
        let numbers = match self.weights.require(&name, shape)?.to_f32() {
            Ok(numbers) => numbers,
            Err(source) => return Err(LoadEncoderErrorKind::Dequantise { tensor: name.into(), source }),
        };
        if !numbers.iter().all(|number| number.is_finite()) {
            return Err(LoadEncoderErrorKind::NotFinite { tensor: name.into() });
        }
        self.read.borrow_mut().insert(name);
        Ok(numbers)
    }

    fn embeddings(&self) -> Result<Embeddings, LoadEncoderErrorKind> {
        let width = self.config.hidden;
        let table = |name: &str, rows| self.tensor(&format!("embeddings.{name}.weight"), &[rows, width]);
        let words = table("word_embeddings", self.config.vocabulary)?;
        let positions = table("position_embeddings", self.config.positions)?;
        let types = table("token_type_embeddings", self.config.token_types)?;
        Ok(Embeddings::new(words, &positions, &types, width, self.precision))
    }

    fn norm(&self, name: &str, has_bias: bool) -> Result<LayerNorm, LoadEncoderErrorKind> {
        let width = self.config.hidden;
        let gain = self.tensor(&format!("{name}.weight"), &[width])?;
        let bias = self.bias(name, width, has_bias)?;
        Ok(LayerNorm::new(gain, bias, self.config.norm_epsilon))
    }

    /// Returns the bias, or zeros if the layer has no bias.
    fn bias(&self, name: &str, length: usize, has_bias: bool) -> Result<Vec<f32>, LoadEncoderErrorKind> {
        if has_bias { self.tensor(&format!("{name}.bias"), &[length]) } else { Ok(vec![0.0; length]) }
    }

    /// Reads the layers of `names`, which have the same inputs, as one layer with all their outputs.
    fn linear(
        &self,
        names: &[String],
        outputs: usize,
        inputs: usize,
        has_bias: bool,
    ) -> Result<RawLinear, LoadEncoderErrorKind> {
        let (mut weights, mut bias) = (Vec::new(), Vec::new());
        for name in names {
            let mut of_name = self.tensor(&format!("{name}.weight"), &[outputs, inputs])?;
            if let Some((adapter, update)) =
                self.adapter.and_then(|adapter| Some((adapter, adapter.of(name)?)))
            {
                adapter.add(update, &mut of_name, (outputs, inputs))?;
            }
            weights.extend(of_name);
            bias.extend(self.bias(name, outputs, has_bias)?);
        }
        Ok(RawLinear { weights, bias, inputs })
    }

    fn layer(&self, index: usize) -> Result<RawLayer, LoadEncoderErrorKind> {
        let (hidden, wide) = (self.config.hidden, self.config.intermediate);
        let named = |name: &str| format!("encoder.layer.{index}.{name}");
        let qkv = ["query", "key", "value"].map(|part| named(&format!("attention.self.{part}")));
        Ok(RawLayer {
            qkv: self.linear(&qkv, hidden, hidden, true)?,
            attention_output: self.linear(&[named("attention.output.dense")], hidden, hidden, true)?,
            attention_norm: self.norm(&named("attention.output.LayerNorm"), true)?,
            up: self.linear(&[named("intermediate.dense")], wide, hidden, true)?,
            down: self.linear(&[named("output.dense")], hidden, wide, true)?,
            output_norm: self.norm(&named("output.LayerNorm"), true)?,
        })
    }
}

/// A linear layer as stored in the file.
struct RawLinear {
    weights: Vec<f32>,
    bias: Vec<f32>,
    inputs: usize,
}

impl RawLinear {
    /// Ignores the exact inputs that [`Self::to_int8`] takes: in f32, all are exact.
    fn to_f32(&self, _: &[usize]) -> Linear {
        Linear::F32(F32Linear::new(&self.weights, &self.bias, self.inputs))
    }

    fn to_int8(&self, exact: &[usize]) -> Linear {
        Linear::Int8(Int8Linear::quantise(&self.weights, &self.bias, self.inputs, exact))
    }
}

/// A BERT layer as stored in the file.
struct RawLayer {
    qkv: RawLinear,
    attention_output: RawLinear,
    attention_norm: LayerNorm,
    up: RawLinear,
    down: RawLinear,
    output_norm: LayerNorm,
}

impl RawLayer {
    /// Builds the layer, using `linear` to build its linear layers from their exact inputs.
    fn layer(&self, linear: impl Fn(&RawLinear, &[usize]) -> Linear, outliers: &Outliers) -> Layer {
        Layer {
            qkv: linear(&self.qkv, &outliers.qkv),
            // The output of attention has no outliers that are the same for every token.
            attention_output: linear(&self.attention_output, &[]),
            attention_norm: self.attention_norm.clone(),
            up: linear(&self.up, &outliers.up),
            down: linear(&self.down, &outliers.down),
            output_norm: self.output_norm.clone(),
        }
    }
}
