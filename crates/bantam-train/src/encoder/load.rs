//! From a base's weights to a network.

use std::sync::Arc;

use bantam_engine::{EncoderArchitecture as Architecture, EncoderConfig};
use bantam_weights::{DequantiseError, RequireTensorError, WeightFile};
use serde::{Deserialize, Serialize};

use super::EncoderNetwork;
use super::block::Block;
use crate::layout::{Layout, Pace};
use crate::ops::{Attention, F32Matrix, Linear, Lora, LoraPart, Norm, Site, Weight};

/// Settings of the low-rank changes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoraConfig {
    /// Rank of every change.
    pub rank: usize,
    /// A change counts alpha over rank times.
    pub alpha: f32,
    /// Share of a change's inputs that are dropped.
    pub lora_dropout: f32,
    /// Share of the numbers that are dropped after attention, the feed-forward part and the embedding.
    pub dropout: f32,
    /// Whether blocks are computed again on the way back: memory for one block instead of all, and a third more time.
    pub recompute: bool,
}

impl LoraConfig {
    /// Returns the first setting that makes no sense, as its name and what it must be.
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

/// Why a base cannot be trained on.
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
    /// A family whose way back is not written yet.
    #[error("only the BERT family is trained here so far, and this base is a ModernBERT")]
    Family,
    /// A tensor that is missing or has another shape than the configuration says.
    #[error("find a tensor")]
    Tensor(#[from] RequireTensorError),
    /// A tensor of a type that is not read here.
    #[error("read a tensor")]
    Dequantise(#[from] DequantiseError),
    /// A tensor with an infinite number, or none.
    #[error("the tensor {tensor} holds a number that is not finite")]
    NotFinite {
        /// Its name.
        tensor: String,
    },
}

impl LoadNetworkErrorKind {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Family => "use a base of the BERT family, or train with --tune none, which any base takes",
            _ => "the base's files do not fit each other: fetch it again",
        }
    }
}

impl EncoderNetwork {
    /// Returns the encoder of `config` with these weights, and adds its changes to `layout`.
    ///
    /// # Errors
    /// [`LoadNetworkError`], when the base is of another family or its tensors do not fit.
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
        if config.architecture != Architecture::Bert {
            return Err(LoadNetworkErrorKind::Family);
        }
        let is_inner = weights.tensor("bert.embeddings.LayerNorm.weight").is_some();
        let reader =
            Reader { config: &config, weights: &weights, prefix: if is_inner { "bert." } else { "" } };
        let width = config.hidden;
        let words = format!("{}embeddings.word_embeddings.weight", reader.prefix);
        weights.require(&words, &[config.vocabulary, width])?.write_row(0, &mut vec![0.0; width])?;
        let mut positions =
            reader.tensor("embeddings.position_embeddings.weight", &[config.positions, width])?;
        let types = reader.tensor("embeddings.token_type_embeddings.weight", &[config.token_types, width])?;
        for row in positions.chunks_exact_mut(width) {
            row.iter_mut().zip(&types).for_each(|(number, addend)| *number += addend);
        }
        let norm = reader.norm("embeddings.LayerNorm")?;
        let blocks: Result<Vec<Block>, _> =
            (0..config.layers).map(|index| reader.block(index, lora, layout)).collect();
        let blocks = blocks?;
        Ok(Self { config, words, positions, norm, blocks, lora, weights })
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

    fn norm(&self, name: &str) -> Result<Norm, LoadNetworkErrorKind> {
        let width = self.config.hidden;
        let gain = self.tensor(&format!("{name}.weight"), &[width])?;
        Ok(Norm::new(gain, self.tensor(&format!("{name}.bias"), &[width])?, self.config.norm_epsilon))
    }

    /// The layers of `names`, which have the same inputs, as one, each with a change of its own.
    fn linear(
        &self,
        names: &[String],
        (outputs, inputs): (usize, usize),
        (lora, site): (LoraConfig, u64),
        layout: &mut Layout,
    ) -> Result<Linear, LoadNetworkErrorKind> {
        let (mut weights, mut bias) = (Vec::new(), Vec::new());
        for name in names {
            weights.extend(self.tensor(&format!("{name}.weight"), &[outputs, inputs])?);
            bias.extend(self.tensor(&format!("{name}.bias"), &[outputs])?);
        }
        let mut add = |name: &String, half: &str, shape| {
            layout.add(format!("{name}.{half}.weight"), shape, true, Pace::Adapter)
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
        Ok(Linear { outputs: all, inputs, weight: Weight::Frozen(matrix, Some(bias)), lora: Some(lora) })
    }

    fn block(
        &self,
        index: usize,
        lora: LoraConfig,
        layout: &mut Layout,
    ) -> Result<Block, LoadNetworkErrorKind> {
        let (hidden, wide) = (self.config.hidden, self.config.intermediate);
        let named = |name: &str| format!("encoder.layer.{index}.{name}");
        let qkv = ["query", "key", "value"].map(|part| named(&format!("attention.self.{part}")));
        // Sites 8n + 1 to 8n + 6 are those of block n.
        let site = |place: u64| 8 * index as u64 + place;
        let heads = self.config.heads;
        Ok(Block {
            attention: Attention { heads, kv_heads: heads, size: hidden / heads, causal: false, reach: None },
            qkv: self.linear(&qkv, (hidden, hidden), (lora, site(1)), layout)?,
            output: self.linear(
                &[named("attention.output.dense")],
                (hidden, hidden),
                (lora, site(2)),
                layout,
            )?,
            attention_norm: self.norm(&named("attention.output.LayerNorm"))?,
            up: self.linear(&[named("intermediate.dense")], (wide, hidden), (lora, site(3)), layout)?,
            down: self.linear(&[named("output.dense")], (hidden, wide), (lora, site(4)), layout)?,
            output_norm: self.norm(&named("output.LayerNorm"))?,
            dropout: lora.dropout,
            sites: [Site(site(5)), Site(site(6))],
        })
    }
}
