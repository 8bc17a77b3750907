//! Compares the cache with a model that keeps every prefix in a plain list.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::prefix::{PagePool, pages_for};

/// The content of each page, like in a KV cache: for each position the whole history up to it.
type PageContents = HashMap<u32, Vec<(AdapterKey, Vec<u32>)>>;

#[derive(Clone, Debug)]
enum Call {
    /// Looks tokens up, computes the rest, caches all, and holds it like a running sequence.
    Run(AdapterKey, Vec<u32>),
    /// Ends the running sequence with this index, modulo their number.
    End(usize),
    Evict,
    Forget(AdapterKey),
}

fn tokens() -> impl Strategy<Value = Vec<u32>> {
    // Few tokens and many repeats, so that prefixes are shared and diverge within pages.
    let piece = prop_oneof![Just(vec![1; 16]), Just(vec![2; 7]), prop::collection::vec(0..3_u32, 1..9)];
    prop::collection::vec(piece, 1..5).prop_map(|pieces| pieces.concat())
}

fn call() -> impl Strategy<Value = Call> {
    let key = prop_oneof![Just(None), Just(Some(1)), Just(Some(2))];
    prop_oneof![
        6 => (key.clone(), tokens()).prop_map(|(key, tokens)| Call::Run(key, tokens)),
        4 => any::<usize>().prop_map(Call::End),
        1 => Just(Call::Evict),
        1 => key.prop_map(Call::Forget),
    ]
}

struct Simulation {
    pool: PagePool,
    cache: PrefixCache,
    contents: PageContents,
    running: Vec<PageTable>,
    /// Everything that was cached and not forgotten: an upper bound of what may be found.
    kept: Vec<(AdapterKey, Vec<u32>)>,
}

impl Simulation {
    fn new(pages: usize, pages_max: usize) -> Self {
        Self {
            pool: PagePool::new(pages),
            cache: PrefixCache::new(pages_max),
            contents: PageContents::new(),
            running: Vec::new(),
            kept: Vec::new(),
        }
    }

    fn take(&mut self) -> Option<Page> {
        loop {
            match self.pool.take() {
                Some(page) => return Some(page),
                None if self.cache.evict() => {}
                None => return None,
            }
        }
    }

    /// Panics unless the page contains exactly this history at each of its first positions.
    fn check(&self, page: &Page, key: AdapterKey, tokens: &[u32], first: usize, count: usize) {
        for position in 0..count {
            let found = &self.contents[&page.id()][position];
            assert_eq!(found, &(key, tokens[..=first + position].to_vec()));
        }
    }

    fn run(&mut self, key: AdapterKey, tokens: &[u32]) {
        let found = self.cache.find(key, tokens);
        let common = |other: &Vec<u32>| tokens.iter().zip(other).take_while(|(a, b)| a == b).count();
        let most = self.kept.iter().filter(|kept| kept.0 == key).map(|kept| common(&kept.1)).max();
        assert!(found.tokens() <= most.unwrap_or(0));
        for (index, page) in found.pages.iter().enumerate() {
            self.check(page, key, tokens, index * PAGE_TOKENS, PAGE_TOKENS);
        }
        let mut table = PageTable::sharing(&found.pages);
        let start = found.tokens();
        if let Some((source, count)) = &found.partial {
            self.check(source, key, tokens, found.pages.len() * PAGE_TOKENS, *count);
            let Some(page) = self.take() else { return };
            let copy = self.contents[&source.id()][..*count].to_vec();
            self.contents.insert(page.id(), copy);
            table.push(page);
        }
        while table.missing(tokens.len()) > 0 {
            let Some(page) = self.take() else { return };
            self.contents.insert(page.id(), Vec::new());
            table.push(page);
        }
        for position in start..tokens.len() {
            let slots = self.contents.get_mut(&table.ids()[position / PAGE_TOKENS]).unwrap();
            slots.truncate(position % PAGE_TOKENS);
            slots.push((key, tokens[..=position].to_vec()));
        }
        self.cache.insert(key, tokens, &mut table);
        assert_eq!(table.ids().len(), pages_for(tokens.len()));
        for (index, page) in table.pages().iter().enumerate() {
            let first = index * PAGE_TOKENS;
            self.check(page, key, tokens, first, (tokens.len() - first).min(PAGE_TOKENS));
        }
        self.kept.push((key, tokens.to_vec()));
        self.running.push(table);
    }

