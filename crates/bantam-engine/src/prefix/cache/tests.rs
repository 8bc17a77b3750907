//! The cache against a model that keeps every prefix in a plain list.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::prefix::{PagePool, pages_for};

/// What a page holds, as a key-value memory would: for each place the whole history up to it.
type Memory = HashMap<u32, Vec<(AdapterKey, Vec<u32>)>>;

#[derive(Clone, Debug)]
enum Call {
    /// Looks tokens up, computes the rest, keeps all of it, and holds it as a running sequence does.
    Run(AdapterKey, Vec<u32>),
    /// Ends the running sequence of this number, modulo how many there are.
    End(usize),
    Evict,
    Forget(AdapterKey),
}

fn tokens() -> impl Strategy<Value = Vec<u32>> {
    // Few tokens and many repeats, so that prefixes are shared and part within pages.
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

struct World {
    pool: PagePool,
    cache: PrefixCache,
    memory: Memory,
    running: Vec<PageTable>,
    /// Everything that was ever kept and not forgotten: the most that may be found.
    kept: Vec<(AdapterKey, Vec<u32>)>,
}

impl World {
    fn new(pages: usize, pages_max: usize) -> Self {
        Self {
            pool: PagePool::new(pages),
            cache: PrefixCache::new(pages_max),
            memory: Memory::new(),
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

    /// Panics unless the page holds just this history at each of its first places.
    fn check(&self, page: &Page, key: AdapterKey, tokens: &[u32], first: usize, count: usize) {
        for place in 0..count {
            let found = &self.memory[&page.id()][place];
            assert_eq!(found, &(key, tokens[..=first + place].to_vec()));
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
            let copy = self.memory[&source.id()][..*count].to_vec();
            self.memory.insert(page.id(), copy);
            table.push(page);
        }
        while table.missing(tokens.len()) > 0 {
            let Some(page) = self.take() else { return };
            self.memory.insert(page.id(), Vec::new());
            table.push(page);
        }
        for place in start..tokens.len() {
            let slots = self.memory.get_mut(&table.ids()[place / PAGE_TOKENS]).unwrap();
            slots.truncate(place % PAGE_TOKENS);
            slots.push((key, tokens[..=place].to_vec()));
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

    /// Panics if a page is both free and held, or neither, or the cache holds more than it may.
    fn balance(&self, pages: usize, pages_max: usize) {
        let cached = self.cache.nodes.values().map(|node| node.page.id());
        let mut held: Vec<u32> =
            cached.chain(self.running.iter().flat_map(|table| table.ids().iter().copied())).collect();
        held.sort_unstable();
        held.dedup();
        assert_eq!(held.len() + self.pool.free(), pages);
        assert!(self.cache.statistics().pages <= pages_max);
        let leaves =
            self.cache.nodes.keys().filter(|id| !self.cache.children.contains_key(&Place::Below(**id)));
        assert_eq!(leaves.count(), self.cache.leaves.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn nothing_leaks_and_no_wrong_prefix_is_served(
        calls in prop::collection::vec(call(), 1..60), pages in 6..40_usize, pages_max in 0..24_usize,
    ) {
        let mut world = World::new(pages, pages_max);
        for call in calls {
            world.apply(call);
            world.balance(pages, pages_max);
        }
        world.running.clear();
        while world.cache.evict() {}
        prop_assert_eq!(world.pool.free(), pages);
    }

    #[test]
    fn with_room_the_longest_prefix_is_always_found(runs in prop::collection::vec(tokens(), 1..12), asked in tokens()) {
        let mut world = World::new(200, 200);
        runs.iter().for_each(|run| world.run(None, run));
        let common = |run: &Vec<u32>| run.iter().zip(&asked).take_while(|(a, b)| a == b).count();
        let longest = runs.iter().map(common).max().unwrap_or(0);
        prop_assert_eq!(world.cache.find(None, &asked).tokens(), longest);
        prop_assert_eq!(world.cache.find(Some(1), &asked).tokens(), 0);
    }
}

#[test]
fn the_page_that_was_not_used_for_longest_goes_first_and_leaves_before_their_parents() {
    let mut world = World::new(8, 8);
    let (a, b) = ([vec![1; 16], vec![2; 16]].concat(), vec![3; 16]);
    world.run(None, &a);
    world.run(None, &b);
    world.running.clear();
    world.cache.find(None, &a);
    let found = |world: &mut World, tokens: &[u32]| world.cache.find(None, tokens).tokens();
    assert!(world.cache.evict());
    assert_eq!(found(&mut world, &b), 0);
    assert!(world.cache.evict());
    assert_eq!(found(&mut world, &a), 16);
    world.cache.count(32, 16);
    world.cache.count(5, 0);
    let statistics =
        PrefixStatistics { lookups: 2, hits: 1, tokens_asked: 37, tokens_reused: 16, evictions: 2, pages: 1 };
    assert_eq!(world.cache.statistics(), statistics);
}
