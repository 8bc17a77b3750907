//! One BERT layer: attention, then a feed-forward part, each with a residual connection and a norm after it.

use bantam_kernels::{
    Activation, Addend, AttentionScope, F32Linear, Heads, Int8Linear, LayerNorm, Pool, QuantisedRows,
    attention, quantise_rows,
};

use super::{EncoderConfig, EncoderScratch, resized};

/// A linear layer in the encoder's precision.
#[derive(Debug)]
pub(super) enum Linear {
    F32(F32Linear),
    Int8(Int8Linear),
}

impl Linear {
    /// Takes the rows in both forms and uses the one that it works on.
    pub(super) fn forward(
        &self,
        pool: &Pool,
        rows: (&[f32], &QuantisedRows),
        activation: Activation,
        outputs: &mut [f32],
    ) {
        match self {
            Self::F32(layer) => layer.forward(pool, rows.0, activation, outputs),
            Self::Int8(layer) => layer.forward(pool, rows.1, activation, outputs),
        }
    }

    /// Quantises its input rows, if it works on bytes.
    pub(super) fn quantise(&self, pool: &Pool, rows: &mut [f32], bytes: &mut QuantisedRows) {
        if let Self::Int8(layer) = self {
            quantise_rows(pool, rows, layer, bytes);
        }
    }

    /// Returns what a norm needs to quantise this layer's inputs, if it works on bytes.
    pub(super) fn quantise_target<'l>(
        &'l self,
        bytes: &'l mut QuantisedRows,
    ) -> Option<(&'l Int8Linear, &'l mut QuantisedRows)> {
        match self {
            Self::F32(_) => None,
            Self::Int8(layer) => Some((layer, bytes)),
        }
    }
}

/// A linear layer whose inputs have outliers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ObservedInput {
    Qkv,
    Up,
    Down,
}

/// One BERT layer.
#[derive(Debug)]
pub(super) struct Layer {
    /// Queries, keys and values in one product.
    pub(super) qkv: Linear,
    pub(super) attention_output: Linear,
    pub(super) attention_norm: LayerNorm,
    pub(super) up: Linear,
    pub(super) down: Linear,
    pub(super) output_norm: LayerNorm,
}

impl Layer {
    /// Replaces `scratch.hidden` by this layer's output. If the layers work on bytes, `scratch.hidden_bytes` holds
    /// the quantised input, and afterwards the quantised output for `next`. `observe` sees the inputs of linear
    /// layers.
    pub(super) fn forward(
        &self,
        config: &EncoderConfig,
        (tokens, next): (usize, Option<&Self>),
        pool: &Pool,
        scratch: &mut EncoderScratch,
        mut observe: impl FnMut(ObservedInput, &[f32]),
    ) {
        let (width, wide) = (config.hidden, config.intermediate);
        let hidden = resized(&mut scratch.hidden, tokens * width);
        let hidden_bytes = &mut scratch.hidden_bytes;
        let sums = resized(&mut scratch.sums, tokens * width);

        observe(ObservedInput::Qkv, hidden);
        let qkv = resized(&mut scratch.qkv, tokens * 3 * width);
        self.qkv.forward(pool, (hidden, hidden_bytes), Activation::None, qkv);
        let context = resized(&mut scratch.context, tokens * width);
        let heads = Heads { count: config.heads, size: width / config.heads };
        attention(
            pool,
            qkv,
            &scratch.ends,
            (heads, AttentionScope::default()),
            &mut scratch.attention,
            context,
        );
        let context_bytes = &mut scratch.context_bytes;
        self.attention_output.quantise(pool, context, context_bytes);
        self.attention_output.forward(pool, (context, context_bytes), Activation::None, sums);
        let bytes = self.up.quantise_target(hidden_bytes);
        self.attention_norm.forward(pool, hidden, Addend::Rows(sums), bytes);

        observe(ObservedInput::Up, hidden);
        let inner = resized(&mut scratch.wide, tokens * wide);
        self.up.forward(pool, (hidden, hidden_bytes), Activation::Gelu, inner);
        observe(ObservedInput::Down, inner);
        let inner_bytes = &mut scratch.wide_bytes;
        self.down.quantise(pool, inner, inner_bytes);
        self.down.forward(pool, (inner, inner_bytes), Activation::None, sums);
        let bytes = next.and_then(|next| next.qkv.quantise_target(hidden_bytes));
        self.output_norm.forward(pool, hidden, Addend::Rows(sums), bytes);
    }
}
