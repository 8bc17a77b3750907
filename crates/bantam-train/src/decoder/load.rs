//! Builds a network from a base's files, or from a configuration alone.

use std::path::Path;
use std::sync::Arc;

use bantam_engine::{Architecture, DecoderConfig, DecoderConfigError};
use bantam_weights::{DequantiseError, Format, OpenWeightsError, RequireTensorError, WeightFile};
use serde::{Deserialize, Serialize};

use super::block::Block;
use super::frozen::{FileRows, LayerTensor, Tiled};
use super::nf4::Nf4;
use super::{DecoderNetwork, Embeddings};
use crate::encoder::LoraConfig;
use crate::layout::{Layout, ParameterGroup};
use crate::ops::{
    Attention, F32Matrix, Frozen, Gain, Linear, Lora, LoraPart, RmsNorm, Rotation, Site, Weight,
};
use LoadDecoderNetworkErrorKind as LoadErrorKind;

/// Maximum size of a `config.json`, in bytes.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// How the frozen matrices of a base are kept in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaseForm {
    /// As f32: four bytes per weight, and the fastest.
    Wide,
    /// As the file stores them, dequantised in tiles at each product: they take no memory but the file's own pages. In
    /// a quantised GGUF file, these are exactly the weights that are served.
    AsStored,
    /// In 4 bits, as in QLoRA (<https://arxiv.org/abs/2305.14314>): about 0.56 bytes per weight.
    Nf4,
}

/// How a base is tuned.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecoderTuning {
    /// The adapters. Decoders have only adapter dropout, so `dropout` must be 0.
    pub lora: LoraConfig,
    /// How the base is kept in memory.
    pub form: BaseForm,
}

/// Why a base cannot be trained.
#[derive(Debug, thiserror::Error)]
#[error("train on the base {path}")]
pub struct LoadDecoderNetworkError {
    /// The file or folder.
    pub path: String,
    /// What is wrong with it.
    #[source]
    pub kind: LoadDecoderNetworkErrorKind,
}

/// What is wrong with a base.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadDecoderNetworkErrorKind {
    /// `config.json` is missing or not readable.
    #[error("read config.json")]
    ReadConfig(#[source] std::io::Error),
    /// `config.json` is too large.
    #[error("config.json has {bytes} bytes; the limit is {CONFIG_BYTES_MAX}")]
    ConfigTooLong {
        /// Its size.
        bytes: u64,
    },
    /// Another architecture, or impossible sizes.
    #[error("read the model's configuration")]
    Config(#[from] DecoderConfigError),
    /// A model family, or a feature of one, that training does not support.
    #[error(
        "training does not support {what}; it supports Llama, Qwen2 and Qwen3 with full causal attention"
    )]
    Family {
        /// The family or feature.
        what: String,
    },
    /// A setting is out of range.
    #[error("`{setting}` must be {range}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What it must be.
        range: &'static str,
    },
    /// The weights are missing or not readable.
    #[error("open the weights")]
    Weights(#[from] OpenWeightsError),
    /// A tensor is missing, or its shape contradicts the configuration.
    #[error("find a tensor")]
    Tensor(#[from] RequireTensorError),
    /// A tensor has an unsupported type.
    #[error("read a tensor")]
    Dequantise(#[from] DequantiseError),
    /// A tensor holds an infinity or a NaN.
    #[error("the tensor {tensor} holds a number that is not finite")]
    NotFinite {
        /// Its name.
        tensor: String,
    },
}

impl LoadDecoderNetworkErrorKind {
    /// Returns what to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Family { .. } | Self::Config(_) => {
                "use a base of the Llama, Qwen2 or Qwen3 family, or train a small decoder from scratch"
            }
            Self::Setting { .. } => "start from the recommended settings",
            Self::ReadConfig(_) => "name a GGUF file, or a folder with config.json and safetensors",
            _ => "the base's files do not belong together: fetch it again",
        }
    }
}

