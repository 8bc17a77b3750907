//! One pre-norm ModernBERT block: attention, then a gated feed-forward layer.

use bantam_engine::ModernBertConfig;

use super::block::{BatchContext, BlockSaved, BlockScratch};
use crate::ops::{
    Attention, Direction, Linear, Norm, Rotation, Site, add, dropout, fit, gelu_gate, gelu_gate_back,
};

/// The rotations of layers with global attention and of those with local attention.
#[derive(Debug)]
pub(super) struct Rotations {
    global: Rotation,
    local: Rotation,
}

/// Cosines and sines for the rows of a batch, for both kinds of layer.
#[derive(Debug, Default)]
pub(super) struct Angles {
    global: Vec<f32>,
    local: Vec<f32>,
}

impl Rotations {
    /// Returns the rotations for `heads` heads of `size` numbers, shared by queries and keys.
    pub(super) fn new(config: &ModernBertConfig, heads: usize, size: usize) -> Self {
        let rotation = |base: f64| {
            let frequency = |pair: usize| base.powf(-2.0 * pair as f64 / size as f64) as f32;
            let frequencies = (0..size / 2).map(frequency).collect();
            Rotation { frequencies, magnitude: 1.0, size, heads: 2 * heads }
        };
        Self { global: rotation(config.global_base), local: rotation(config.local_base) }
    }

    /// Writes the angles of sequences that end at the rows `ends`.
    pub(super) fn angles(&self, ends: &[usize], into: &mut Angles) {
        self.global.angles(ends, &mut into.global);
        self.local.angles(ends, &mut into.local);
    }

    fn rotate(&self, is_global: bool, rows: &mut [f32], width: usize, angles: &Angles, direction: Direction) {
        if is_global {
            self.global.turn(rows, width, &angles.global, direction);
        } else {
            self.local.turn(rows, width, &angles.local, direction);
        }
    }
}

/// A block with its adapters.
#[derive(Debug)]
pub(super) struct ModernBlock {
    pub(super) is_global: bool,
    pub(super) attention: Attention,
    /// The first block has none, because the embeddings are already normalised.
    pub(super) attention_norm: Option<Norm>,
    /// Queries, keys and values in one product.
    pub(super) qkv: Linear,
    pub(super) output: Linear,
    pub(super) feed_forward_norm: Norm,
    /// The gate, which goes through GELU, then what it is multiplied by.
    pub(super) up: Linear,
    pub(super) down: Linear,
    /// Dropout rate after attention and after the feed-forward layer.
    pub(super) dropout: f32,
    pub(super) sites: [Site; 2],
}

impl ModernBlock {
    /// Writes the output for the rows of `x`.
    pub(super) fn forward(
        &self,
        parameters: &[f32],
        x: &[f32],
        (batch, rotations): (BatchContext<'_>, &Rotations),
        y: &mut [f32],
        saved: &mut BlockSaved,
        (buffers, attention, linear): BlockScratch<'_>,
    ) {
        let (count, noise) = (x.len() / self.qkv.inputs, batch.noise);
        let input = match &self.attention_norm {
            Some(norm) => {
                let normal = fit(&mut saved.normal, x.len());
                norm.forward(x, &[], normal, &mut saved.attention_norm);
                &*normal
            }
            None => x,
        };
        let qkv = fit(&mut saved.qkv, count * self.qkv.outputs);
        self.qkv.forward(parameters, (input, noise), qkv, &mut saved.low[0], linear);
        rotations.rotate(self.is_global, qkv, self.qkv.outputs, batch.angles, Direction::Forward);
        let context = fit(&mut saved.context, x.len());
        self.attention.forward(qkv, noise.ends, context, attention);
        let sums = fit(&mut buffers.narrow, x.len());
        self.output.forward(parameters, (context, noise), sums, &mut saved.low[1], linear);
        dropout(sums, self.dropout, noise, self.sites[0]);
        add(sums, x);

        let middle = fit(&mut saved.middle, x.len());
        self.feed_forward_norm.forward(sums, &[], middle, &mut saved.output_norm);
        let wide = fit(&mut saved.wide, count * self.up.outputs);
        self.up.forward(parameters, (middle, noise), wide, &mut saved.low[2], linear);
        let active = fit(&mut saved.active, count * self.down.inputs);
        gelu_gate(wide, self.down.inputs, active);
        self.down.forward(parameters, (active, noise), y, &mut saved.low[3], linear);
        dropout(y, self.dropout, noise, self.sites[1]);
        add(y, sums);
    }

    /// Adds the adapters' gradients and, if `wants_input`, replaces the gradient of the outputs with that of `x`.
    #[expect(clippy::too_many_arguments, reason = "the backward pass needs every value of the forward pass")]
    pub(super) fn backward(
        &self,
        parameters: &[f32],
        x: &[f32],
        (batch, rotations): (BatchContext<'_>, &Rotations),
        (grad_rows, wants_input): (&mut [f32], bool),
        saved: &BlockSaved,
        gradient: &mut [f32],
        (buffers, attention, linear): BlockScratch<'_>,
    ) {
        let (all, count, noise) = (x.len(), x.len() / self.qkv.inputs, batch.noise);
        let [low_qkv, low_output, low_up, low_down] = &saved.low;
        let narrow = fit(&mut buffers.narrow, all);
        narrow.copy_from_slice(grad_rows);
        dropout(narrow, self.dropout, noise, self.sites[1]);
        let active = (&saved.active[..count * self.down.inputs], noise);
        let grad_active = fit(&mut buffers.qkv, active.0.len());
        self.down.backward(parameters, active, narrow, low_down, Some(grad_active), gradient, linear);
        let wide = fit(&mut buffers.wide, count * self.up.outputs);
        gelu_gate_back(&saved.wide[..wide.len()], self.down.inputs, grad_active, wide);
        let middle = (&saved.middle[..all], noise);
        self.up.backward(parameters, middle, wide, low_up, Some(narrow), gradient, linear);
        self.feed_forward_norm.backward(narrow, &saved.output_norm);
        add(grad_rows, narrow);

        narrow.copy_from_slice(grad_rows);
        dropout(narrow, self.dropout, noise, self.sites[0]);
        let context = (&saved.context[..all], noise);
        let grad_context = fit(&mut buffers.wide, all);
        self.output.backward(parameters, context, narrow, low_output, Some(grad_context), gradient, linear);
        let grad_qkv = fit(&mut buffers.qkv, count * self.qkv.outputs);
        self.attention.backward(&saved.qkv[..grad_qkv.len()], noise.ends, grad_context, grad_qkv, attention);
        rotations.rotate(self.is_global, grad_qkv, self.qkv.outputs, batch.angles, Direction::Back);
        let input = if self.attention_norm.is_some() { &saved.normal[..all] } else { x };
        let grad_input = wants_input.then_some(&mut *narrow);
        self.qkv.backward(parameters, (input, noise), grad_qkv, low_qkv, grad_input, gradient, linear);
        if wants_input {
            if let Some(norm) = &self.attention_norm {
                norm.backward(narrow, &saved.attention_norm);
            }
            add(grad_rows, narrow);
        }
    }
}
