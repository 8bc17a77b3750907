//! Memory for keys and values that grows when a request needs it.

use std::sync::PoisonError;

use bantam_kernels::PAGE_TOKENS;

use crate::model::LocalModel;

/// Asks for memory in bytes: at most the first number, in multiples of the second. Returns how many bytes were given.
pub(crate) type MemorySource = dyn Fn(u64, u64) -> u64 + Send + Sync;

/// Pages that are asked for at a time, so that a long answer does not ask at every page: 1,024 tokens.
const PAGES_AT_A_TIME: usize = 64;

impl<A: Send + Sync + 'static> LocalModel<A> {
    /// Returns how many tokens a request may have, prompt and answer together, once `source` was asked for the memory of
    /// `tokens`. What was given is never returned while the model is loaded.
    pub(crate) fn room_for(&self, tokens: usize, source: Option<&MemorySource>) -> usize {
        let shape = self.scheduler.shape();
        let pages = tokens.min(shape.context).div_ceil(PAGE_TOKENS).min(shape.pages);
        if let Some(source) = source
            && pages > self.scheduler.usable_pages()
        {
            let _growing = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
            let usable = self.scheduler.usable_pages();
            let missing = pages.saturating_sub(usable).next_multiple_of(PAGES_AT_A_TIME);
            let missing = missing.min(shape.pages - usable) as u64;
            let given = source(missing * self.page_bytes, self.page_bytes) / self.page_bytes.max(1);
            self.scheduler.grow(usable + given.min(missing) as usize);
        }
        shape.context.min(self.scheduler.usable_pages() * PAGE_TOKENS)
    }

    /// Returns how many tokens a request may have when no other model needs memory.
    pub(crate) fn room_max(&self) -> usize {
        let shape = self.scheduler.shape();
        shape.context.min(shape.pages * PAGE_TOKENS)
    }
}
