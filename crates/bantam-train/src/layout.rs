//! Where each tensor that is trained lies in the one slice that holds them all.

use std::ops::Range;

/// A tensor that is trained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in checkpoints and exports.
    pub name: String,
    /// Rows and columns.
    pub shape: [usize; 2],
    /// Where its numbers lie.
    pub range: Range<usize>,
    /// Whether weight decay pulls at it.
    pub decays: bool,
    /// Times the learning rate of the run.
    pub pace: Pace,
}

/// How fast a tensor learns, against the run's learning rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// At the learning rate of adapters.
    Adapter,
    /// At the learning rate of heads, which begin from nothing.
    Head,
}

/// All tensors that are trained, one after the other. Gradients and moments lie the same way, so that the optimiser
/// and checkpoints see plain slices.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    parameters: Vec<Parameter>,
    length: usize,
}

impl Layout {
    /// Adds a tensor and returns where its numbers lie.
    pub fn add(&mut self, name: String, shape: [usize; 2], decays: bool, pace: Pace) -> Range<usize> {
        let range = self.length..self.length + shape[0] * shape[1];
        self.length = range.end;
        self.parameters.push(Parameter { name, shape, range: range.clone(), decays, pace });
        range
    }

    /// Returns the tensors in their order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Returns how many numbers there are in all.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Returns whether nothing is trained.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}