impl DecoderNetwork {
    /// Opens a GGUF file, or a folder with `config.json` and safetensors, and adds the adapters to `layout`.
    ///
    /// # Errors
    /// [`LoadDecoderNetworkError`] if the base is of another family, damaged or inconsistent.
    pub fn load(
        path: &Path,
        tuning: &DecoderTuning,
        layout: &mut Layout,
    ) -> Result<Self, LoadDecoderNetworkError> {
        Self::load_kind(path, tuning, layout)
            .map_err(|kind| LoadDecoderNetworkError { path: path.display().to_string(), kind })
    }

    fn load_kind(path: &Path, tuning: &DecoderTuning, layout: &mut Layout) -> Result<Self, LoadErrorKind> {
        if let Some((setting, range)) = tuning.lora.fault() {
            return Err(LoadErrorKind::Setting { setting, range });
        }
        if tuning.lora.dropout > 0.0 {
            return Err(LoadErrorKind::Setting {
                setting: "dropout",
                range: "0 for a decoder; use lora_dropout",
            });
        }
        let (file, config) = open(path)?;
        check_family(&config)?;
        let is_gguf = matches!(file.format(), Format::Gguf { .. });
        let loader = Loader { config: &config, file: Arc::new(file), is_gguf, tuning: *tuning };
        let blocks = (0..config.layers).map(|index| loader.block(index, layout)).collect::<Result<_, _>>()?;
        let embeddings = loader.name("token_embd", "model.embed_tokens");
        let head = match config.is_tied {
            true => embeddings.clone(),
            false => loader.name("output", "lm_head"),
        };
        let (vocabulary, hidden) = (config.vocabulary, config.hidden);
        let piece = |tensor| LayerTensor { tensor, outputs: vocabulary, interleaved: None };
        loader.check_rows(&piece(embeddings.clone()), hidden)?;
        // The head of a 4-bit base is not quantised; bitsandbytes leaves it alone too.
        let form = if tuning.form == BaseForm::Nf4 { BaseForm::Wide } else { tuning.form };
        let matrix = loader.matrix(vec![piece(head)], hidden, form)?;
        let weight = Weight::Frozen(matrix, None);
        let norm = loader.norm("output_norm", "model.norm", hidden)?;
        Ok(Self {
            embeddings: Embeddings::File(Arc::clone(&loader.file), embeddings),
            blocks,
            norm,
            head: Linear { outputs: vocabulary, inputs: hidden, weight, lora: None },
            rotation: rotation(&config),
            recompute: tuning.lora.recompute,
            adapter: Some((tuning.lora.rank, tuning.lora.alpha)),
            config,
        })
    }

