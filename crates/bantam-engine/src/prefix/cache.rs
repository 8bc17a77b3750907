//! What was computed for earlier prompts, found again by its tokens.
//!
//! A tree for each adapter, because an adapter changes keys and values from the first token on. A node is one page
//! with the run of tokens in it: 16, or fewer at a leaf. Runs never need to be split, which a tree of longer runs
//! does whenever two prompts part, and the page is what is shared, copied and evicted anyway. No run of siblings is
//! the beginning of another; so the sibling with the longest common beginning is always a neighbour in their order.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Included, Unbounded};

use super::{PAGE_TOKENS, Page, PageTable};

/// Which adapter made the keys and values: none, or the one of this number.
pub(crate) type AdapterKey = Option<u64>;

/// How much the prefix cache has saved so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrefixStatistics {
    /// Prompts that were looked up when they began to run.
    pub lookups: u64,
    /// Those of which at least one token was there.
    pub hits: u64,
    /// Tokens of all those prompts.
    pub tokens_asked: u64,
    /// Those that were there.
    pub tokens_reused: u64,
    /// Pages that were given up to make room.
    pub evictions: u64,
    /// Pages that are kept now.
    pub pages: usize,
}

/// A cache of prefixes, bounded in pages, which gives up what was not used for longest.
#[derive(Debug)]
pub(crate) struct PrefixCache {
    nodes: HashMap<u64, Node>,
    /// For every place that has any: the nodes below it by their runs.
    children: HashMap<Place, BTreeMap<Box<[u32]>, u64>>,
    /// Nodes without children, by when they were used last.
    leaves: BTreeSet<(u64, u64)>,
    pages_max: usize,
    next_node: u64,
    /// Counts calls; a node is stamped with that of its last use.
    now: u64,
    statistics: PrefixStatistics,
}

/// Where nodes hang.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    Root(AdapterKey),
    Below(u64),
}

#[derive(Debug)]
struct Node {
    place: Place,
    run: Box<[u32]>,
    page: Page,
    used: u64,
}

/// The longest prefix that is there.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Whole pages, to be shared.
    pub(crate) pages: Vec<Page>,
    /// The page that holds the next tokens, and how many: to be copied before more are written to it.
    pub(crate) partial: Option<(Page, usize)>,
}

impl Found {
    /// Returns how many tokens were found.
    pub(crate) fn tokens(&self) -> usize {
        self.pages.len() * PAGE_TOKENS + self.partial.as_ref().map_or(0, |(_, tokens)| *tokens)
    }
}

impl PrefixCache {
    /// Returns an empty cache that keeps at most `pages_max` pages.
    pub(crate) fn new(pages_max: usize) -> Self {
        Self {
            nodes: HashMap::new(),
            children: HashMap::new(),
            leaves: BTreeSet::new(),
            pages_max,
            next_node: 0,
            now: 0,
            statistics: PrefixStatistics::default(),
        }
    }

    /// Returns the longest beginning of `tokens` that is there, and marks it as used.
    pub(crate) fn find(&mut self, key: AdapterKey, tokens: &[u32]) -> Found {
        self.now += 1;
        let (mut found, mut place) = (Found::default(), Place::Root(key));
        for run in tokens.chunks(PAGE_TOKENS) {
            let Some((id, common)) = self.nearest(place, run) else { break };
            let Some(page) = self.touch(id).map(|node| node.page.clone()) else { break };
            if common < PAGE_TOKENS {
                found.partial = Some((page, common));
                break;
            }
            found.pages.push(page);
            place = Place::Below(id);
        }
        found
    }

    /// Counts a prompt that began to run.
    pub(crate) fn count(&mut self, asked: usize, reused: usize) {
        self.statistics.lookups += 1;
        self.statistics.hits += u64::from(reused > 0);
        self.statistics.tokens_asked += asked as u64;
        self.statistics.tokens_reused += reused as u64;
    }

