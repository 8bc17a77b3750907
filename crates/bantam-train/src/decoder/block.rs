//! One block of a decoder: attention, then a gated feed-forward part, each over a norm of what it is added to.

use crate::ops::{
    Attention, AttentionScratch, Linear, LinearScratch, Noise, RmsNorm, Rotation, Runs, Turn, add, fit,
    silu_gate, silu_gate_back,
};

/// A block with its changes.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) attention: Attention,
    pub(super) attention_norm: RmsNorm,
    /// Queries, keys and values in one product.
    pub(super) qkv: Linear,
    /// Norms of each head's queries and keys, before they are turned.
    pub(super) head_norms: Option<[RmsNorm; 2]>,
    pub(super) output: Linear,
    pub(super) feed_forward_norm: RmsNorm,
    /// Gate and up in one product.
    pub(super) gate_up: Linear,
    pub(super) down: Linear,
}

/// What the way back needs, beside the block's input.
#[derive(Debug, Default)]
pub(super) struct BlockSaved {
    normal: Vec<f32>,
    /// Before the heads' norms; empty without them.
    plain: Vec<f32>,
    /// As attention saw it.
    qkv: Vec<f32>,
    context: Vec<f32>,
    /// What the feed-forward part is added to.
    middle: Vec<f32>,
    middle_normal: Vec<f32>,
    gate_up: Vec<f32>,
    active: Vec<f32>,
    /// Of the norms: before attention, of queries, of keys, before the feed-forward part.
    factors: [Vec<f32>; 4],
    /// Of each linear layer.
    low: [Vec<f32>; 4],
}

/// What a thread works in.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) wide: Vec<f32>,
    pub(super) narrow: Vec<f32>,
    pub(super) qkv: Vec<f32>,
    pub(super) attention: AttentionScratch,
    pub(super) linear: LinearScratch,
}

/// What all blocks see of a batch.
#[derive(Clone, Copy)]
pub(super) struct Rows<'r> {
    pub(super) noise: Noise<'r>,
    pub(super) rotation: &'r Rotation,
    pub(super) angles: &'r [f32],
}

impl Block {
    /// Returns how many numbers of a token [`BlockSaved`] holds, but for a few of its norms.
    pub(super) fn kept_per_token(&self) -> usize {
        let layers = [&self.qkv, &self.output, &self.gate_up, &self.down];
        let low: usize = layers
            .iter()
            .filter_map(|layer| layer.lora.as_ref())
            .map(|lora| lora.rank * lora.parts.len())
            .sum();
        let plain = if self.head_norms.is_some() { self.qkv.outputs } else { 0 };
        3 * self.qkv.inputs
            + plain
            + self.qkv.outputs
            + self.output.inputs
            + self.gate_up.outputs
            + self.down.inputs
            + low
    }

    /// Returns where the heads of queries and of keys lie.
    fn head_runs(&self) -> [Runs; 2] {
        let Attention { heads, kv_heads, size, .. } = self.attention;
        let runs = |first, count| Runs { step: self.qkv.outputs, first, count };
        [runs(0, heads), runs(heads * size, kv_heads)]
    }