    fn apply(&mut self, call: Call) {
        match call {
            Call::Run(key, tokens) => self.run(key, &tokens),
            Call::End(index) if !self.running.is_empty() => {
                let index = index % self.running.len();
                drop(self.running.swap_remove(index));
            }
            Call::End(_) => {}
            Call::Evict => {
                let (free, evictable) = (self.pool.free(), self.cache.evictable());
                assert_eq!(self.cache.evict(), evictable > 0);
                assert_eq!(self.pool.free(), free + usize::from(evictable > 0));
            }
            Call::Forget(key) => {
                self.cache.forget(key);
                self.kept.retain(|kept| kept.0 != key);
                assert_eq!(self.cache.find(key, &[1, 1, 1]).tokens(), 0);
            }
        }
    }

    /// Panics if a page is both free and held, or neither, or the cache exceeds its limit.
    fn check_invariants(&self, pages: usize, pages_max: usize) {
        let cached = self.cache.nodes.values().map(|node| node.page.id());
        let mut held: Vec<u32> =
            cached.chain(self.running.iter().flat_map(|table| table.ids().iter().copied())).collect();
        held.sort_unstable();
        held.dedup();
        assert_eq!(held.len() + self.pool.free(), pages);
        assert!(self.cache.statistics().pages <= pages_max);
        let leaves =
            self.cache.nodes.keys().filter(|id| !self.cache.children.contains_key(&ParentKey::Below(**id)));
        assert_eq!(leaves.count(), self.cache.leaves.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_page_leaks_and_no_wrong_prefix_is_served(
        calls in prop::collection::vec(call(), 1..60), pages in 6..40_usize, pages_max in 0..24_usize,
    ) {
        let mut simulation = Simulation::new(pages, pages_max);
        for call in calls {
            simulation.apply(call);
            simulation.check_invariants(pages, pages_max);
        }
        simulation.running.clear();
        while simulation.cache.evict() {}
        prop_assert_eq!(simulation.pool.free(), pages);
    }

    #[test]
    fn with_enough_room_the_longest_prefix_is_always_found(runs in prop::collection::vec(tokens(), 1..12), asked in tokens()) {
        let mut simulation = Simulation::new(200, 200);
        runs.iter().for_each(|run| simulation.run(None, run));
        let common = |run: &Vec<u32>| run.iter().zip(&asked).take_while(|(a, b)| a == b).count();
        let longest = runs.iter().map(common).max().unwrap_or(0);
        prop_assert_eq!(simulation.cache.find(None, &asked).tokens(), longest);
        prop_assert_eq!(simulation.cache.find(Some(1), &asked).tokens(), 0);
    }
}

#[test]
fn the_least_recently_used_page_is_evicted_first_and_leaves_before_their_parents() {
    let mut simulation = Simulation::new(8, 8);
    let (a, b) = ([vec![1; 16], vec![2; 16]].concat(), vec![3; 16]);
    simulation.run(None, &a);
    simulation.run(None, &b);
    simulation.running.clear();
    simulation.cache.find(None, &a);
    let found = |simulation: &mut Simulation, tokens: &[u32]| simulation.cache.find(None, tokens).tokens();
    assert!(simulation.cache.evict());
    assert_eq!(found(&mut simulation, &b), 0);
    assert!(simulation.cache.evict());
    assert_eq!(found(&mut simulation, &a), 16);
    simulation.cache.count(32, 16);
    simulation.cache.count(5, 0);
    let statistics =
        PrefixStatistics { lookups: 2, hits: 1, tokens_asked: 37, tokens_reused: 16, evictions: 2, pages: 1 };
    assert_eq!(simulation.cache.statistics(), statistics);
}
