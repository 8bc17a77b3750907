//! Low-rank changes of an encoder's linear layers, added to its weights when it is loaded.
//!
//! An encoder that was tuned for a task has weights of its own: they are changed before they are quantised, so the
//! task's answers cost what those of the plain encoder cost. A decoder's adapters stay apart instead, because many
//! tasks share one step there.

use super::load::LoadEncoderErrorKind;

/// Changes of some linear layers (<https://arxiv.org/abs/2106.09685>).
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderAdapter {
    /// Rank of every change.
    pub rank: usize,
    /// A change counts alpha over rank times.
    pub alpha: f32,
    /// The changes, each of another layer.
    pub updates: Vec<EncoderUpdate>,
}

/// The change of one layer, `W += alpha / rank · B A`.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderUpdate {
    /// The layer, such as `encoder.layer.0.output.dense`.
    pub module: String,
    /// Outputs of the layer.
    pub outputs: usize,
    /// Inputs of the layer.
    pub inputs: usize,
    /// `A`: a row of inputs for each of the rank.
    pub a: Vec<f32>,
    /// `B`: a row of the rank for each output.
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
