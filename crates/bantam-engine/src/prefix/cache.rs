//! The prefix cache: finds keys and values computed for earlier prompts by their tokens.
//!
//! A prompt says who may share what was computed for it ([`PrefixScope`]): its first tokens may be anybody's, all others are
//! found again by the same caller only. Otherwise the time of an answer, and its count of cached tokens, would tell one
//! caller what another has asked.
//!
//! Each adapter has its own tree, because an adapter changes keys and values from the first token on. A node is one
//! page with its run of tokens: 16, or fewer at a leaf. So runs never need to be split, as they would in a tree of
//! longer runs whenever two prompts diverge, and the page is the unit that is shared, copied and evicted anyway. No
//! run among siblings is a prefix of another; so the sibling with the longest common prefix is always adjacent in
//! sort order.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Included, Unbounded};

use super::{PAGE_TOKENS, Page, PageTable};

/// The adapter with which keys and values were computed, or `None` for the plain model.
pub(crate) type AdapterKey = Option<u64>;

/// Who may share what was computed for a prompt. By default, everybody may share all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixScope {
    /// How many tokens at the beginning everybody may share: instructions that are no caller's own.
    pub shared_tokens: usize,
    /// Who may share the others. Requests with the same number do.
    pub owner: u64,
}

impl Default for PrefixScope {
    fn default() -> Self {
        Self { shared_tokens: usize::MAX, owner: 0 }
    }
}

impl PrefixScope {
    /// Returns how many tokens of a prompt of this scope one of `other` may share.
    pub(crate) fn shared_with(self, other: Self) -> usize {
        if self.owner == other.owner && self.shared_tokens == other.shared_tokens {
            return usize::MAX;
        }
        self.shared_tokens.min(other.shared_tokens)
    }

    /// Returns who may share the page with that index: an owner, or `None` for everybody.
    fn of_page(self, index: usize) -> Option<u64> {
        ((index + 1).saturating_mul(PAGE_TOKENS) > self.shared_tokens).then_some(self.owner)
    }
}

/// What keys and values depend on beside tokens, and who may share them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PrefixKey {
    pub(crate) adapter: AdapterKey,
    pub(crate) scope: PrefixScope,
}

impl From<AdapterKey> for PrefixKey {
    fn from(adapter: AdapterKey) -> Self {
        Self { adapter, scope: PrefixScope::default() }
    }
}

/// The children of a node of one owner, by their runs.
type Siblings = BTreeMap<Box<[u32]>, u64>;

/// Savings of the prefix cache so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrefixStatistics {
    /// Prompts looked up when they started to run.
    pub lookups: u64,
    /// Prompts of which at least one token was cached.
    pub hits: u64,
    /// Total tokens of these prompts.
    pub tokens_asked: u64,
    /// Tokens that were cached.
    pub tokens_reused: u64,
    /// Pages evicted to make room.
    pub evictions: u64,
    /// Pages cached now.
    pub pages: usize,
}

/// A bounded cache of prefixes with least-recently-used eviction.
#[derive(Debug)]
pub(crate) struct PrefixCache {
    nodes: HashMap<u64, Node>,
    /// The children of every parent that has any, by their owners.
    children: HashMap<ParentKey, BTreeMap<Option<u64>, Siblings>>,
    /// Nodes without children, by time of last use.
    leaves: BTreeSet<(u64, u64)>,
    pages_max: usize,
    next_node: u64,
    /// Counts calls; a node is stamped with the call of its last use.
    now: u64,
    statistics: PrefixStatistics,
}

/// The parent of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum ParentKey {
    Root(AdapterKey),
    Below(u64),
}

#[derive(Debug)]
struct Node {
    parent: ParentKey,
    owner: Option<u64>,
    run: Box<[u32]>,
    page: Page,
    used: u64,
}

/// The longest cached prefix of some tokens.
#[derive(Debug, Default)]
pub(crate) struct CachedPrefix {
    /// Whole pages, to be shared.
    pub(crate) pages: Vec<Page>,
    /// The page with the next tokens, and how many of them match: to be copied before more are written to it.
    pub(crate) partial: Option<(Page, usize)>,
}

impl CachedPrefix {
    /// Returns the number of tokens found.
    pub(crate) fn tokens(&self) -> usize {
        self.pages.len() * PAGE_TOKENS + self.partial.as_ref().map_or(0, |(_, tokens)| *tokens)
    }
}

impl PrefixCache {
    /// Returns an empty cache of at most `pages_max` pages.
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

    /// Returns the longest cached prefix of `tokens`, and marks it as used.
    pub(crate) fn find(&mut self, key: impl Into<PrefixKey>, tokens: &[u32]) -> CachedPrefix {
        self.now += 1;
        let PrefixKey { adapter, scope } = key.into();
        let (mut found, mut parent) = (CachedPrefix::default(), ParentKey::Root(adapter));
        for (index, run) in tokens.chunks(PAGE_TOKENS).enumerate() {
            let Some((id, common)) = self.nearest(parent, scope.of_page(index), run) else { break };
            let Some(page) = self.touch(id).map(|node| node.page.clone()) else { break };
            if common < PAGE_TOKENS {
                found.partial = Some((page, common));
                break;
            }
            found.pages.push(page);
            parent = ParentKey::Below(id);
        }
        found
    }