    /// Keeps the pages of `tokens`, as far as there is room, and marks them as used.
    ///
    /// Where a whole page of the same tokens is there already, the table takes that one and gives its own back. So
    /// whoever holds a page of the cache holds all above it.
    pub(crate) fn insert(&mut self, key: AdapterKey, tokens: &[u32], table: &mut PageTable) {
        self.now += 1;
        let mut place = Place::Root(key);
        for (index, run) in tokens.chunks(PAGE_TOKENS).enumerate() {
            let id = match self.nearest(place, run) {
                Some((id, common)) if common == run.len() => {
                    let Some(node) = self.touch(id) else { return };
                    if common == PAGE_TOKENS {
                        table.replace(index, &node.page);
                    }
                    Some(id)
                }
                Some((id, common)) if self.nodes.get(&id).is_some_and(|node| node.run.len() == common) => {
                    self.remove(id);
                    self.add(place, run, table.pages().get(index))
                }
                _ => self.add(place, run, table.pages().get(index)),
            };
            let Some(id) = id else { return };
            place = Place::Below(id);
        }
    }

    /// Gives up the page, among those that nobody else holds and that no other is below, that was not used for
    /// longest. Returns whether there was one.
    pub(crate) fn evict(&mut self) -> bool {
        self.now += 1;
        self.evict_unused()
    }

    /// Gives up all that was computed with an adapter.
    pub(crate) fn forget(&mut self, key: AdapterKey) {
        let mut places = vec![Place::Root(key)];
        while let Some(place) = places.pop() {
            for id in self.children.remove(&place).into_iter().flat_map(BTreeMap::into_values) {
                if let Some(node) = self.nodes.remove(&id) {
                    self.leaves.remove(&(node.used, id));
                }
                places.push(Place::Below(id));
            }
        }
    }

    /// Returns how many pages could be given up now.
    pub(crate) fn evictable(&self) -> usize {
        self.nodes.values().filter(|node| !node.page.is_shared()).count()
    }

    /// Returns what the cache has saved so far.
    pub(crate) fn statistics(&self) -> PrefixStatistics {
        PrefixStatistics { pages: self.nodes.len(), ..self.statistics }
    }

    /// Returns the node at a place with the longest common beginning, which is not empty, and its length.
    fn nearest(&self, place: Place, run: &[u32]) -> Option<(u64, usize)> {
        let children = self.children.get(&place)?;
        let after = children.range::<[u32], _>((Included(run), Unbounded)).next();
        let before = children.range::<[u32], _>((Unbounded, Excluded(run))).next_back();
        [after, before]
            .into_iter()
            .flatten()
            .map(|(other, id)| (*id, run.iter().zip(other).take_while(|(a, b)| a == b).count()))
            .filter(|(_, common)| *common > 0)
            .max_by_key(|(_, common)| *common)
    }

    /// Stamps a node with this call.
    fn touch(&mut self, id: u64) -> Option<&Node> {
        let node = self.nodes.get_mut(&id)?;
        if self.leaves.remove(&(node.used, id)) {
            self.leaves.insert((self.now, id));
        }
        node.used = self.now;
        Some(node)
    }

    /// Hangs a page at a place, if there is room, and returns its node.
    fn add(&mut self, place: Place, run: &[u32], page: Option<&Page>) -> Option<u64> {
        let page = page?.clone();
        if self.nodes.len() >= self.pages_max && !self.evict_unused() {
            return None;
        }
        let id = self.next_node;
        self.next_node += 1;
        if let Place::Below(above) = place
            && let Some(node) = self.nodes.get(&above)
        {
            self.leaves.remove(&(node.used, above));
        }
        self.children.entry(place).or_default().insert(run.into(), id);
        self.leaves.insert((self.now, id));
        self.nodes.insert(id, Node { place, run: run.into(), page, used: self.now });
        Some(id)
    }

    /// Evicts, but nothing that this very call has used.
    fn evict_unused(&mut self) -> bool {
        let is_unused = |(used, id): &&(u64, u64)| {
            *used < self.now && self.nodes.get(id).is_some_and(|node| !node.page.is_shared())
        };
        let Some((_, id)) = self.leaves.iter().find(is_unused).copied() else { return false };
        self.remove(id);
        self.statistics.evictions += 1;
        true
    }

    /// Removes a leaf.
    fn remove(&mut self, id: u64) {
        let Some(node) = self.nodes.remove(&id) else { return };
        self.leaves.remove(&(node.used, id));
        let Some(siblings) = self.children.get_mut(&node.place) else { return };
        siblings.remove(&node.run);
        if siblings.is_empty() {
            self.children.remove(&node.place);
            if let Place::Below(above) = node.place
                && let Some(parent) = self.nodes.get(&above)
            {
                self.leaves.insert((parent.used, above));
            }
        }
    }
}
