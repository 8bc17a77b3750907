//! Assigns pages to requests and takes them away.
//!
//! A request takes pages for its whole prompt when it starts, and then one at a time. Pages come first from the pool,
//! then from the prefix cache, then from requests that wait for their readers, then from the youngest running
//! request. So the oldest request always makes progress, and since every request fits alone, all finish.

use super::core::SchedulerState;
use super::plan::PlannedSpan;
use super::sequence::{Sequence, Work};
use crate::prefix::{PAGE_TOKENS, Page, PageTable, pages_for};

impl<A> SchedulerState<A> {
    /// Starts a request with pages and its cached prefix, or returns it if it cannot start now.
    pub(super) fn admit(&mut self, mut sequence: Sequence<A>) -> Result<(), Box<Sequence<A>>> {
        if self.running.len() >= self.options.running_max && !self.park_stalled() {
            return Err(Box::new(sequence));
        }
        let key = sequence.key();
        let tokens = &sequence.tokens;
        // The last token always runs, because its logits are needed.
        let mut found = self.cache.find(key, &tokens[..tokens.len() - 1]);
        if self.is_being_computed(&sequence, found.tokens()) {
            return Err(Box::new(sequence));
        }
        let needed = pages_for(tokens.len()) - found.pages.len();
        // Each generating request may soon need a page; without this reserve, the new request would be preempted at
        // once.
        let reserve = self.running.values().filter(|other| other.is_decoding()).count();
        let mut available = self.available();
        while available < needed + reserve && self.park_stalled() {
            available = self.available();
        }
        if available < needed + reserve && found.partial.take().is_some() {
            // The page to copy from also occupies a page.
            available = self.available();
        }
        if available < needed + reserve {
            return Err(Box::new(sequence));
        }
        let mut table = PageTable::sharing(&found.pages);
        for _ in 0..needed {
            let Some(page) = self.take() else { return Err(Box::new(sequence)) };
            table.push(page);
        }
        let cached = found.tokens();
        if let (Some((from, _)), Some(to)) = (found.partial, table.pages().get(found.pages.len())) {
            self.copies.push((from, to.clone()));
        }
        self.cache.count(sequence.tokens.len(), cached);
        sequence.computed = cached;
        sequence.prefill = sequence.tokens.len();
        sequence.table = table;
        if sequence.trace.preemptions == 0 {
            sequence.trace.cached = cached;
        }
        self.running.insert(sequence.id, sequence);
        Ok(())
    }

    /// Provides the pages for a request's first `tokens` tokens. Returns whether it has them.
    pub(super) fn make_room(&mut self, id: u64, tokens: usize, items: &[PlannedSpan]) -> bool {
        let missing = self.running.get(&id).map_or(0, |sequence| sequence.table.missing(tokens));
        for _ in 0..missing {
            let Some(page) = self.take_for(id, items) else { return false };
            if let Some(sequence) = self.running.get_mut(&id) {
                sequence.table.push(page);
            }
        }
        true
    }

    /// Provides a branch's own pages after the prompt's. Returns whether it has them.
    pub(super) fn make_branch_room(&mut self, id: u64, index: usize, items: &[PlannedSpan]) -> bool {
        let Some(sequence) = self.running.get(&id) else { return false };
        let Work::Score(scoring) = &sequence.work else { return false };
        let Some(branch) = scoring.branches.get(index) else { return false };
        let prompt = sequence.prompt;
        let mut table = PageTable::sharing(&sequence.table.pages()[..prompt / PAGE_TOKENS]);
        let source = sequence.table.partial(prompt).cloned();
        for _ in 0..table.missing(prompt + branch.tokens.len()) {
            let Some(page) = self.take_for(id, items) else { return false };
            table.push(page);
        }
        if let (Some(from), Some(to)) = (source, table.pages().get(prompt / PAGE_TOKENS)) {
            self.copies.push((from, to.clone()));
        }
        let branches =
            self.running.get_mut(&id).and_then(Sequence::scoring).map(|scoring| &mut scoring.branches);
        let branch = branches.and_then(|branches| branches.get_mut(index));
        branch.map(|branch| branch.table = table).is_some()
    }

    /// Returns whether a running request will soon have computed at least one more page of these tokens than is
    /// cached, so that waiting is cheaper than computing them twice.
    fn is_being_computed(&self, sequence: &Sequence<A>, found: usize) -> bool {
        let key = sequence.key();
        let others = self.running.values();
        others.filter(|other| other.is_prefilling() && other.key().adapter == key.adapter).any(|other| {
            let pairs = other.tokens.iter().zip(&sequence.tokens).take(other.scope.shared_with(key.scope));
            let common = pairs.take_while(|(a, b)| a == b).count() / PAGE_TOKENS * PAGE_TOKENS;
            other.computed < common && common >= found + PAGE_TOKENS
        })
    }

    fn available(&self) -> usize {
        self.pool.free() + self.cache.evictable()
    }

    /// Takes a page that is free or held only by the cache.
    fn take(&mut self) -> Option<Page> {
        loop {
            match self.pool.take() {
                Some(page) => return Some(page),
                None if self.cache.evict() => {}
                None => return None,
            }
        }
    }

    /// Takes a page, if necessary from another request: one that waits for its reader, or a younger one. Requests in
    /// the step keep their pages.
    fn take_for(&mut self, id: u64, items: &[PlannedSpan]) -> Option<Page> {
        loop {
            if let Some(page) = self.take() {
                return Some(page);
            }
            let is_free = |other: &&Sequence<A>| {
                other.id != id
                    && !other.table.ids().is_empty()
                    && items.iter().all(|item| item.id != other.id)
            };
            let mut others = self.running.values().rev().filter(is_free);
            let victim = others
                .clone()
                .find(|other| other.is_stalled())
                .or_else(|| others.find(|other| other.id > id));
            let victim = victim?.id;
            self.park(victim);
        }
    }

    /// Preempts the youngest request that waits for its reader. Returns whether there was one.
    fn park_stalled(&mut self) -> bool {
        let stalled = self.running.values().rev().find(|sequence| sequence.is_stalled());
        let Some(id) = stalled.map(|sequence| sequence.id) else { return false };
        self.park(id);
        true
    }

    /// Preempts a request. The cache keeps its pages as far as it has room, until they are needed, to minimise
    /// recomputation.
    fn park(&mut self, id: u64) {
        if let Some(mut sequence) = self.retire(id) {
            sequence.computed = 0;
            sequence.prefill = sequence.tokens.len();
            sequence.trace.preemptions += 1;
            self.statistics.preemptions += 1;
            self.parked.insert(id, sequence);
        }
    }
}