    /// Returns a decoder of `config` with tied embeddings, all of whose weights are trained, and adds them to `layout`.
    ///
    /// # Errors
    /// [`LoadErrorKind::Family`] if training does not support the configuration's family, or it has biases.
    pub fn whole(config: DecoderConfig, recompute: bool, layout: &mut Layout) -> Result<Self, LoadErrorKind> {
        check_family(&config)?;
        if config.biases.qkv || config.biases.output || config.biases.feed_forward || !config.is_tied {
            return Err(LoadErrorKind::Family {
                what: "a decoder from scratch with biases or an untied head".to_owned(),
            });
        }
        let mut add = |name: String, shape: [usize; 2], decays| {
            layout.add(name, shape, decays, ParameterGroup::Adapter)
        };
        let (hidden, wide) = (config.hidden, config.intermediate);
        let (queries, keys) = (config.query_width(), config.kv_width());
        let table = add("model.embed_tokens.weight".to_owned(), [config.vocabulary, hidden], true);
        let mut blocks = Vec::with_capacity(config.layers);
        for index in 0..config.layers {
            let mut linear = |parts: &[(&str, usize)], inputs: usize| {
                let ranges: Vec<_> = parts
                    .iter()
                    .map(|(part, outputs)| {
                        add(format!("model.layers.{index}.{part}.weight"), [*outputs, inputs], true)
                    })
                    .collect();
                let outputs = parts.iter().map(|(_, outputs)| outputs).sum();
                let start = ranges.first().map_or(0, |range| range.start);
                let range = start..ranges.last().map_or(0, |range| range.end);
                Linear { outputs, inputs, weight: Weight::Trained(range, 0..0), lora: None }
            };
            let qkv = [("self_attn.q_proj", queries), ("self_attn.k_proj", keys), ("self_attn.v_proj", keys)];
            let qkv = linear(&qkv, hidden);
            let output = linear(&[("self_attn.o_proj", hidden)], queries);
            let gate_up = linear(&[("mlp.gate_proj", wide), ("mlp.up_proj", wide)], hidden);
            let down = linear(&[("mlp.down_proj", hidden)], wide);
            let mut norm = |name: &str, width| RmsNorm {
                gain: Gain::Trained(add(format!("model.layers.{index}.{name}.weight"), [1, width], false)),
                epsilon: config.norm_epsilon,
            };
            blocks.push(Block {
                attention: attention(&config),
                attention_norm: norm("input_layernorm", hidden),
                qkv,
                head_norms: (config.architecture == Architecture::Qwen3).then(|| {
                    ["self_attn.q_norm", "self_attn.k_norm"].map(|name| norm(name, config.head_size))
                }),
                output,
                feed_forward_norm: norm("post_attention_layernorm", hidden),
                gate_up,
                down,
            });
        }
        let gain = Gain::Trained(add("model.norm.weight".to_owned(), [1, hidden], false));
        let norm = RmsNorm { gain, epsilon: config.norm_epsilon };
        let weight = Weight::Trained(table.clone(), 0..0);
        let head = Linear { outputs: config.vocabulary, inputs: hidden, weight, lora: None };
        let (embeddings, rotation) = (Embeddings::Trained(table), rotation(&config));
        Ok(Self { config, embeddings, blocks, norm, head, rotation, recompute, adapter: None })
    }
}

fn open(path: &Path) -> Result<(WeightFile, DecoderConfig), LoadErrorKind> {
    if !path.is_dir() {
        let file = WeightFile::open(path)?;
        if matches!(file.format(), Format::Gguf { .. }) {
            let config = DecoderConfig::from_gguf(&file)?;
            return Ok((file, config));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return Ok((file, read_config(&folder.join("config.json"))?));
    }
    // The configuration first: "another architecture" says more than "a tensor is missing".
    let config = read_config(&path.join("config.json"))?;
    Ok((WeightFile::open(path)?, config))
}

fn read_config(path: &Path) -> Result<DecoderConfig, LoadErrorKind> {
    let bytes = std::fs::metadata(path).map_err(LoadErrorKind::ReadConfig)?.len();
    if bytes > CONFIG_BYTES_MAX {
        return Err(LoadErrorKind::ConfigTooLong { bytes });
    }
    Ok(DecoderConfig::from_json(&std::fs::read(path).map_err(LoadErrorKind::ReadConfig)?)?)
}

fn check_family(config: &DecoderConfig) -> Result<(), LoadErrorKind> {
    let refuse = |what: &str| Err(LoadErrorKind::Family { what: what.to_owned() });
    match config.architecture {
        Architecture::Llama | Architecture::Qwen2 | Architecture::Qwen3 => {}
        other => return refuse(other.name()),
    }
    if config.windows.iter().any(Option::is_some) {
        return refuse("sliding-window attention");
    }
    let plain_scale = (config.head_size as f32).sqrt().recip();
    let is_plain = (config.attention_scale / plain_scale - 1.0).abs() < 1e-6;
    if !is_plain || config.attention_softcap.is_some() || config.logit_softcap.is_some() {
        return refuse("scaled or capped attention");
    }
    if config.embedding_scale != 1.0 || 2 * config.rope.frequencies.len() > config.head_size {
        return refuse("a scaled embedding");
    }
    Ok(())
}

fn attention(config: &DecoderConfig) -> Attention {
    let DecoderConfig { heads, kv_heads, head_size: size, .. } = *config;
    Attention { heads, kv_heads, size, causal: true, reach: None }
}

fn rotation(config: &DecoderConfig) -> Rotation {
    Rotation {
        frequencies: config.rope.frequencies.clone(),
        magnitude: config.rope.magnitude,
        size: config.head_size,
        heads: config.heads + config.kv_heads,
    }
}

struct Loader<'l> {
    config: &'l DecoderConfig,
    file: Arc<WeightFile>,
    is_gguf: bool,
    tuning: DecoderTuning,
}

