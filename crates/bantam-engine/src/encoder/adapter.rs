//! Low-rank changes of an encoder's linear layers, merged into its weights at load time.
//!
//! An encoder tuned for a task has its own weights: they are changed before quantisation, so its forward pass costs
//! the same as the plain encoder's. A decoder's adapters stay separate instead, because many tasks share one step
//! there.

use super::load::LoadEncoderErrorKind;

/// Changes of some linear layers (LoRA, <https://arxiv.org/abs/2106.09685>).
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderAdapter {
    /// The rank of every change.
    pub rank: usize,
    /// Changes are scaled by alpha / rank.
    pub alpha: f32,
    /// The changes, each of a different layer.
    pub updates: Vec<EncoderUpdate>,
}

/// The change of one layer, `W += alpha / rank · B A`.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderUpdate {
    /// The layer's name, such as `encoder.layer.0.output.dense`.
    pub module: String,
    /// The layer's number of outputs.
    pub outputs: usize,
    /// The layer's number of inputs.
    pub inputs: usize,
    /// `A`: one row of inputs per rank.
    pub a: Vec<f32>,
    /// `B`: one row of ranks per output.
    pub b: Vec<f32>,
}

impl EncoderAdapter {
    /// Returns the change of a layer, if there is one.
    pub(super) fn of(&self, module: &str) -> Option<&EncoderUpdate> {
        self.updates.iter().find(|update| update.module == module)
    }

    /// Adds a change to the weights of its layer.
    pub(super) fn add(
        &self,
        update: &EncoderUpdate,
        weights: &mut [f32],
        (outputs, inputs): (usize, usize),
    ) -> Result<(), LoadEncoderErrorKind> {
        let fits = (update.outputs, update.inputs) == (outputs, inputs)
            && update.a.len() == self.rank * inputs
            && update.b.len() == self.rank * outputs
            && self.rank > 0;
        if !fits {
            return Err(LoadEncoderErrorKind::Adapter { module: update.module.as_str().into() });
        }
        let scale = self.alpha / self.rank as f32;
        for (row, b) in weights.chunks_exact_mut(inputs).zip(update.b.chunks_exact(self.rank)) {
            for (b, a) in b.iter().zip(update.a.chunks_exact(inputs)) {
                row.iter_mut().zip(a).for_each(|(weight, a)| *weight += scale * b * a);
            }
        }
        if weights.iter().all(|weight| weight.is_finite()) {
            Ok(())
        } else {
            Err(LoadEncoderErrorKind::NotFinite { tensor: update.module.as_str().into() })
        }
    }
}
