//! Exact probabilities of labels, each a sequence of tokens.
//!
//! To sample a label is to look at one path; here all paths are looked at. Labels share their first tokens, so
//! they are put in a trie, and the model runs once over each inner node: all nodes in one batch, behind the
//! same prompt. The probability of a label is the product of those of its tokens, with nothing approximated,
//! so a threshold on it can be certified.

mod scores;

use std::collections::BTreeMap;

pub use scores::{LabelScores, ScoreLabelsError};

/// The most tokens that a trie may have, over all labels.
pub const LABEL_TOKENS_MAX: usize = 1 << 20;

/// Labels as paths of tokens.
#[derive(Clone, Debug)]
pub struct LabelTrie {
    /// The root first, parents before children.
    nodes: Vec<Node>,
    /// For each label the node where it ends.
    ends: Vec<usize>,
    /// The nodes with children: those that the model has to be asked at, parents first.
    inner: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Node {
    /// The token that leads here; the root's is never read.
    token: u32,
    parent: usize,
    depth: usize,
    children: BTreeMap<u32, usize>,
    /// Its place among the inner nodes.
    row: Option<usize>,
}

/// A place where the model's distribution over the next token is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InnerNode {
    /// The tokens to run behind the prompt; none at the root.
    pub path: Vec<u32>,
    /// The place of the node before, in the same list; none at the root. What the model has computed for it can
    /// be shared: this path is that path and one token.
    pub parent: Option<usize>,
    /// The tokens that labels go on with, whose probabilities are needed here; sorted.
    pub next: Vec<u32>,
}

/// What labels no trie can be made of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelTrieError {
    /// There are no labels.
    #[error("there are no labels: name at least one")]
    NoLabels,
    /// A label has no tokens.
    #[error("label {0} has no tokens: give it text, or leave it out")]
    Empty(usize),
    /// Two labels have the same tokens.
    #[error("labels {0} and {1} have the same tokens: leave one out")]
    Same(usize, usize),
    /// One label begins with all of another, and nothing says where the shorter one ends.
    #[error(
        "label {short} is the beginning of label {long}: give a terminator, such as the end-of-sequence token"
    )]
    Prefix {
        /// The label that is the beginning.
        short: usize,
        /// The label that goes on.
        long: usize,
    },
    /// The terminator is within a label.
    #[error("label {label} has the terminator, token {token}, within it: give a token that no label has")]
    Terminator {
        /// The label.
        label: usize,
        /// The terminator.
        token: u32,
    },
    /// There are more tokens than [`LABEL_TOKENS_MAX`].
    #[error("labels have {0} tokens together, more than {LABEL_TOKENS_MAX}: use fewer or shorter labels")]
    TooLarge(usize),
}

impl LabelTrie {
    /// Returns the trie of labels, each given by its tokens. With a `terminator` each label ends in that token,
    /// so that a label may be the beginning of another, and so that "card" does not collect what the model
    /// meant for "cardiology".
    pub fn new(labels: &[Vec<u32>], terminator: Option<u32>) -> Result<Self, LabelTrieError> {
        let tokens = labels.iter().map(|label| label.len() + 1).sum();
        if tokens > LABEL_TOKENS_MAX {
            return Err(LabelTrieError::TooLarge(tokens));
        }
        if labels.is_empty() {
            return Err(LabelTrieError::NoLabels);
        }
        let root = Node { token: 0, parent: 0, depth: 0, children: BTreeMap::new(), row: None };
        let mut trie = Self { nodes: vec![root], ends: Vec::new(), inner: Vec::new() };
        let mut owners: BTreeMap<usize, usize> = BTreeMap::new();
        for (place, label) in labels.iter().enumerate() {
            if label.is_empty() {
                return Err(LabelTrieError::Empty(place));
            }
            if let Some(token) = terminator.filter(|token| label.contains(token)) {
                return Err(LabelTrieError::Terminator { label: place, token });
            }
            let end = label.iter().chain(&terminator).fold(0, |node, token| trie.child(node, *token));
            if let Some(other) = owners.insert(end, place) {
                return Err(LabelTrieError::Same(other, place));
            }
            trie.ends.push(end);
        }
        trie.refuse_prefixes(&owners)?;
        for place in 0..trie.nodes.len() {
            if !trie.nodes[place].children.is_empty() {
                trie.nodes[place].row = Some(trie.inner.len());
                trie.inner.push(place);
            }
        }
        Ok(trie)
    }

    /// Returns how many labels there are.
    #[must_use]
    pub fn labels(&self) -> usize {
        self.ends.len()
    }

    /// Returns where the model has to be asked, parents first, the root at place 0. [`Self::score`] takes the
    /// rows in this order.
    #[must_use]
    pub fn inner_nodes(&self) -> Vec<InnerNode> {
        let node = |place: &usize| {
            let node = &self.nodes[*place];
            let parent = (*place != 0).then(|| self.nodes[node.parent].row).flatten();
            InnerNode { path: self.path(*place), parent, next: node.children.keys().copied().collect() }
        };
        self.inner.iter().map(node).collect()
    }

    fn path(&self, mut place: usize) -> Vec<u32> {
        let mut path = vec![0; self.nodes[place].depth];
        for token in path.iter_mut().rev() {
            *token = self.nodes[place].token;
            place = self.nodes[place].parent;
        }
        path
    }

    fn child(&mut self, parent: usize, token: u32) -> usize {
        let new = self.nodes.len();
        let place = *self.nodes[parent].children.entry(token).or_insert(new);
        if place == new {
            let depth = self.nodes[parent].depth + 1;
            self.nodes.push(Node { token, parent, depth, children: BTreeMap::new(), row: None });
        }
        place
    }

    fn refuse_prefixes(&self, owners: &BTreeMap<usize, usize>) -> Result<(), LabelTrieError> {
        for (long, end) in self.ends.iter().enumerate() {
            let mut place = *end;
            while place != 0 {
                place = self.nodes[place].parent;
                if let Some(short) = owners.get(&place) {
                    return Err(LabelTrieError::Prefix { short: *short, long });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
