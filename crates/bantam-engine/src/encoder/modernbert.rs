//! ModernBERT: pre-norm, rotary positions, windows in most layers, a gated feed-forward part. The residual stream
//! passes through all layers unnormalised.

use bantam_kernels::{
    Activation, Addend, AttentionScope, Heads, LayerNorm, Pool, RotationTable, attention, geglu,
};

use super::layer::{Linear, ObservedInput};
use super::{EncoderConfig, EncoderScratch, ModernBertConfig, resized};

/// The rotations of global and local layers.
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

    fn scope(&self, is_global: bool) -> AttentionScope<'_> {
        if is_global {
            return AttentionScope { rotation: Some(&self.global), reach: None };
        }
        AttentionScope { rotation: Some(&self.local), reach: Some(self.local_reach) }
    }
}

/// All layers, and the norm after them.
#[derive(Debug)]
pub(super) struct ModernBert {
    pub(super) rotations: Rotations,
    pub(super) layers: Vec<ModernLayer>,
    pub(super) final_norm: LayerNorm,
}

/// One ModernBERT layer.
#[derive(Debug)]
pub(super) struct ModernLayer {
    pub(super) is_global: bool,
    /// The first layer has none: its input was normalised with the embeddings.
    pub(super) attention_norm: Option<LayerNorm>,
    /// Queries, keys and values in one product.
    pub(super) qkv: Linear,
    pub(super) attention_output: Linear,
    pub(super) mlp_norm: LayerNorm,
    /// The gates for GELU, then the values that they multiply.
    pub(super) up: Linear,
    pub(super) down: Linear,
}

impl ModernBert {
    /// Replaces `scratch.hidden` by the states after the last norm. If the layers work on bytes,
    /// `scratch.hidden_bytes` holds the quantised embeddings.
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
        let hidden = resized(&mut scratch.hidden, all);
        self.final_norm.forward(pool, hidden, Addend::Rows(&scratch.sums[..all]), None);
    }
}

impl ModernLayer {
    /// Adds the previous layer's output from `scratch.sums` and this layer's attention to `scratch.hidden`, and
    /// leaves the output of its feed-forward part in `scratch.sums`. `observe` sees the inputs of linear layers.
    pub(super) fn forward(
        &self,
        config: &EncoderConfig,
        (tokens, rotations): (usize, &Rotations),
        pool: &Pool,
        scratch: &mut EncoderScratch,
        mut observe: impl FnMut(ObservedInput, &[f32]),
    ) {
        let (width, wide) = (config.hidden, config.intermediate);
        let hidden = resized(&mut scratch.hidden, tokens * width);
        let bytes = &mut scratch.hidden_bytes;
        let sums = resized(&mut scratch.sums, tokens * width);
        let normed = resized(&mut scratch.normed, tokens * width);

        let input = match &self.attention_norm {
            None => &*hidden,
            Some(norm) => {
                norm.forward_apart(pool, hidden, Addend::Rows(sums), normed, self.qkv.quantise_target(bytes));
                &*normed
            }
        };
        observe(ObservedInput::Qkv, input);
        let qkv = resized(&mut scratch.qkv, tokens * 3 * width);
        self.qkv.forward(pool, (input, bytes), Activation::None, qkv);
        let context = resized(&mut scratch.context, tokens * width);
        let heads = Heads { count: config.heads, size: width / config.heads };
        let scope = rotations.scope(self.is_global);
        attention(pool, qkv, &scratch.ends, (heads, scope), &mut scratch.attention, context);
        let context_bytes = &mut scratch.context_bytes;
        self.attention_output.quantise(pool, context, context_bytes);
        self.attention_output.forward(pool, (context, context_bytes), Activation::None, sums);
        self.mlp_norm.forward_apart(pool, hidden, Addend::Rows(sums), normed, self.up.quantise_target(bytes));

        observe(ObservedInput::Up, normed);
        let both = resized(&mut scratch.wide, tokens * 2 * wide);
        self.up.forward(pool, (normed, bytes), Activation::None, both);
        let inner = resized(&mut scratch.gated, tokens * wide);
        let inner_bytes = &mut scratch.wide_bytes;
        geglu(pool, both, wide, inner, self.down.quantise_target(inner_bytes));
        observe(ObservedInput::Down, inner);
        self.down.forward(pool, (inner, inner_bytes), Activation::None, sums);
    }
}
