//! Where each trained tensor lies in the single slice of all parameters.

use std::ops::Range;

/// A trained tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in checkpoints and exports.
    pub name: String,
    /// Rows and columns.
    pub shape: [usize; 2],
    /// Where its numbers lie.
    pub range: Range<usize>,
    /// Whether weight decay applies to it.
    pub decays: bool,
    /// Which learning rate it has.
    pub group: ParameterGroup,
}

/// Decides which of the run's learning rates a tensor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterGroup {
    /// The learning rate of adapters.
    Adapter,
    /// The learning rate of heads, which start from scratch.
    Head,
}

/// All trained tensors, one after the other. Gradients and moments have the same layout, so that the optimiser and
/// checkpoints work on plain slices.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    parameters: Vec<Parameter>,
    length: usize,
}

impl Layout {
    /// Adds a tensor and returns where its numbers lie.
    pub fn add(
        &mut self,
        name: String,
        shape: [usize; 2],
        decays: bool,
        group: ParameterGroup,
    ) -> Range<usize> {
        let range = self.length..self.length + shape[0] * shape[1];
        self.length = range.end;
        self.parameters.push(Parameter { name, shape, range: range.clone(), decays, group });
        range
    }

    /// Returns the tensors in order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Returns the total number of parameters.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Returns whether there are no parameters.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}
