//! Pages as values: holding one keeps it, cloning one shares it, dropping the last share frees it.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{PAGE_TOKENS, pages_for};

/// All pages of a KV cache, numbered from 0. Clones are the same pool.
///
/// A page returns when its last [`Page`] is dropped, so it is impossible to free one twice or to lose one. A pool may
/// begin with the first few of its pages, and be given more later, in the order of their numbers.
#[derive(Clone, Debug)]
pub(crate) struct PagePool {
    shared: Arc<Mutex<Free>>,
}

#[derive(Debug)]
struct Free {
    /// The next page to take is the last.
    pages: Vec<u32>,
    /// How many pages may be used, the free ones included.
    usable: u32,
}

/// A share of a page.
#[derive(Clone, Debug)]
pub(crate) struct Page(Arc<Slot>);

#[derive(Debug)]
struct Slot {
    id: u32,
    shared: Arc<Mutex<Free>>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.lock().pages.push(self.id);
    }
}

impl PagePool {
    /// Returns a pool of the pages `0..pages`, all free.
    pub(crate) fn new(pages: usize) -> Self {
        let usable = pages as u32;
        Self { shared: Arc::new(Mutex::new(Free { pages: (0..usable).rev().collect(), usable })) }
    }

    /// Makes pages usable until there are `pages`; never fewer than there were.
    pub(crate) fn grow(&self, pages: usize) {
        let mut free = self.shared.lock();
        let (before, after) = (free.usable, free.usable.max(pages as u32));
        // Pages whose memory was used before are taken first.
        free.pages.splice(0..0, (before..after).rev());
        free.usable = after;
    }

    /// Returns how many pages may be used, the free ones included.
    pub(crate) fn usable(&self) -> usize {
        self.shared.lock().usable as usize
    }

    /// Returns a free page, if there is one.
    pub(crate) fn take(&self) -> Option<Page> {
        let id = self.shared.lock().pages.pop()?;
        Some(Page(Arc::new(Slot { id, shared: Arc::clone(&self.shared) })))
    }

    /// Returns the number of free pages.
    pub(crate) fn free(&self) -> usize {
        self.shared.lock().pages.len()
    }
}

impl Page {
    /// Returns the page's number.
    pub(crate) fn id(&self) -> u32 {
        self.0.id
    }

    /// Returns whether the page has other holders.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

/// The pages of one sequence, in the order of its tokens.
#[derive(Debug, Default)]
pub(crate) struct PageTable {
    pages: Vec<Page>,
    /// The pages' numbers, as models need them.
    ids: Vec<u32>,
}

impl PageTable {
    /// Returns a table that shares these pages.
    pub(crate) fn sharing(pages: &[Page]) -> Self {
        Self { pages: pages.to_vec(), ids: pages.iter().map(Page::id).collect() }
    }

    /// Appends a page.
    pub(crate) fn push(&mut self, page: Page) {
        self.ids.push(page.id());
        self.pages.push(page);
    }

    /// Returns the pages' numbers.
    pub(crate) fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Returns the pages.
    pub(crate) fn pages(&self) -> &[Page] {
        &self.pages
    }

    /// Returns how many pages are missing for `tokens` tokens.
    pub(crate) fn missing(&self, tokens: usize) -> usize {
        pages_for(tokens).saturating_sub(self.pages.len())
    }

    /// Returns the last page of the first `tokens` tokens, if they do not fill it.
    pub(crate) fn partial(&self, tokens: usize) -> Option<&Page> {
        if tokens.is_multiple_of(PAGE_TOKENS) { None } else { self.pages.get(tokens / PAGE_TOKENS) }
    }

    /// Replaces a page by another one with the same tokens.
    pub(crate) fn replace(&mut self, index: usize, page: &Page) {
        if let (Some(own), Some(id)) = (self.pages.get_mut(index), self.ids.get_mut(index)) {
            *own = page.clone();
            *id = page.id();
        }
    }

    /// Returns all pages.
    pub(crate) fn clear(&mut self) {
        self.pages.clear();
        self.ids.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_freed_by_its_last_holder() {
        let pool = PagePool::new(2);
        let (a, b) = (pool.take().unwrap(), pool.take().unwrap());
        assert!((a.id(), b.id()) == (0, 1) && pool.take().is_none());
        let shared = a.clone();
        assert!(a.is_shared() && !b.is_shared());
        drop(a);
        assert_eq!(pool.free(), 0);
        drop(shared);
        assert_eq!(pool.free(), 1);
        assert_eq!(pool.take().unwrap().id(), 0);
    }

    #[test]
    fn a_pool_grows_by_the_pages_that_follow() {
        let pool = PagePool::new(2);
        let held = [pool.take().unwrap(), pool.take().unwrap()];
        pool.grow(4);
        pool.grow(1);
        assert_eq!((pool.usable(), pool.free()), (4, 2));
        drop(held);
        let pages: Vec<Page> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!(pages.iter().map(Page::id).collect::<Vec<_>>(), [1, 0, 2, 3]);
    }

    #[test]
    fn a_table_reports_the_missing_pages() {
        let pool = PagePool::new(3);
        let mut table = PageTable::default();
        assert_eq!((table.missing(0), table.missing(1), table.missing(17)), (0, 1, 2));
        table.push(pool.take().unwrap());
        table.push(pool.take().unwrap());
        assert_eq!((table.missing(32), table.missing(33)), (0, 1));
        assert!(table.partial(16).is_none());
        assert_eq!(table.partial(17).map(Page::id), Some(1));
        table.clear();
        assert_eq!((pool.free(), table.ids().len()), (3, 0));
    }
}