    /// Counts a prompt that started to run.
    pub(crate) fn count(&mut self, asked: usize, reused: usize) {
        self.statistics.lookups += 1;
        self.statistics.hits += u64::from(reused > 0);
        self.statistics.tokens_asked += asked as u64;
        self.statistics.tokens_reused += reused as u64;
    }

    /// Caches the pages of `tokens`, as far as there is room, and marks them as used.
    ///
    /// If a whole page of the same tokens is cached already, the table switches to that page and returns its own. So
    /// a holder of a cached page always holds all its ancestors.
    pub(crate) fn insert(&mut self, key: impl Into<PrefixKey>, tokens: &[u32], table: &mut PageTable) {
        self.now += 1;
        let PrefixKey { adapter, scope } = key.into();
        let mut parent = ParentKey::Root(adapter);
        for (index, run) in tokens.chunks(PAGE_TOKENS).enumerate() {
            let owner = scope.of_page(index);
            let id = match self.nearest(parent, owner, run) {
                Some((id, common)) if common == run.len() => {
                    let Some(node) = self.touch(id) else { return };
                    if common == PAGE_TOKENS {
                        table.replace(index, &node.page);
                    }
                    Some(id)
                }
                Some((id, common)) if self.nodes.get(&id).is_some_and(|node| node.run.len() == common) => {
                    self.remove(id);
                    self.add((parent, owner), run, table.pages().get(index))
                }
                _ => self.add((parent, owner), run, table.pages().get(index)),
            };
            let Some(id) = id else { return };
            parent = ParentKey::Below(id);
        }
    }

    /// Evicts the least recently used page among the leaves that only the cache holds. Returns whether there was one.
    pub(crate) fn evict(&mut self) -> bool {
        self.now += 1;
        self.evict_unused()
    }

    /// Drops everything computed with an adapter.
    pub(crate) fn forget(&mut self, key: AdapterKey) {
        let mut parents = vec![ParentKey::Root(key)];
        while let Some(parent) = parents.pop() {
            let children = self.children.remove(&parent).into_iter().flat_map(BTreeMap::into_values);
            for id in children.flat_map(BTreeMap::into_values) {
                if let Some(node) = self.nodes.remove(&id) {
                    self.leaves.remove(&(node.used, id));
                }
                parents.push(ParentKey::Below(id));
            }
        }
    }

    /// Returns how many pages could be evicted now.
    pub(crate) fn evictable(&self) -> usize {
        self.nodes.values().filter(|node| !node.page.is_shared()).count()
    }

    /// Returns the cache's statistics.
    pub(crate) fn statistics(&self) -> PrefixStatistics {
        PrefixStatistics { pages: self.nodes.len(), ..self.statistics }
    }

    /// Returns the child with the longest common prefix, which is not empty, and its length.
    fn nearest(&self, parent: ParentKey, owner: Option<u64>, run: &[u32]) -> Option<(u64, usize)> {
        let children = self.children.get(&parent)?.get(&owner)?;
        let after = children.range::<[u32], _>((Included(run), Unbounded)).next();
        let before = children.range::<[u32], _>((Unbounded, Excluded(run))).next_back();
        [after, before]
            .into_iter()
            .flatten()
            .map(|(other, id)| (*id, run.iter().zip(other).take_while(|(a, b)| a == b).count()))
            .filter(|(_, common)| *common > 0)
            .max_by_key(|(_, common)| *common)
    }

    /// Marks a node as used by this call.
    fn touch(&mut self, id: u64) -> Option<&Node> {
        let node = self.nodes.get_mut(&id)?;
        if self.leaves.remove(&(node.used, id)) {
            self.leaves.insert((self.now, id));
        }
        node.used = self.now;
        Some(node)
    }

    /// Adds a page below a parent, if there is room, and returns its node.
    fn add(
        &mut self,
        (parent, owner): (ParentKey, Option<u64>),
        run: &[u32],
        page: Option<&Page>,
    ) -> Option<u64> {
        let page = page?.clone();
        if self.nodes.len() >= self.pages_max && !self.evict_unused() {
            return None;
        }
        let id = self.next_node;
        self.next_node += 1;
        if let ParentKey::Below(above) = parent
            && let Some(node) = self.nodes.get(&above)
        {
            self.leaves.remove(&(node.used, above));
        }
        self.children.entry(parent).or_default().entry(owner).or_default().insert(run.into(), id);
        self.leaves.insert((self.now, id));
        self.nodes.insert(id, Node { parent, owner, run: run.into(), page, used: self.now });
        Some(id)
    }

    /// Evicts a page, but none that this call has used.
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
        let Some(children) = self.children.get_mut(&node.parent) else { return };
        if let Some(siblings) = children.get_mut(&node.owner) {
            siblings.remove(&node.run);
            if siblings.is_empty() {
                children.remove(&node.owner);
            }
        }
        if children.is_empty() {
            self.children.remove(&node.parent);
            if let ParentKey::Below(above) = node.parent
                && let Some(parent) = self.nodes.get(&above)
            {
                self.leaves.insert((parent.used, above));
            }
        }
    }
}