/// One linear layer of a file: its GGUF name, its transformers name and its number of outputs.
type LinearPart = (&'static str, &'static str, usize);

impl Loader<'_> {
    fn name(&self, gguf: &str, transformers: &str) -> String {
        format!("{}.weight", if self.is_gguf { gguf } else { transformers })
    }

    /// Returns a tensor's numbers after checking that all are finite.
    fn tensor(&self, name: String, shape: &[usize]) -> Result<Vec<f32>, LoadErrorKind> {
        let numbers = self.file.require(&name, shape)?.to_f32()?;
        match numbers.iter().all(|number| number.is_finite()) {
            true => Ok(numbers),
            false => Err(LoadErrorKind::NotFinite { tensor: name }),
        }
    }

    fn norm(&self, gguf: &str, transformers: &str, width: usize) -> Result<RmsNorm, LoadErrorKind> {
        let gain = self.tensor(self.name(gguf, transformers), &[width])?;
        Ok(RmsNorm { gain: Gain::Frozen(gain), epsilon: self.config.norm_epsilon })
    }

    /// Checks that a tensor exists, has a supported type and is finite.
    fn check_rows(&self, piece: &LayerTensor, inputs: usize) -> Result<(), LoadErrorKind> {
        let view = self.file.require(&piece.tensor, &[piece.outputs, inputs])?;
        let mut row = vec![0.0; inputs];
        for index in 0..piece.outputs {
            view.write_row(index, &mut row)?;
            if !row.iter().all(|number| number.is_finite()) {
                return Err(LoadErrorKind::NotFinite { tensor: piece.tensor.clone() });
            }
        }
        Ok(())
    }

    fn matrix(
        &self,
        pieces: Vec<LayerTensor>,
        inputs: usize,
        form: BaseForm,
    ) -> Result<Arc<dyn Frozen>, LoadErrorKind> {
        pieces.iter().try_for_each(|piece| self.check_rows(piece, inputs))?;
        let outputs = pieces.iter().map(|piece| piece.outputs).sum();
        let rows = FileRows { file: Arc::clone(&self.file), pieces };
        Ok(match form {
            BaseForm::AsStored => Arc::new(Tiled::new(rows, outputs, inputs)),
            BaseForm::Wide => Arc::new(F32Matrix::new(rows.all(inputs), outputs, inputs)),
            BaseForm::Nf4 => {
                // Quantise each tensor separately: a block must not span two tensors.
                let parts: Vec<Nf4> = rows
                    .pieces
                    .iter()
                    .map(|piece| {
                        let only = FileRows { file: Arc::clone(&self.file), pieces: vec![piece.clone()] };
                        Nf4::new(&only.all(inputs), inputs)
                    })
                    .collect();
                Arc::new(Tiled::new(parts, outputs, inputs))
            }
        })
    }

    fn linear(
        &self,
        (index, parts, inputs): (usize, &[LinearPart], usize),
        (has_bias, site): (bool, u64),
        layout: &mut Layout,
    ) -> Result<Linear, LoadErrorKind> {
        let config = self.config;
        let is_interleaved = self.is_gguf && config.architecture == Architecture::Llama;
        let tensor = |part: &LinearPart| match self.is_gguf {
            true => format!("blk.{index}.{}", part.0),
            false => format!("model.layers.{index}.{}", part.1),
        };
        let piece = |part: &LinearPart| LayerTensor {
            tensor: format!("{}.weight", tensor(part)),
            outputs: part.2,
            interleaved: (is_interleaved && matches!(part.0, "attn_q" | "attn_k"))
                .then_some(config.head_size),
        };
        let pieces: Vec<LayerTensor> = parts.iter().map(piece).collect();
        let bias = has_bias.then(|| -> Result<Vec<f32>, LoadErrorKind> {
            let mut bias = Vec::new();
            for (part, piece) in parts.iter().zip(&pieces) {
                let found = self.tensor(format!("{}.bias", tensor(part)), &[part.2])?;
                bias.extend((0..part.2).map(|output| found[piece.row(output)]));
            }
            Ok(bias)
        });
        let matrix = self.matrix(pieces, inputs, self.tuning.form)?;
        let lora = self.tuning.lora;
        let mut add = |part: &LinearPart, half: &str, shape| {
            let name = format!("model.layers.{index}.{}.{half}.weight", part.1);
            layout.add(name, shape, true, ParameterGroup::Adapter)
        };
        let a: Vec<_> = parts.iter().map(|part| add(part, "lora_A", [lora.rank, inputs])).collect();
        let mut first = 0;
        let parts = parts.iter().map(|part| {
            first += part.2;
            LoraPart { b: add(part, "lora_B", [part.2, lora.rank]), first: first - part.2, outputs: part.2 }
        });
        let lora = Lora {
            rank: lora.rank,
            scale: lora.alpha / lora.rank as f32,
            parts: parts.collect(),
            a: a.first().map_or(0, |first| first.start)..a.last().map_or(0, |last| last.end),
            dropout: lora.lora_dropout,
            site: Site(8 * index as u64 + site),
        };
        let weight = Weight::Frozen(matrix, bias.transpose()?);
        Ok(Linear { outputs: first, inputs, weight, lora: Some(lora) })
    }

    fn block(&self, index: usize, layout: &mut Layout) -> Result<Block, LoadErrorKind> {
        let config = self.config;
        let (hidden, wide, biases) = (config.hidden, config.intermediate, config.biases);
        let (queries, keys) = (config.query_width(), config.kv_width());
        let qkv = [
            ("attn_q", "self_attn.q_proj", queries),
            ("attn_k", "self_attn.k_proj", keys),
            ("attn_v", "self_attn.v_proj", keys),
        ];
        let output = [("attn_output", "self_attn.o_proj", hidden)];
        let gate_up = [("ffn_gate", "mlp.gate_proj", wide), ("ffn_up", "mlp.up_proj", wide)];
        let down = [("ffn_down", "mlp.down_proj", hidden)];
        let norm = |gguf: &str, transformers: &str, width| {
            let (gguf, transformers) =
                (format!("blk.{index}.{gguf}"), format!("model.layers.{index}.{transformers}"));
            self.norm(&gguf, &transformers, width)
        };
        let head_norms = || -> Result<_, LoadErrorKind> {
            let size = config.head_size;
            Ok([
                norm("attn_q_norm", "self_attn.q_norm", size)?,
                norm("attn_k_norm", "self_attn.k_norm", size)?,
            ])
        };
        Ok(Block {
            attention: attention(config),
            attention_norm: norm("attn_norm", "input_layernorm", hidden)?,
            qkv: self.linear((index, &qkv, hidden), (biases.qkv, 1), layout)?,
            head_norms: (config.architecture == Architecture::Qwen3).then(head_norms).transpose()?,
            output: self.linear((index, &output, queries), (biases.output, 2), layout)?,
            feed_forward_norm: norm("ffn_norm", "post_attention_layernorm", hidden)?,
            gate_up: self.linear((index, &gate_up, hidden), (biases.feed_forward, 3), layout)?,
            down: self.linear((index, &down, wide), (biases.feed_forward, 4), layout)?,
        })
    }
}
