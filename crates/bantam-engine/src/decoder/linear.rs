//! Linear layers and norms in the decoder's precision.

use bantam_kernels::{Activation, Addend, F32Linear, GroupedLinear, GroupedRows, Pool, RmsNorm};

/// A linear layer in the decoder's precision.
#[derive(Debug)]
pub(super) enum Linear {
    F32(F32Linear),
    Grouped(GroupedLinear),
}

/// Input rows in the two forms that layers work on. Only the form that the decoder's precision needs is up to date.
#[derive(Debug, Default)]
pub(super) struct ActivationRows {
    pub(super) numbers: Vec<f32>,
    pub(super) grouped: GroupedRows,
}

impl Linear {
    /// Whether it works on quantised rows.
    pub(super) fn is_grouped(&self) -> bool {
        matches!(self, Self::Grouped(_))
    }

    /// Returns the number of inputs.
    pub(super) fn inputs(&self) -> usize {
        match self {
            Self::F32(layer) => layer.inputs(),
            Self::Grouped(layer) => layer.inputs(),
        }
    }

    /// Returns the size of its weights in bytes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::F32(layer) => layer.outputs() * layer.inputs() * size_of::<f32>(),
            Self::Grouped(layer) => layer.bytes().as_slice().len(),
        }
    }

    /// Writes the outputs for `count` rows.
    pub(super) fn forward(&self, pool: &Pool, rows: &ActivationRows, count: usize, outputs: &mut [f32]) {
        match self {
            Self::F32(layer) => {
                let rows = &rows.numbers[..count * layer.inputs()];
                layer.forward(pool, rows, Activation::None, outputs);
            }
            Self::Grouped(layer) => layer.forward(pool, &rows.grouped, outputs),
        }
    }

    /// Adds the outputs for `rows` to `states` if that costs nothing; otherwise writes them to `sums`, to be added
    /// with the next norm. Returns whether it wrote to `sums`.
    pub(super) fn forward_add(
        &self,
        pool: &Pool,
        rows: &ActivationRows,
        count: usize,
        (states, sums): (&mut [f32], &mut [f32]),
    ) -> bool {
        match self {
            Self::F32(_) => self.forward(pool, rows, count, sums),
            Self::Grouped(layer) => layer.forward_add(pool, &rows.grouped, states),
        }
        !self.is_grouped()
    }
}

/// The forms in which a norm's output is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NeededForms {
    /// Quantised, for layers that work on quantised rows.
    pub(super) grouped: bool,
    /// In f32, for other layers and for adapters.
    pub(super) numbers: bool,
}

/// Adds `addend` to `states` and leaves the norm in `rows`.
pub(super) fn normalise(
    norm: &RmsNorm,
    pool: &Pool,
    states: &mut [f32],
    addend: Option<&[f32]>,
    needed: NeededForms,
    rows: &mut ActivationRows,
) {
    if !needed.numbers {
        let addend = addend.map_or(Addend::None, Addend::Rows);
        norm.quantise(pool, states, addend, &mut rows.grouped);
        return;
    }
    if let Some(addend) = addend {
        states.iter_mut().zip(addend).for_each(|(state, addend)| *state += addend);
    }
    let numbers = resized(&mut rows.numbers, states.len());
    numbers.copy_from_slice(states);
    norm.forward(pool, numbers, norm.width(), 0..1);
    if needed.grouped {
        rows.grouped.quantise(pool, numbers, norm.width());
    }
}

/// Returns the first `length` elements, with arbitrary content, after growing the buffer if necessary.
pub(super) fn resized(numbers: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if numbers.len() < length {
        numbers.resize(length, 0.0);
    }
    &mut numbers[..length]
}
