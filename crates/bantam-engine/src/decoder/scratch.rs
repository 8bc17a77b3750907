//! Memory that a step works in.

use bantam_kernels::{AttendScratch, RopeAngles};

use super::linear::Rows;

/// Memory that a [`Decoder`](super::Decoder) works in. After the first steps it has grown to what they need: a few
/// rows for each token of a slice, at most 512 of them, and the logits.
#[derive(Debug, Default)]
pub struct DecoderScratch {
    pub(super) memory: Memory,
    pub(super) logits: Vec<f32>,
}

/// The part of it that layers work in.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// A state for each token.
    pub(super) states: Vec<f32>,
    /// What the last part gave, where it is still to be added to the states.
    pub(super) sums: Vec<f32>,
    pub(super) has_sums: bool,
    /// The states' norm.
    pub(super) rows: Rows,
    /// Queries, keys and values; then gates and ups.
    pub(super) wide: Vec<f32>,
    /// What attention or the gates give.
    pub(super) inner: Rows,
    pub(super) positions: Vec<u32>,
    pub(super) angles: RopeAngles,
    pub(super) local_angles: RopeAngles,
    pub(super) attend: AttendScratch,
}

/// The logits of a step: for each row asked for, a number for each token of the vocabulary.
#[derive(Debug)]
pub struct Logits<'s> {
    pub(super) numbers: &'s mut [f32],
    pub(super) vocabulary: usize,
}

impl<'s> Logits<'s> {
    /// Returns the numbers of all rows, one row after the other.
    pub(crate) fn into_numbers(self) -> &'s mut [f32] {
        self.numbers
    }

    /// Returns how many rows there are.
    pub fn len(&self) -> usize {
        self.numbers.len() / self.vocabulary
    }

    /// Returns whether nobody asked for any.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Returns a row: spans in their order, the rows of each in theirs.
    pub fn row(&self, index: usize) -> Option<&[f32]> {
        self.numbers.chunks_exact(self.vocabulary).nth(index)
    }

    /// Returns all rows.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.numbers.chunks_exact(self.vocabulary)
    }

    /// Returns all rows, to be changed by whoever chooses from them.
    pub fn rows_mut(&mut self) -> impl ExactSizeIterator<Item = &mut [f32]> {
        self.numbers.chunks_exact_mut(self.vocabulary)
    }
}
