//! One post-norm BERT block: attention, then a feed-forward layer.

use crate::ops::{
    Attention, AttentionScratch, Linear, LinearScratch, Noise, Norm, NormSaved, Site, add, dropout, fit,
    gelu, gelu_back,
};

use super::modern::Angles;

/// A BERT block with its adapters.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) attention: Attention,
    /// Queries, keys and values in one product.
    pub(super) qkv: Linear,
    pub(super) output: Linear,
    pub(super) attention_norm: Norm,
    pub(super) up: Linear,
    pub(super) down: Linear,
    pub(super) output_norm: Norm,
    /// Dropout rate after attention and after the feed-forward layer.
    pub(super) dropout: f32,
    pub(super) sites: [Site; 2],
}

/// What the backward pass needs besides the block's input.
#[derive(Debug, Default)]
pub(super) struct BlockSaved {
    /// The input of attention, if that is not the block's input.
    pub(super) normal: Vec<f32>,
    pub(super) qkv: Vec<f32>,
    pub(super) context: Vec<f32>,
    pub(super) attention_norm: NormSaved,
    /// The input of the feed-forward layer.
    pub(super) middle: Vec<f32>,
    /// Before the activation.
    pub(super) wide: Vec<f32>,
    /// After the activation.
    pub(super) active: Vec<f32>,
    /// Of the feed-forward layer's norm.
    pub(super) output_norm: NormSaved,
    /// Each linear layer's input after the adapter's `A`.
    pub(super) low: [Vec<f32>; 4],
}

/// Buffers that are only used within one call of a block.
#[derive(Debug, Default)]
pub(super) struct BlockBuffers {
    pub(super) wide: Vec<f32>,
    pub(super) narrow: Vec<f32>,
    pub(super) qkv: Vec<f32>,
}

/// What all blocks share about a batch.
#[derive(Clone, Copy)]
pub(super) struct BatchContext<'b> {
    pub(super) noise: Noise<'b>,
    pub(super) angles: &'b Angles,
}

/// A thread's buffers for a block.
pub(super) type BlockScratch<'s> = (&'s mut BlockBuffers, &'s mut AttentionScratch, &'s mut LinearScratch);

impl Block {
    /// Writes the output for the rows of `x`.
    pub(super) fn forward(
        &self,
        parameters: &[f32],
        x: &[f32],
        noise: Noise<'_>,
        y: &mut [f32],
        saved: &mut BlockSaved,
        (buffers, attention, linear): BlockScratch<'_>,
    ) {
        let rows = x.len() / self.qkv.inputs;
        let qkv = fit(&mut saved.qkv, rows * self.qkv.outputs);
        self.qkv.forward(parameters, (x, noise), qkv, &mut saved.low[0], linear);
        let context = fit(&mut saved.context, x.len());
        self.attention.forward(qkv, noise.ends, context, attention);
        let sums = fit(&mut buffers.narrow, x.len());
        self.output.forward(parameters, (context, noise), sums, &mut saved.low[1], linear);
        dropout(sums, self.dropout, noise, self.sites[0]);
        let middle = fit(&mut saved.middle, x.len());
        self.attention_norm.forward(x, sums, middle, &mut saved.attention_norm);

        let wide = fit(&mut saved.wide, rows * self.up.outputs);
        self.up.forward(parameters, (middle, noise), wide, &mut saved.low[2], linear);
        let active = fit(&mut saved.active, wide.len());
        gelu(wide, active);
        self.down.forward(parameters, (active, noise), sums, &mut saved.low[3], linear);
        dropout(sums, self.dropout, noise, self.sites[1]);
        self.output_norm.forward(middle, sums, y, &mut saved.output_norm);
    }

    /// Adds the adapters' gradients and, if `wants_input`, replaces the gradient of the outputs with that of `x`.
    #[expect(clippy::too_many_arguments, reason = "the backward pass needs every value of the forward pass")]
    pub(super) fn backward(
        &self,
        parameters: &[f32],
        x: &[f32],
        noise: Noise<'_>,
        (grad_rows, wants_input): (&mut [f32], bool),
        saved: &BlockSaved,
        gradient: &mut [f32],
        (buffers, attention, linear): BlockScratch<'_>,
    ) {
        let (all, rows) = (x.len(), x.len() / self.qkv.inputs);
        let [low_qkv, low_output, low_up, low_down] = &saved.low;
        self.output_norm.backward(grad_rows, &saved.output_norm);
        let narrow = fit(&mut buffers.narrow, all);
        narrow.copy_from_slice(grad_rows);
        dropout(narrow, self.dropout, noise, self.sites[1]);
        let count = rows * self.up.outputs;
        let wide = fit(&mut buffers.wide, count);
        let active = (&saved.active[..count], noise);
        self.down.backward(parameters, active, narrow, low_down, Some(wide), gradient, linear);
        gelu_back(&saved.wide[..count], wide);
        let middle = (&saved.middle[..all], noise);
        self.up.backward(parameters, middle, wide, low_up, Some(narrow), gradient, linear);
        add(grad_rows, narrow);

        self.attention_norm.backward(grad_rows, &saved.attention_norm);
        narrow.copy_from_slice(grad_rows);
        dropout(narrow, self.dropout, noise, self.sites[0]);
        let context = (&saved.context[..all], noise);
        let grad_context = fit(&mut buffers.wide, all);
        self.output.backward(parameters, context, narrow, low_output, Some(grad_context), gradient, linear);
        let count = rows * self.qkv.outputs;
        let qkv = fit(&mut buffers.qkv, count);
        self.attention.backward(&saved.qkv[..count], noise.ends, grad_context, qkv, attention);
        let grad_x = wants_input.then_some(&mut *narrow);
        self.qkv.backward(parameters, (x, noise), qkv, low_qkv, grad_x, gradient, linear);
        if wants_input {
            add(grad_rows, narrow);
        }
    }
}
