//! Builds a network from a base's weights.

use std::sync::Arc;

use bantam_engine::{EncoderArchitecture as Architecture, EncoderConfig, ModernBertConfig};
use bantam_weights::{DequantiseError, RequireTensorError, WeightFile};
use serde::{Deserialize, Serialize};

use super::block::Block;
use super::modern::{ModernBlock, Rotations};
use super::{EncoderNetwork, Stack};
use crate::layout::{Layout, ParameterGroup};
use crate::ops::{Attention, F32Matrix, Linear, Lora, LoraPart, Norm, Site, Weight, add};

/// Settings of the low-rank adapters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoraConfig {
    /// Rank of every adapter.
    pub rank: usize,
    /// An adapter's output is multiplied by alpha / rank.
    pub alpha: f32,
    /// Dropout rate of an adapter's inputs.
    pub lora_dropout: f32,
    /// Dropout rate after attention, the feed-forward layer and the embedding.
    pub dropout: f32,
    /// Whether the backward pass recomputes blocks: memory for one block instead of all, and a third more time.
    pub recompute: bool,
}

impl LoraConfig {
    /// Returns the name and the allowed range of the first setting that is out of range.
    pub fn fault(&self) -> Option<(&'static str, &'static str)> {
        let share = |share: f32| (0.0..0.9).contains(&share);
        let checks = [
            ((1..=1024).contains(&self.rank), "rank", "from 1 to 1,024"),
            (self.alpha > 0.0 && self.alpha <= 1e4, "alpha", "above 0 and at most 10,000"),
            (share(self.lora_dropout), "lora_dropout", "at least 0 and below 0.9"),
            (share(self.dropout), "dropout", "at least 0 and below 0.9"),
        ];
        checks.into_iter().find(|(fine, _, _)| !fine).map(|(_, name, range)| (name, range))
    }
}

/// Why a base cannot be trained.
#[derive(Debug, thiserror::Error)]
#[error("train on this base")]
pub struct LoadNetworkError {
    /// What is wrong with it.
    #[source]
    pub kind: LoadNetworkErrorKind,
}

/// What is wrong with a base.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadNetworkErrorKind {
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

impl LoadNetworkErrorKind {
    /// Returns what to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Tensor(_) | Self::Dequantise(_) | Self::NotFinite { .. } => {
                "the base's files do not belong together: fetch it again"
            }
        }
    }
}

impl EncoderNetwork {
    /// Returns the encoder of `config` with these weights, and adds its adapters to `layout`.
    ///
    /// # Errors
    /// [`LoadNetworkError`] if the base's tensors do not match the configuration.
    pub fn load(
        config: EncoderConfig,
        weights: WeightFile,
        lora: LoraConfig,
        layout: &mut Layout,
    ) -> Result<Self, LoadNetworkError> {
        Self::load_kind(config, weights, lora, layout).map_err(|kind| LoadNetworkError { kind })
    }

    fn load_kind(
        config: EncoderConfig,
        weights: WeightFile,
        lora: LoraConfig,
        layout: &mut Layout,
    ) -> Result<Self, LoadNetworkErrorKind> {
        let modern = match &config.architecture {
            Architecture::Bert => None,
            Architecture::ModernBert(modern) => Some(modern.clone()),
        };
        let (outer, words, norm) = match &modern {
            None => ("bert.", "embeddings.word_embeddings.weight", "embeddings.LayerNorm"),
            Some(_) => ("model.", "embeddings.tok_embeddings.weight", "embeddings.norm"),
        };
        let is_inner = weights.tensor(&format!("{outer}{words}")).is_some();
        let reader = Reader { config: &config, weights: &weights, prefix: if is_inner { outer } else { "" } };
        let words = format!("{}{words}", reader.prefix);
        let width = config.hidden;
        weights.require(&words, &[config.vocabulary, width])?.write_row(0, &mut vec![0.0; width])?;
        let norm = reader.norm(norm, modern.as_ref().is_none_or(|modern| modern.norm_bias))?;
        let (positions, stack) = match &modern {
            None => (reader.positions()?, Stack::Bert(reader.blocks(lora, layout)?)),
            Some(modern) => (Vec::new(), reader.modern(modern, lora, layout)?),
        };
        Ok(Self { config, words, positions, norm, stack, lora, weights })
    }
}

struct Reader<'r> {
    config: &'r EncoderConfig,
    weights: &'r WeightFile,
    prefix: &'static str,
}

