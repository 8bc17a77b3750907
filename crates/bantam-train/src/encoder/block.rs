//! One block of a BERT: attention, then a feed-forward part, each added to what came in and normalised.

use crate::ops::{
    Attention, AttentionScratch, Linear, LinearScratch, Noise, Norm, NormSaved, Site, add, dropout, fit,
    gelu, gelu_back,
};

use super::modern::Angles;

/// A block of a BERT with its changes.
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
    /// Share that is dropped after attention and after the feed-forward part.
    pub(super) dropout: f32,
    pub(super) sites: [Site; 2],
}

/// What the way back needs, beside the block's input.
#[derive(Debug, Default)]
pub(super) struct BlockSaved {
    /// What attention sees, where that is not the block's input.
    pub(super) normal: Vec<f32>,
    pub(super) qkv: Vec<f32>,
    pub(super) context: Vec<f32>,
    pub(super) attention_norm: NormSaved,
    /// What the feed-forward part sees.
    pub(super) middle: Vec<f32>,
    /// Before GELU and after.
    pub(super) wide: Vec<f32>,
    pub(super) active: Vec<f32>,
    /// Of the norm around the feed-forward part.
    pub(super) output_norm: NormSaved,
    /// Of each linear layer.
    pub(super) low: [Vec<f32>; 4],
}

/// Numbers that live within one block's call.
#[derive(Debug, Default)]
pub(super) struct Temporary {
    pub(super) wide: Vec<f32>,
    pub(super) narrow: Vec<f32>,
    pub(super) qkv: Vec<f32>,
}

/// What all blocks see of a batch.
#[derive(Clone, Copy)]
pub(super) struct Rows<'r> {
    pub(super) noise: Noise<'r>,
    pub(super) angles: &'r Angles,
}

/// What a thread works in.
pub(super) type Work<'w> = (&'w mut Temporary, &'w mut AttentionScratch, &'w mut LinearScratch);

impl Block {
    /// Writes the output for the rows of `x`.
    pub(super) fn forward(
        &self,
        parameters: &[f32],
        x: &[f32],
        noise: Noise<'_>,
        y: &mut [f32],
        saved: &mut BlockSaved,
        (temporary, attention, linear): Work<'_>,
    ) {
        let rows = x.len() / self.qkv.inputs;
        let qkv = fit(&mut saved.qkv, rows * self.qkv.outputs);
        self.qkv.forward(parameters, (x, noise), qkv, &mut saved.low[0], linear);
        let context = fit(&mut saved.context, x.len());
        self.attention.forward(qkv, noise.ends, context, attention);
        let sums = fit(&mut temporary.narrow, x.len());
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

    /// Adds the changes' gradients and turns the gradient of the outputs into that of `x`, in place, unless it is
    /// not wanted.
    #[expect(clippy::too_many_arguments, reason = "they are the values of one step back")]
    pub(super) fn backward(
        &self,
        parameters: &[f32],
        x: &[f32],
        noise: Noise<'_>,
        (of_rows, wants_input): (&mut [f32], bool),
        saved: &BlockSaved,
        gradient: &mut [f32],
        (temporary, attention, linear): Work<'_>,
    ) {
        let (all, rows) = (x.len(), x.len() / self.qkv.inputs);
        let [of_qkv, of_output, of_up, of_down] = &saved.low;
        self.output_norm.backward(of_rows, &saved.output_norm);
        let narrow = fit(&mut temporary.narrow, all);
        narrow.copy_from_slice(of_rows);
        dropout(narrow, self.dropout, noise, self.sites[1]);
        let count = rows * self.up.outputs;
        let wide = fit(&mut temporary.wide, count);
        let active = (&saved.active[..count], noise);
        self.down.backward(parameters, active, narrow, of_down, Some(wide), gradient, linear);
        gelu_back(&saved.wide[..count], wide);
        let middle = (&saved.middle[..all], noise);
        self.up.backward(parameters, middle, wide, of_up, Some(narrow), gradient, linear);
        add(of_rows, narrow);

        self.attention_norm.backward(of_rows, &saved.attention_norm);
        narrow.copy_from_slice(of_rows);
        dropout(narrow, self.dropout, noise, self.sites[0]);
        let context = (&saved.context[..all], noise);
        let of_context = fit(&mut temporary.wide, all);
        self.output.backward(parameters, context, narrow, of_output, Some(of_context), gradient, linear);
        let count = rows * self.qkv.outputs;
        let qkv = fit(&mut temporary.qkv, count);
        self.attention.backward(&saved.qkv[..count], noise.ends, of_context, qkv, attention);
        let of_x = wants_input.then_some(&mut *narrow);
        self.qkv.backward(parameters, (x, noise), qkv, of_qkv, of_x, gradient, linear);
        if wants_input {
            add(of_rows, narrow);
        }
    }
}
