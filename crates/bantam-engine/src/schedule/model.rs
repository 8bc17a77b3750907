//! The model interface of the scheduler.

use crate::decoder::LogitRows;

/// A model with its own paged KV cache, which runs many sequences in one pass.
///
/// **Invariant:** for the same page contents, the logits of a span are bit-identical whatever other spans are in the
/// pass, and however its earlier tokens were divided into spans. Prefix sharing relies on it.
pub trait StepModel: Send + 'static {
    /// An adapter of the model for one sequence.
    type Adapter: Send + Sync + 'static;
    /// Why a pass failed.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Returns the model's limits, which never change.
    fn shape(&self) -> ModelShape;

    /// Runs all spans in one pass, writing their keys and values to their pages.
    ///
    /// Returns the requested rows of logits, [`ModelShape::vocabulary`] each, in the order of spans and tokens. After
    /// an error the positions of the spans have arbitrary content; all others are unchanged.
    fn forward(&mut self, spans: &[StepSpan<'_, Self::Adapter>]) -> Result<&mut [f32], Self::Error>;

    /// Copies one page to another, for all layers.
    fn copy_page(&mut self, from: u32, to: u32);
}

/// The limits of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelShape {
    /// Size of the vocabulary.
    pub vocabulary: usize,
    /// Longest sequence, prompt and answer together.
    pub context: usize,
    /// Number of KV cache pages, of [`PAGE_TOKENS`](bantam_kernels::PAGE_TOKENS) tokens each.
    pub pages: usize,
}

/// Consecutive tokens of one sequence.
#[derive(Clone, Copy, Debug)]
pub struct StepSpan<'a, A> {
    /// The tokens to run.
    pub tokens: &'a [u32],
    /// Number of the sequence's tokens that are already in the pages.
    pub start: usize,
    /// The sequence's pages, enough for `start` and all `tokens`.
    pub pages: &'a [u32],
    /// The adapter to apply.
    pub adapter: Option<&'a A>,
    /// Which rows of logits to return.
    pub logits: LogitRows,
}