    /// Writes the output for the rows of `x`.
    pub(super) fn forward(
        &self,
        parameters: &[f32],
        x: &[f32],
        rows: Rows<'_>,
        y: &mut [f32],
        saved: &mut BlockSaved,
        work: &mut Work,
    ) {
        let (width, linear) = (self.qkv.inputs, &mut work.linear);
        let count = x.len() / width;
        let normal = fit(&mut saved.normal, x.len());
        self.attention_norm.forward(parameters, x, normal, Runs::rows(width), &mut saved.factors[0]);
        let qkv = fit(&mut saved.qkv, count * self.qkv.outputs);
        self.qkv.forward(parameters, (normal, rows.noise), qkv, &mut saved.low[0], linear);
        if let Some([queries, keys]) = &self.head_norms {
            let plain = fit(&mut saved.plain, qkv.len());
            plain.copy_from_slice(qkv);
            let [of_queries, of_keys] = self.head_runs();
            queries.forward(parameters, plain, qkv, of_queries, &mut saved.factors[1]);
            keys.forward(parameters, plain, qkv, of_keys, &mut saved.factors[2]);
        }
        rows.rotation.turn(qkv, self.qkv.outputs, rows.angles, Turn::Forward);
        let context = fit(&mut saved.context, count * self.output.inputs);
        self.attention.forward(qkv, rows.noise.ends, context, &mut work.attention);
        let middle = fit(&mut saved.middle, x.len());
        self.output.forward(parameters, (context, rows.noise), middle, &mut saved.low[1], linear);
        add(middle, x);

        let normal = fit(&mut saved.middle_normal, x.len());
        self.feed_forward_norm.forward(parameters, middle, normal, Runs::rows(width), &mut saved.factors[3]);
        let gate_up = fit(&mut saved.gate_up, count * self.gate_up.outputs);
        self.gate_up.forward(parameters, (normal, rows.noise), gate_up, &mut saved.low[2], linear);
        let active = fit(&mut saved.active, count * self.down.inputs);
        silu_gate(gate_up, self.down.inputs, active);
        self.down.forward(parameters, (active, rows.noise), y, &mut saved.low[3], linear);
        add(y, middle);
    }

    /// Adds the parameters' gradients and turns the gradient of the outputs into that of `x`, in place.
    #[expect(clippy::too_many_arguments, reason = "they are the values of one step back")]
    pub(super) fn backward(
        &self,
        parameters: &[f32],
        x: &[f32],
        rows: Rows<'_>,
        of_rows: &mut [f32],
        saved: &BlockSaved,
        gradient: &mut [f32],
        work: &mut Work,
    ) {
        let (all, width, linear) = (x.len(), self.qkv.inputs, &mut work.linear);
        let count = all / width;
        let [low_qkv, low_output, low_up, low_down] = &saved.low;
        let narrow = fit(&mut work.narrow, all);
        let active = (&saved.active[..count * self.down.inputs], rows.noise);
        let of_active = fit(&mut work.qkv, active.0.len());
        self.down.backward(parameters, active, of_rows, low_down, Some(of_active), gradient, linear);
        let wide = fit(&mut work.wide, count * self.gate_up.outputs);
        silu_gate_back(&saved.gate_up[..wide.len()], self.down.inputs, of_active, wide);
        let normal = (&saved.middle_normal[..all], rows.noise);
        self.gate_up.backward(parameters, normal, wide, low_up, Some(narrow), gradient, linear);
        let (middle, norm) = (&saved.middle[..all], &self.feed_forward_norm);
        norm.backward(parameters, middle, narrow, Runs::rows(width), &saved.factors[3], gradient);
        add(of_rows, narrow);

        let context = (&saved.context[..count * self.output.inputs], rows.noise);
        let of_context = fit(&mut work.wide, context.0.len());
        self.output.backward(parameters, context, of_rows, low_output, Some(of_context), gradient, linear);
        let of_qkv = fit(&mut work.qkv, count * self.qkv.outputs);
        let qkv = &saved.qkv[..of_qkv.len()];
        self.attention.backward(qkv, rows.noise.ends, of_context, of_qkv, &mut work.attention);
        rows.rotation.turn(of_qkv, self.qkv.outputs, rows.angles, Turn::Back);
        if let Some([queries, keys]) = &self.head_norms {
            let [of_queries, of_keys] = self.head_runs();
            let plain = &saved.plain[..of_qkv.len()];
            queries.backward(parameters, plain, of_qkv, of_queries, &saved.factors[1], gradient);
            keys.backward(parameters, plain, of_qkv, of_keys, &saved.factors[2], gradient);
        }
        let normal = (&saved.normal[..all], rows.noise);
        self.qkv.backward(parameters, normal, of_qkv, low_qkv, Some(narrow), gradient, linear);
        self.attention_norm.backward(parameters, x, narrow, Runs::rows(width), &saved.factors[0], gradient);
        add(of_rows, narrow);
    }
}