impl Reader<'_> {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, LoadNetworkErrorKind> {
        let name = format!("{}{name}", self.prefix);
        let numbers = self.weights.require(&name, shape)?.to_f32()?;
        if numbers.iter().all(|number| number.is_finite()) {
            Ok(numbers)
        } else {
            Err(LoadNetworkErrorKind::NotFinite { tensor: name })
        }
    }

    /// Returns the position embeddings plus the first token type's.
    fn positions(&self) -> Result<Vec<f32>, LoadNetworkErrorKind> {
        let EncoderConfig { hidden, positions, token_types, .. } = *self.config;
        let mut rows = self.tensor("embeddings.position_embeddings.weight", &[positions, hidden])?;
        let types = self.tensor("embeddings.token_type_embeddings.weight", &[token_types, hidden])?;
        rows.chunks_exact_mut(hidden).for_each(|row| add(row, &types[..hidden]));
        Ok(rows)
    }

    fn norm(&self, name: &str, has_bias: bool) -> Result<Norm, LoadNetworkErrorKind> {
        let width = self.config.hidden;
        let gain = self.tensor(&format!("{name}.weight"), &[width])?;
        let bias = if has_bias { self.tensor(&format!("{name}.bias"), &[width])? } else { vec![0.0; width] };
        Ok(Norm::new(gain, bias, self.config.norm_epsilon))
    }

    /// Fuses the layers of `names`, which share their inputs, into one; each has an adapter of its own.
    fn linear(
        &self,
        (names, has_bias): (&[String], bool),
        (outputs, inputs): (usize, usize),
        (lora, site): (LoraConfig, u64),
        layout: &mut Layout,
    ) -> Result<Linear, LoadNetworkErrorKind> {
        let (mut weights, mut bias) = (Vec::new(), has_bias.then(Vec::new));
        for name in names {
            weights.extend(self.tensor(&format!("{name}.weight"), &[outputs, inputs])?);
            if let Some(bias) = &mut bias {
                bias.extend(self.tensor(&format!("{name}.bias"), &[outputs])?);
            }
        }
        let mut add = |name: &String, half: &str, shape| {
            layout.add(format!("{name}.{half}.weight"), shape, true, ParameterGroup::Adapter)
        };
        let a: Vec<_> = names.iter().map(|name| add(name, "lora_A", [lora.rank, inputs])).collect();
        let parts = names.iter().enumerate().map(|(index, name)| LoraPart {
            b: add(name, "lora_B", [outputs, lora.rank]),
            first: index * outputs,
            outputs,
        });
        let lora = Lora {
            rank: lora.rank,
            scale: lora.alpha / lora.rank as f32,
            parts: parts.collect(),
            a: a.first().map_or(0, |first| first.start)..a.last().map_or(0, |last| last.end),
            dropout: lora.lora_dropout,
            site: Site(site),
        };
        let all = outputs * names.len();
        let matrix = Arc::new(F32Matrix::new(weights, all, inputs));
        Ok(Linear { outputs: all, inputs, weight: Weight::Frozen(matrix, bias), lora: Some(lora) })
    }

    fn blocks(&self, lora: LoraConfig, layout: &mut Layout) -> Result<Vec<Block>, LoadNetworkErrorKind> {
        (0..self.config.layers).map(|index| self.block(index, lora, layout)).collect()
    }

    fn block(
        &self,
        index: usize,
        lora: LoraConfig,
        layout: &mut Layout,
    ) -> Result<Block, LoadNetworkErrorKind> {
        let (hidden, wide) = (self.config.hidden, self.config.intermediate);
        let named = |name: &str| format!("encoder.layer.{index}.{name}");
        let norm = |name: &str| self.norm(&named(name), true);
        let mut linear = |names: &[&str], shape, offset| {
            let names: Vec<String> = names.iter().map(|name| named(name)).collect();
            self.linear((&names, true), shape, (lora, site(index, offset)), layout)
        };
        Ok(Block {
            attention: self.attention(None),
            qkv: linear(
                &["attention.self.query", "attention.self.key", "attention.self.value"],
                (hidden, hidden),
                1,
            )?,
            output: linear(&["attention.output.dense"], (hidden, hidden), 2)?,
            attention_norm: norm("attention.output.LayerNorm")?,
            up: linear(&["intermediate.dense"], (wide, hidden), 3)?,
            down: linear(&["output.dense"], (hidden, wide), 4)?,
            output_norm: norm("output.LayerNorm")?,
            dropout: lora.dropout,
            sites: [5, 6].map(|offset| Site(site(index, offset))),
        })
    }

    fn modern(
        &self,
        modern: &ModernBertConfig,
        lora: LoraConfig,
        layout: &mut Layout,
    ) -> Result<Stack, LoadNetworkErrorKind> {
        let blocks: Result<Vec<ModernBlock>, _> =
            (0..self.config.layers).map(|index| self.modern_block(index, modern, lora, layout)).collect();
        let heads = self.config.heads;
        let rotations = Rotations::new(modern, heads, self.config.hidden / heads);
        Ok(Stack::Modern(blocks?, rotations, self.norm("final_norm", modern.norm_bias)?))
    }

    fn modern_block(
        &self,
        index: usize,
        modern: &ModernBertConfig,
        lora: LoraConfig,
        layout: &mut Layout,
    ) -> Result<ModernBlock, LoadNetworkErrorKind> {
        let (hidden, wide) = (self.config.hidden, self.config.intermediate);
        let named = |name: &str| format!("layers.{index}.{name}");
        let norm = |name: &str| self.norm(&named(name), modern.norm_bias);
        let mut linear = |name: &str, has_bias, shape, offset| {
            self.linear((&[named(name)], has_bias), shape, (lora, site(index, offset)), layout)
        };
        let is_global = modern.is_global[index];
        Ok(ModernBlock {
            is_global,
            attention: self.attention((!is_global).then_some(modern.local_reach)),
            attention_norm: (index > 0).then(|| norm("attn_norm")).transpose()?,
            qkv: linear("attn.Wqkv", modern.attention_bias, (3 * hidden, hidden), 1)?,
            output: linear("attn.Wo", modern.attention_bias, (hidden, hidden), 2)?,
            feed_forward_norm: norm("mlp_norm")?,
            up: linear("mlp.Wi", modern.mlp_bias, (2 * wide, hidden), 3)?,
            down: linear("mlp.Wo", modern.mlp_bias, (hidden, wide), 4)?,
            dropout: lora.dropout,
            sites: [5, 6].map(|offset| Site(site(index, offset))),
        })
    }

    fn attention(&self, reach: Option<usize>) -> Attention {
        let heads = self.config.heads;
        Attention { heads, kv_heads: heads, size: self.config.hidden / heads, causal: false, reach }
    }
}

/// Returns a dropout site of a block: block n has the sites 8n + 1 to 8n + 6.
fn site(index: usize, offset: u64) -> u64 {
    8 * index as u64 + offset
}
