//! One block of a ModernBERT: attention, then a gated feed-forward part, each over a norm of what it is added to.

use bantam_engine::ModernBertConfig;

use super::block::{BlockSaved, Rows, Work};
use crate::ops::{
    Attention, Linear, Norm, Rotation, Site, Turn, add, dropout, fit, gelu_gate, gelu_gate_back,
};

/// Rotations in the layers that see everything, and in those that see what is near.
#[derive(Debug)]
pub(super) struct Rotations {
    global: Rotation,
    local: Rotation,
}

/// Cosines and sines for the rows of a batch, for both kinds of layers.
#[derive(Debug, Default)]
pub(super) struct Angles {
    global: Vec<f32>,
    local: Vec<f32>,
}

impl Rotations {
    /// Returns those for `heads` heads of `size` numbers; queries and keys are turned alike.
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

    fn turn(&self, is_global: bool, rows: &mut [f32], width: usize, angles: &Angles, turn: Turn) {
        if is_global {
            self.global.turn(rows, width, &angles.global, turn);
        } else {
            self.local.turn(rows, width, &angles.local, turn);
        }
    }
}

/// A block with its changes.
#[derive(Debug)]
pub(super) struct ModernBlock {
    pub(super) is_global: bool,
    pub(super) attention: Attention,
    /// The first block has none: what it sees was normalised as an embedding.
    pub(super) attention_norm: Option<Norm>,
    /// Queries, keys and values in one product.
    pub(super) qkv: Linear,
    pub(super) output: Linear,
    pub(super) feed_forward_norm: Norm,
    /// What goes through GELU, then what it is multiplied by.
    pub(super) up: Linear,
    pub(super) down: Linear,
    /// Share that is dropped after attention and after the feed-forward part.
    pub(super) dropout: f32,
    pub(super) sites: [Site; 2],
}

impl ModernBlock {
    /// Writes the output for the rows of `x`.
    pub(super) fn forward(
        &self,
        parameters: &[f32],
        x: &[f32],
        (rows, rotations): (Rows<'_>, &Rotations),
        y: &mut [f32],
        saved: &mut BlockSaved,
        (temporary, attention, linear): Work<'_>,
    ) {
        let (count, noise) = (x.len() / self.qkv.inputs, rows.noise);
        let seen = match &self.attention_norm {
            Some(norm) => {
                let normal = fit(&mut saved.normal, x.len());
                norm.forward(x, &[], normal, &mut saved.attention_norm);
                &*normal
            }
            None => x,
        };
        let qkv = fit(&mut saved.qkv, count * self.qkv.outputs);
        self.qkv.forward(parameters, (seen, noise), qkv, &mut saved.low[0], linear);
        rotations.turn(self.is_global, qkv, self.qkv.outputs, rows.angles, Turn::Forward);
        let context = fit(&mut saved.context, x.len());
        self.attention.forward(qkv, noise.ends, context, attention);
        let sums = fit(&mut temporary.narrow, x.len());
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

    /// Adds the changes' gradients and turns the gradient of the outputs into that of `x`, in place, unless it is
    /// not wanted.
    #[expect(clippy::too_many_arguments, reason = "they are the values of one step back")]
    pub(super) fn backward(
        &self,
        parameters: &[f32],
        x: &[f32],
        (rows, rotations): (Rows<'_>, &Rotations),
        (of_rows, wants_input): (&mut [f32], bool),
        saved: &BlockSaved,
        gradient: &mut [f32],
        (temporary, attention, linear): Work<'_>,
    ) {
        let (all, count, noise) = (x.len(), x.len() / self.qkv.inputs, rows.noise);
        let [low_qkv, low_output, low_up, low_down] = &saved.low;
        let narrow = fit(&mut temporary.narrow, all);
        narrow.copy_from_slice(of_rows);
        dropout(narrow, self.dropout, noise, self.sites[1]);
        let active = (&saved.active[..count * self.down.inputs], noise);
        let of_active = fit(&mut temporary.qkv, active.0.len());
        self.down.backward(parameters, active, narrow, low_down, Some(of_active), gradient, linear);
        let wide = fit(&mut temporary.wide, count * self.up.outputs);
        gelu_gate_back(&saved.wide[..wide.len()], self.down.inputs, of_active, wide);
        let middle = (&saved.middle[..all], noise);
        self.up.backward(parameters, middle, wide, low_up, Some(narrow), gradient, linear);
        self.feed_forward_norm.backward(narrow, &saved.output_norm);
        add(of_rows, narrow);

        narrow.copy_from_slice(of_rows);
        dropout(narrow, self.dropout, noise, self.sites[0]);
        let context = (&saved.context[..all], noise);
        let of_context = fit(&mut temporary.wide, all);
        self.output.backward(parameters, context, narrow, low_output, Some(of_context), gradient, linear);
        let of_qkv = fit(&mut temporary.qkv, count * self.qkv.outputs);
        self.attention.backward(&saved.qkv[..of_qkv.len()], noise.ends, of_context, of_qkv, attention);
        rotations.turn(self.is_global, of_qkv, self.qkv.outputs, rows.angles, Turn::Back);
        let seen = if self.attention_norm.is_some() { &saved.normal[..all] } else { x };
        let of_seen = wants_input.then_some(&mut *narrow);
        self.qkv.backward(parameters, (seen, noise), of_qkv, low_qkv, of_seen, gradient, linear);
        if wants_input {
            if let Some(norm) = &self.attention_norm {
                norm.backward(narrow, &saved.attention_norm);
            }
            add(of_rows, narrow);
        }
    }
}
