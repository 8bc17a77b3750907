//! ModernBERT: norms before the parts, queries and keys turned to their positions, windows in most layers, a gated
//! feed-forward part. The sums run through all layers as they are; what parts see is normalised apart.

use bantam_kernels::{Activation, Addend, Heads, LayerNorm, Pool, RotationTable, Sight, attention, geglu};

use super::layer::{Linear, Part};
use super::{EncoderConfig, EncoderScratch, ModernBertConfig, fit};

/// Rotations of the two kinds of layers.
#[derive(Debug)]
pub(super) struct Rotations {
    global: RotationTable,
    local: RotationTable,
    local_reach: usize,
}

impl Rotations {
    pub(super) fn new(config: &EncoderConfig, modern: &ModernBertConfig) -> Self {
        let size = config.hidden / config.heads;
        let table = |base, is_global| {
            let is_used = modern.is_global.contains(&is_global);
            RotationTable::new(base, size, if is_used { config.positions } else { 0 })
        };
        Self {
            global: table(modern.global_base, true),
            local: table(modern.local_base, false),
            local_reach: modern.local_reach,
        }
    }

    fn sight(&self, is_global: bool) -> Sight<'_> {
        if is_global {
            return Sight { rotation: Some(&self.global), reach: None };
        }
        Sight { rotation: Some(&self.local), reach: Some(self.local_reach) }
    }
}

/// All layers, and the norm after them.
#[derive(Debug)]
pub(super) struct ModernBert {
    pub(super) rotations: Rotations,
    pub(super) layers: Vec<ModernLayer>,
    pub(super) final_norm: LayerNorm,
}

/// One layer.
#[derive(Debug)]
pub(super) struct ModernLayer {
    pub(super) is_global: bool,
    /// The first layer has none: what it sees was normalised as an embedding.
    pub(super) attention_norm: Option<LayerNorm>,
    /// Queries, keys and values in one product.
    pub(super) qkv: Linear,
    pub(super) attention_output: Linear,
    pub(super) mlp_norm: LayerNorm,
    /// What goes through GELU, then what it is multiplied by.
    pub(super) up: Linear,
    pub(super) down: Linear,
}

impl ModernBert {
    /// Replaces `scratch.hidden` by the states after the last norm; where the layers work on bytes,
    /// `scratch.hidden_bytes` hold those of the embeddings.
    pub(super) fn forward(
        &self,
        config: &EncoderConfig,
        tokens: usize,
        pool: &Pool,
        scratch: &mut EncoderScratch,
    ) {
        for layer in &self.layers {
            layer.forward(config, (tokens, &self.rotations), pool, scratch, |_, _| {});
        }
        let all = tokens * config.hidden;
        let hidden = fit(&mut scratch.hidden, all);
        self.final_norm.forward(pool, hidden, Addend::Rows(&scratch.sums[..all]), None);
    }
}

impl ModernLayer {
    /// Adds the layer before, which left what it adds in `scratch.sums`, and this layer's attention to
    /// `scratch.hidden`, and leaves what its feed-forward part adds in `scratch.sums`. `observe` sees inputs of
    /// parts.
    pub(super) fn forward(
        &self,
        config: &EncoderConfig,
        (tokens, rotations): (usize, &Rotations),
        pool: &Pool,
        scratch: &mut EncoderScratch,
        mut observe: impl FnMut(Part, &[f32]),
    ) {
        let (width, wide) = (config.hidden, config.intermediate);
        let hidden = fit(&mut scratch.hidden, tokens * width);
        let bytes = &mut scratch.hidden_bytes;
        let sums = fit(&mut scratch.sums, tokens * width);
        let normed = fit(&mut scratch.normed, tokens * width);

        let input = match &self.attention_norm {
            None => &*hidden,
            Some(norm) => {
                norm.forward_apart(pool, hidden, Addend::Rows(sums), normed, self.qkv.wanting(bytes));
                &*normed
            }
        };
        observe(Part::Qkv, input);
        let qkv = fit(&mut scratch.qkv, tokens * 3 * width);
        self.qkv.forward(pool, (input, bytes), Activation::None, qkv);
        let context = fit(&mut scratch.context, tokens * width);
        let heads = Heads { count: config.heads, size: width / config.heads };
        let sight = rotations.sight(self.is_global);
        attention(pool, qkv, &scratch.ends, (heads, sight), &mut scratch.attention, context);
        let context_bytes = &mut scratch.context_bytes;
        self.attention_output.quantise(pool, context, context_bytes);
        self.attention_output.forward(pool, (context, context_bytes), Activation::None, sums);
        self.mlp_norm.forward_apart(pool, hidden, Addend::Rows(sums), normed, self.up.wanting(bytes));

        observe(Part::Up, normed);
        let both = fit(&mut scratch.wide, tokens * 2 * wide);
        self.up.forward(pool, (normed, bytes), Activation::None, both);
        let inner = fit(&mut scratch.gated, tokens * wide);
        let inner_bytes = &mut scratch.wide_bytes;
        geglu(pool, both, wide, inner, self.down.wanting(inner_bytes));
        observe(Part::Down, inner);
        self.down.forward(pool, (inner, inner_bytes), Activation::None, sums);
    }
}
