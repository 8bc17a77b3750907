//! One layer: attention, then a feed-forward part, each added to what came in and normalised.

use bantam_kernels::{
    Activation, Addend, F32Linear, Heads, Int8Linear, LayerNorm, Pool, QuantisedRows, attention,
    quantise_rows,
};

use super::{EncoderConfig, EncoderScratch, Precision, fit};

/// A linear layer in the encoder's precision.
#[derive(Debug)]
pub(super) enum Linear {
    F32(F32Linear),
    Int8(Int8Linear),
}

impl Linear {
    pub(super) fn new(weights: &[f32], bias: &[f32], inputs: usize, precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32(F32Linear::new(weights, bias, inputs)),
            Precision::Int8 => Self::Int8(Int8Linear::quantise(weights, bias, inputs)),
        }
    }

    /// Takes the rows in whichever of the two forms it works on.
    fn forward(
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

    fn is_int8(&self) -> bool {
        matches!(self, Self::Int8(_))
    }
}

/// One layer.
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
    /// Replaces `scratch.hidden`, and in int8 also its bytes, by this layer's output.
    pub(super) fn forward(
        &self,
        config: &EncoderConfig,
        tokens: usize,
        pool: &Pool,
        scratch: &mut EncoderScratch,
    ) {
        let (width, wide) = (config.hidden, config.intermediate);
        let hidden = fit(&mut scratch.hidden, tokens * width);
        let hidden_bytes = &mut scratch.hidden_bytes;
        let sums = fit(&mut scratch.sums, tokens * width);

        let qkv = fit(&mut scratch.qkv, tokens * 3 * width);
        self.qkv.forward(pool, (hidden, hidden_bytes), Activation::None, qkv);
        let context = fit(&mut scratch.context, tokens * width);
        let heads = Heads { count: config.heads, size: width / config.heads };
        attention(pool, qkv, &scratch.ends, heads, &mut scratch.attention, context);
        let context_bytes = &mut scratch.context_bytes;
        if self.attention_output.is_int8() {
            quantise_rows(pool, context, width, context_bytes);
        }
        self.attention_output.forward(pool, (context, context_bytes), Activation::None, sums);
        let bytes = self.up.is_int8().then_some(&mut *hidden_bytes);
        self.attention_norm.forward(pool, hidden, Addend::Rows(sums), bytes);

        let inner = fit(&mut scratch.wide, tokens * wide);
        self.up.forward(pool, (hidden, hidden_bytes), Activation::Gelu, inner);
        let inner_bytes = &mut scratch.wide_bytes;
        if self.down.is_int8() {
            quantise_rows(pool, inner, wide, inner_bytes);
        }
        self.down.forward(pool, (inner, inner_bytes), Activation::None, sums);
        let bytes = self.qkv.is_int8().then_some(hidden_bytes);
        self.output_norm.forward(pool, hidden, Addend::Rows(sums), bytes);
    }
}
