//! One pre-norm decoder block: attention, then a gated feed-forward layer.

use crate::ops::{
    Attention, AttentionScratch, Direction, Linear, LinearScratch, Noise, RmsNorm, Rotation, Runs, add, fit,
    silu_gate, silu_gate_back,
};

/// A block with its adapters.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) attention: Attention,
    pub(super) attention_norm: RmsNorm,
    /// Queries, keys and values in one product.
    pub(super) qkv: Linear,
    /// Norms of each head's queries and keys, applied before the rotation.
    pub(super) head_norms: Option<[RmsNorm; 2]>,
    pub(super) output: Linear,
    pub(super) feed_forward_norm: RmsNorm,
    /// Gate and up in one product.
    pub(super) gate_up: Linear,
    pub(super) down: Linear,
}

/// What the backward pass needs besides the block's input.
#[derive(Debug, Default)]
pub(super) struct BlockSaved {
    normal: Vec<f32>,
    /// Queries, keys and values before the head norms; empty without them.
    plain: Vec<f32>,
    /// The input of attention.
    qkv: Vec<f32>,
    context: Vec<f32>,
    /// The residual stream between attention and feed-forward.
    middle: Vec<f32>,
    middle_normal: Vec<f32>,
    gate_up: Vec<f32>,
    active: Vec<f32>,
    /// The scale factors of the norms: attention, queries, keys, feed-forward.
    factors: [Vec<f32>; 4],
    /// Each linear layer's input after the adapter's `A`.
    low: [Vec<f32>; 4],
}

/// A thread's buffers for a block.
#[derive(Debug, Default)]
pub(super) struct BlockScratch {
    pub(super) wide: Vec<f32>,
    pub(super) narrow: Vec<f32>,
    pub(super) qkv: Vec<f32>,
    pub(super) attention: AttentionScratch,
    pub(super) linear: LinearScratch,
}

/// What all blocks share about a batch.
#[derive(Clone, Copy)]
pub(super) struct BatchContext<'b> {
    pub(super) noise: Noise<'b>,
    pub(super) rotation: &'b Rotation,
    pub(super) angles: &'b [f32],
}

impl Block {
    /// Returns how many numbers [`BlockSaved`] holds per token, not counting the norms' few factors.
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

    /// Returns where the query heads and the key heads lie in a row.
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
        batch: BatchContext<'_>,
        y: &mut [f32],
        saved: &mut BlockSaved,
        work: &mut BlockScratch,
    ) {
        let (width, linear) = (self.qkv.inputs, &mut work.linear);
        let count = x.len() / width;
        let normal = fit(&mut saved.normal, x.len());
        self.attention_norm.forward(parameters, x, normal, Runs::rows(width), &mut saved.factors[0]);
        let qkv = fit(&mut saved.qkv, count * self.qkv.outputs);
        self.qkv.forward(parameters, (normal, batch.noise), qkv, &mut saved.low[0], linear);
        if let Some([queries, keys]) = &self.head_norms {
            let plain = fit(&mut saved.plain, qkv.len());
            plain.copy_from_slice(qkv);
            let [query_runs, key_runs] = self.head_runs();
            queries.forward(parameters, plain, qkv, query_runs, &mut saved.factors[1]);
            keys.forward(parameters, plain, qkv, key_runs, &mut saved.factors[2]);
        }
        batch.rotation.turn(qkv, self.qkv.outputs, batch.angles, Direction::Forward);
        let context = fit(&mut saved.context, count * self.output.inputs);
        self.attention.forward(qkv, batch.noise.ends, context, &mut work.attention);
        let middle = fit(&mut saved.middle, x.len());
        self.output.forward(parameters, (context, batch.noise), middle, &mut saved.low[1], linear);
        add(middle, x);

        let normal = fit(&mut saved.middle_normal, x.len());
        self.feed_forward_norm.forward(parameters, middle, normal, Runs::rows(width), &mut saved.factors[3]);
        let gate_up = fit(&mut saved.gate_up, count * self.gate_up.outputs);
        self.gate_up.forward(parameters, (normal, batch.noise), gate_up, &mut saved.low[2], linear);
        let active = fit(&mut saved.active, count * self.down.inputs);
        silu_gate(gate_up, self.down.inputs, active);
        self.down.forward(parameters, (active, batch.noise), y, &mut saved.low[3], linear);
        add(y, middle);
    }

    /// Adds the parameters' gradients and replaces the gradient of the outputs with that of `x`.
    #[expect(clippy::too_many_arguments, reason = "the backward pass needs every value of the forward pass")]
    pub(super) fn backward(
        &self,
        parameters: &[f32],
        x: &[f32],
        batch: BatchContext<'_>,
        grad_rows: &mut [f32],
        saved: &BlockSaved,
        gradient: &mut [f32],
        work: &mut BlockScratch,
    ) {
        let (all, width, linear) = (x.len(), self.qkv.inputs, &mut work.linear);
        let count = all / width;
        let [low_qkv, low_output, low_up, low_down] = &saved.low;
        let narrow = fit(&mut work.narrow, all);
        let active = (&saved.active[..count * self.down.inputs], batch.noise);
        let grad_active = fit(&mut work.qkv, active.0.len());
        self.down.backward(parameters, active, grad_rows, low_down, Some(grad_active), gradient, linear);
        let wide = fit(&mut work.wide, count * self.gate_up.outputs);
        silu_gate_back(&saved.gate_up[..wide.len()], self.down.inputs, grad_active, wide);
        let normal = (&saved.middle_normal[..all], batch.noise);
        self.gate_up.backward(parameters, normal, wide, low_up, Some(narrow), gradient, linear);
        let (middle, norm) = (&saved.middle[..all], &self.feed_forward_norm);
        norm.backward(parameters, middle, narrow, Runs::rows(width), &saved.factors[3], gradient);
        add(grad_rows, narrow);

        let context = (&saved.context[..count * self.output.inputs], batch.noise);
        let grad_context = fit(&mut work.wide, context.0.len());
        self.output.backward(
            parameters,
            context,
            grad_rows,
            low_output,
            Some(grad_context),
            gradient,
            linear,
        );
        let grad_qkv = fit(&mut work.qkv, count * self.qkv.outputs);
        let qkv = &saved.qkv[..grad_qkv.len()];
        self.attention.backward(qkv, batch.noise.ends, grad_context, grad_qkv, &mut work.attention);
        batch.rotation.turn(grad_qkv, self.qkv.outputs, batch.angles, Direction::Back);
        if let Some([queries, keys]) = &self.head_norms {
            let [query_runs, key_runs] = self.head_runs();
            let plain = &saved.plain[..grad_qkv.len()];
            queries.backward(parameters, plain, grad_qkv, query_runs, &saved.factors[1], gradient);
            keys.backward(parameters, plain, grad_qkv, key_runs, &saved.factors[2], gradient);
        }
        let normal = (&saved.normal[..all], batch.noise);
        self.qkv.backward(parameters, normal, grad_qkv, low_qkv, Some(narrow), gradient, linear);
        self.attention_norm.backward(parameters, x, narrow, Runs::rows(width), &saved.factors[0], gradient);
        add(grad_rows, narrow);
    }
}
