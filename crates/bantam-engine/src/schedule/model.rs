//! What the scheduler asks of a model.

use crate::decoder::Wanted;

/// A model with a paged key-value memory of its own, which runs many sequences in one pass.
///
/// **Invariant:** with the same pages' contents, the logits of a span are the same to the bit whatever other spans
/// are in the pass, and however its tokens were cut into spans before. Sharing prefixes relies on it.
pub trait StepModel: Send + 'static {
    /// What may be added to the model's weights for one sequence.
    type Adapter: Send + Sync + 'static;
    /// Why a pass failed.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Returns the model's limits, always the same.
    fn shape(&self) -> ModelShape;

    /// Runs all spans in one pass, writing their keys and values to their pages.
    ///
    /// Returns the rows of logits that were wanted, [`ModelShape::vocabulary`] numbers each, in the order of spans
    /// and tokens. After an error the places that the spans were to fill hold anything; all others are untouched.
    fn forward(&mut self, spans: &[StepSpan<'_, Self::Adapter>]) -> Result<&mut [f32], Self::Error>;

    /// Copies all of one page to another.
    fn copy_page(&mut self, from: u32, to: u32);
}

/// The limits of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelShape {
    /// Tokens that there are.
    pub vocabulary: usize,
    /// Most tokens of one sequence, prompt and answer together.
    pub context: usize,
    /// Pages of the key-value memory, of [`PAGE_TOKENS`](bantam_kernels::PAGE_TOKENS) tokens each.
    pub pages: usize,
}

/// Consecutive tokens of one sequence.
#[derive(Clone, Copy, Debug)]
pub struct StepSpan<'a, A> {
    /// The tokens to run.
    pub tokens: &'a [u32],
    /// How many tokens of the sequence are in the pages already.
    pub start: usize,
    /// The sequence's pages, enough for `start` and all `tokens`.
    pub pages: &'a [u32],
    /// What to add to the weights.
    pub adapter: Option<&'a A>,
    /// Which rows of logits to return.
    pub logits: Wanted,
}
