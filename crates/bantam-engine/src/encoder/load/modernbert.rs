//! Reads the weights of a ModernBERT.

use bantam_kernels::LayerNorm;

use crate::encoder::embeddings::Embeddings;
use crate::encoder::layer::Linear;
use crate::encoder::modernbert::{ModernBert, ModernLayer, Rotations};
use crate::encoder::outliers::{Outliers, Probe};
use crate::encoder::{Encoder, EncoderConfig, ModernBertConfig, Precision, Stack};

use super::{LoadEncoderErrorKind, RawLinear, Reader};

/// Name prefixes of the encoder's tensors; others belong to the layers trained on top.
const PARTS: [&str; 3] = ["embeddings.", "layers.", "final_norm."];

/// Reads a ModernBERT, with or without the prefix `model.`.
pub(super) fn load(
    reader: &Reader<'_>,
    config: &EncoderConfig,
    modern: &ModernBertConfig,
) -> Result<Encoder, LoadEncoderErrorKind> {
    let precision = reader.precision;
    let words = reader.tensor("embeddings.tok_embeddings.weight", &[config.vocabulary, config.hidden])?;
    let embeddings = Embeddings::of_words(words, config.hidden, precision);
    let norm = reader.norm("embeddings.norm", modern.norm_bias)?;
    let rotations = Rotations::new(config, modern);
    let mut probe = Probe::new(config, &embeddings, &norm);
    let mut layers = Vec::with_capacity(config.layers);
    for (index, is_global) in modern.is_global.iter().enumerate() {
        let raw = RawLayer::read(reader, (config, modern), index, *is_global)?;
        layers.push(match precision {
            Precision::F32 => raw.layer(RawLinear::to_f32, &Outliers::default()),
            Precision::Int8 => {
                let exact = raw.layer(RawLinear::to_f32, &Outliers::default());
                let outliers = probe.pass(config, |tokens, pool, scratch, observe| {
                    exact.forward(config, (tokens, &rotations), pool, scratch, observe);
                });
                raw.layer(RawLinear::to_int8, &outliers)
            }
        });
    }
    let final_norm = reader.norm("final_norm", modern.norm_bias)?;
    reader.check_all_read(&PARTS)?;
    let stack = Stack::ModernBert(ModernBert { rotations, layers, final_norm });
    Ok(Encoder { config: config.clone(), precision, embeddings, norm, stack })
}

/// A ModernBERT layer as stored in the file.
struct RawLayer {
    is_global: bool,
    attention_norm: Option<LayerNorm>,
    qkv: RawLinear,
    attention_output: RawLinear,
    mlp_norm: LayerNorm,
    up: RawLinear,
    down: RawLinear,
}

impl RawLayer {
    fn read(
        reader: &Reader<'_>,
        (config, modern): (&EncoderConfig, &ModernBertConfig),
        index: usize,
        is_global: bool,
    ) -> Result<Self, LoadEncoderErrorKind> {
        let (hidden, wide) = (config.hidden, config.intermediate);
        let named = |name: &str| [format!("layers.{index}.{name}")];
        let norm = |name| reader.norm(&named(name)[0], modern.norm_bias);
        let attention = modern.attention_bias;
        Ok(Self {
            is_global,
            attention_norm: if index == 0 { None } else { Some(norm("attn_norm")?) },
            qkv: reader.linear(&named("attn.Wqkv"), 3 * hidden, hidden, attention)?,
            attention_output: reader.linear(&named("attn.Wo"), hidden, hidden, attention)?,
            mlp_norm: norm("mlp_norm")?,
            up: reader.linear(&named("mlp.Wi"), 2 * wide, hidden, modern.mlp_bias)?,
            down: reader.linear(&named("mlp.Wo"), hidden, wide, modern.mlp_bias)?,
        })
    }

    /// Builds the layer, using `linear` to build its linear layers from their exact inputs.
    fn layer(&self, linear: impl Fn(&RawLinear, &[usize]) -> Linear, outliers: &Outliers) -> ModernLayer {
        ModernLayer {
            is_global: self.is_global,
            attention_norm: self.attention_norm.clone(),
            qkv: linear(&self.qkv, &outliers.qkv),
            // The output of attention has no outliers that are the same for every token.
            attention_output: linear(&self.attention_output, &[]),
            mlp_norm: self.mlp_norm.clone(),
            up: linear(&self.up, &outliers.up),
            down: linear(&self.down, &outliers.down),
        }
    }
}
