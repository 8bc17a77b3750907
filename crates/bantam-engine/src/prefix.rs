//! The pages of the key-value memory, who holds them, and which of them are worth keeping for later prompts.

mod cache;
mod pages;

pub use cache::PrefixStatistics;
pub(crate) use cache::{AdapterKey, PrefixCache};
pub(crate) use pages::{Page, PagePool, PageTable};

pub(crate) use bantam_kernels::PAGE_TOKENS;

/// Returns how many pages `tokens` tokens take.
pub(crate) fn pages_for(tokens: usize) -> usize {
    tokens.div_ceil(PAGE_TOKENS)
}
