//! The working memory of a step.

use bantam_kernels::{AttendScratch, RopeAngles};

use super::linear::ActivationRows;

/// The working memory of a [`Decoder`](super::Decoder). It grows in the first steps to what they need: some rows per
/// token of a slice, at most 512 tokens, and the logits.
#[derive(Debug, Default)]
pub struct DecoderScratch {
    pub(super) memory: LayerScratch,
    pub(super) logits: Vec<f32>,
}

/// The working memory of the layers.
#[derive(Debug, Default)]
pub(super) struct LayerScratch {
    /// One state per token.
    pub(super) states: Vec<f32>,
    /// The last part's output, if it is still to be added to the states.
    pub(super) sums: Vec<f32>,
    pub(super) has_sums: bool,
    /// The norm of the states.
    pub(super) rows: ActivationRows,
    /// Queries, keys and values; later gates and ups.
    pub(super) wide: Vec<f32>,
    /// The output of attention or of the gates.
    pub(super) inner: ActivationRows,
    pub(super) positions: Vec<u32>,
    pub(super) angles: RopeAngles,
    pub(super) local_angles: RopeAngles,
    pub(super) attend: AttendScratch,
}

/// The logits of a step: for each requested row, one per token of the vocabulary.
#[derive(Debug)]
pub struct Logits<'s> {
    pub(super) numbers: &'s mut [f32],
    pub(super) vocabulary: usize,
}

impl<'s> Logits<'s> {
    /// Returns the logits of all rows, row after row.
    pub(crate) fn into_numbers(self) -> &'s mut [f32] {
        self.numbers
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.numbers.len() / self.vocabulary
    }

    /// Returns whether no logits were requested.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Returns a row. Rows are in the order of the spans and of their tokens.
    pub fn row(&self, index: usize) -> Option<&[f32]> {
        self.numbers.chunks_exact(self.vocabulary).nth(index)
    }

    /// Returns all rows.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.numbers.chunks_exact(self.vocabulary)
    }

    /// Returns all rows, mutable for samplers that adjust logits.
    pub fn rows_mut(&mut self) -> impl ExactSizeIterator<Item = &mut [f32]> {
        self.numbers.chunks_exact_mut(self.vocabulary)
    }
}
