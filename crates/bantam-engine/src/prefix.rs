//! The pages of the KV cache: who holds them, and which are kept for later prompts.

mod cache;
mod pages;

pub(crate) use cache::{PrefixCache, PrefixKey};
pub use cache::{PrefixScope, PrefixStatistics};
pub(crate) use pages::{Page, PagePool, PageTable};

pub(crate) use bantam_kernels::PAGE_TOKENS;

/// Returns the number of pages for `tokens` tokens.
pub(crate) fn pages_for(tokens: usize) -> usize {
    tokens.div_ceil(PAGE_TOKENS)
}
