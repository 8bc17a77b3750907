//! Exact probabilities of labels, each a sequence of tokens.
//!
//! Sampling a label follows one path; here all paths are evaluated. Labels share their first tokens, so they form a
//! trie, and the model runs once over each inner node: all nodes in one batch after the same prompt. The probability
//! of a label is the exact product of its tokens' probabilities, so a threshold on it can be certified.

mod scores;

use std::collections::BTreeMap;

pub use scores::{LabelScores, ScoreLabelsError};

/// Most tokens of a trie, over all labels.
pub const LABEL_TOKENS_MAX: usize = 1 << 20;

/// A trie of labels, each a path of tokens.
#[derive(Clone, Debug)]
pub struct LabelTrie {
    /// The root first, parents before children.
    nodes: Vec<Node>,
    /// For each label, the node where it ends.
    ends: Vec<usize>,
    /// The nodes with children, at which the model is evaluated, parents first.
    inner: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Node {
    /// The token that leads here; unused at the root.
    token: u32,
    parent: usize,
    depth: usize,
    children: BTreeMap<u32, usize>,
    /// Its index among the inner nodes.
    row: Option<usize>,
}

/// A point at which the model's distribution over the next token is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InnerNode {
    /// The tokens to run after the prompt; empty at the root.
    pub path: Vec<u32>,
    /// The index of the parent in the same list; `None` at the root. The model's state for it can be shared: this
    /// path is the parent's path plus one token.
    pub parent: Option<usize>,
    /// The tokens with which labels continue here, sorted; their probabilities are needed.
    pub next: Vec<u32>,
}

/// Why labels cannot form a trie.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelTrieError {
    /// There are no labels.
    #[error("there are no labels: add at least one")]
    NoLabels,
    /// A label has no tokens.
    #[error("label {0} has no tokens: give it text or remove it")]
    Empty(usize),
    /// Two labels have the same tokens.
    #[error("labels {0} and {1} have the same tokens: remove one")]
    Same(usize, usize),
    /// One label is a prefix of another, and nothing marks where the shorter one ends.
    #[error("label {short} is a prefix of label {long}: set a terminator, such as the end-of-sequence token")]
    Prefix {
        /// The shorter label.
        short: usize,
        /// The longer label.
        long: usize,
    },
    /// A label contains the terminator.
    #[error("label {label} contains the terminator, token {token}: choose a token that no label contains")]
    Terminator {
        /// The label.
        label: usize,
        /// The terminator.
        token: u32,
    },
    /// There are more tokens than [`LABEL_TOKENS_MAX`].
    #[error(
        "the labels have {0} tokens in total, over the limit of {LABEL_TOKENS_MAX}: use fewer or shorter labels"
    )]
    TooLarge(usize),
}

impl LabelTrie {
    /// Builds the trie of labels, each given by its tokens. With a `terminator`, each label ends in that token, so
    /// that a label may be a prefix of another, and "card" does not collect the probability that the model gives to
    /// "cardiology".
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
        for (index, label) in labels.iter().enumerate() {
            if label.is_empty() {
                return Err(LabelTrieError::Empty(index));
            }
            if let Some(token) = terminator.filter(|token| label.contains(token)) {
                return Err(LabelTrieError::Terminator { label: index, token });
            }
            let end = label.iter().chain(&terminator).fold(0, |node, token| trie.child(node, *token));
            if let Some(other) = owners.insert(end, index) {
                return Err(LabelTrieError::Same(other, index));
            }
            trie.ends.push(end);
        }
        trie.refuse_prefixes(&owners)?;
        for index in 0..trie.nodes.len() {
            if !trie.nodes[index].children.is_empty() {
                trie.nodes[index].row = Some(trie.inner.len());
                trie.inner.push(index);
            }
        }
        Ok(trie)
    }

    /// Returns the number of labels.
    #[must_use]
    pub fn labels(&self) -> usize {
        self.ends.len()
    }

    /// Returns the points at which the model is needed, parents first, the root at index 0. [`Self::score`] takes the
    /// rows in this order.
    #[must_use]
    pub fn inner_nodes(&self) -> Vec<InnerNode> {
        let node = |index: &usize| {
            let node = &self.nodes[*index];
            let parent = (*index != 0).then(|| self.nodes[node.parent].row).flatten();
            InnerNode { path: self.path(*index), parent, next: node.children.keys().copied().collect() }
        };
        self.inner.iter().map(node).collect()
    }

    fn path(&self, mut index: usize) -> Vec<u32> {
        let mut path = vec![0; self.nodes[index].depth];
        for token in path.iter_mut().rev() {
            *token = self.nodes[index].token;
            index = self.nodes[index].parent;
        }
        path
    }

    fn child(&mut self, parent: usize, token: u32) -> usize {
        let new = self.nodes.len();
        let index = *self.nodes[parent].children.entry(token).or_insert(new);
        if index == new {
            let depth = self.nodes[parent].depth + 1;
            self.nodes.push(Node { token, parent, depth, children: BTreeMap::new(), row: None });
        }
        index
    }

    fn refuse_prefixes(&self, owners: &BTreeMap<usize, usize>) -> Result<(), LabelTrieError> {
        for (long, end) in self.ends.iter().enumerate() {
            let mut index = *end;
            while index != 0 {
                index = self.nodes[index].parent;
                if let Some(short) = owners.get(&index) {
                    return Err(LabelTrieError::Prefix { short: *short, long });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
