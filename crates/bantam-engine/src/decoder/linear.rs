//! Linear layers and norms in the decoder's precision.

use bantam_kernels::{Activation, Addend, F32Linear, GroupedLinear, GroupedRows, Pool, RmsNorm};

/// A linear layer in the decoder's precision.
#[derive(Debug)]
pub(super) enum Linear {
    F32(F32Linear),
    Grouped(GroupedLinear),
}

/// Rows in the two forms that layers work on; only the form of the decoder's precision is up to date.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) numbers: Vec<f32>,
    pub(super) grouped: GroupedRows,
}

impl Linear {
    /// Whether it works on quantised rows.
    pub(super) fn is_grouped(&self) -> bool {
        matches!(self, Self::Grouped(_))
    }

    /// Returns how many inputs there are.
    pub(super) fn inputs(&self) -> usize {
        match self {
            Self::F32(layer) => layer.inputs(),
            Self::Grouped(layer) => layer.inputs(),
        }
    }

    /// Returns how many bytes its weights take.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::F32(layer) => layer.outputs() * layer.inputs() * size_of::<f32>(),
            Self::Grouped(layer) => layer.bytes().as_slice().len(),
        }
    }

    /// Writes the outputs for `rows`, of which there are `count`.
    pub(super) fn forward(&self, pool: &Pool, rows: &Rows, count: usize, outputs: &mut [f32]) {
        match self {
            Self::F32(layer) => {
                let rows = &rows.numbers[..count * layer.inputs()];
                layer.forward(pool, rows, Activation::None, outputs);
            }
            Self::Grouped(layer) => layer.forward(pool, &rows.grouped, outputs),
        }
    }

    /// Adds the outputs for `rows` to `states` where that costs nothing; otherwise writes them to `sums`, to be
    /// added with the next norm. Returns whether it did the latter.
    pub(super) fn forward_add(
        &self,
        pool: &Pool,
        rows: &Rows,
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

/// What a norm's output is needed as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Needed {
    /// For layers that work on quantised rows.
    pub(super) grouped: bool,
    /// For layers that work on numbers, and for adapters.
    pub(super) numbers: bool,
}

/// Adds `addend` to `states` and leaves their norm in `rows`.
pub(super) fn normalise(
    norm: &RmsNorm,
    pool: &Pool,
    states: &mut [f32],
    addend: Option<&[f32]>,
    needed: Needed,
    rows: &mut Rows,
) {
    if !needed.numbers {
        let addend = addend.map_or(Addend::None, Addend::Rows);
        norm.quantise(pool, states, addend, &mut rows.grouped);
        return;
    }
    if let Some(addend) = addend {
        states.iter_mut().zip(addend).for_each(|(state, addend)| *state += addend);
    }
    let numbers = fit(&mut rows.numbers, states.len());
    numbers.copy_from_slice(states);
    norm.forward(pool, numbers, norm.width(), 0..1);
    if needed.grouped {
        rows.grouped.quantise(pool, numbers, norm.width());
    }
}

/// Returns the first `length` numbers, whatever they are, after making room for them.
pub(super) fn fit(numbers: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if numbers.len() < length {
        numbers.resize(length, 0.0);
    }
    &mut numbers[..length]
}
