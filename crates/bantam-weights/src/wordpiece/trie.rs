//! Finds the longest token at the start of a byte string.
//!
//! Nodes are in breadth-first order, so a node's children are adjacent and their bytes are a short run to scan. There
//! is no hashing, so no vocabulary can be crafted to make building or lookups slow.

use std::collections::VecDeque;

use super::WordPieceError;

/// A node without a token.
const NO_TOKEN: u32 = u32::MAX;
/// The root. No byte leads to it, so it also means that there is no child.
const ROOT: u32 = 0;

#[derive(Debug, Clone, Copy)]
struct Node {
    first_child: u32,
    children: u16,
    token: u32,
}

/// A trie of tokens by their bytes.
#[derive(Debug)]
pub(crate) struct Trie {
    nodes: Vec<Node>,
    /// The byte that leads to each node.
    bytes: Vec<u8>,
    /// The root's children by byte, because every lookup starts there.
    root: Box<[u32; 256]>,
}

impl Trie {
    /// Builds a trie from non-empty, distinct tokens.
    pub(crate) fn new(mut tokens: Vec<(&[u8], u32)>) -> Result<Self, WordPieceError> {
        tokens.sort_unstable();
        if let Some(pair) = tokens.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let token = String::from_utf8_lossy(pair[0].0).chars().take(64).collect();
            return Err(WordPieceError::DuplicateToken { token });
        }
        let mut trie = Self { nodes: Vec::new(), bytes: vec![0], root: Box::new([ROOT; 256]) };
        // The sorted tokens below each node: those that start with its bytes.
        let mut queue = VecDeque::from([(&tokens[..], 0usize)]);
        while let Some((mut group, depth)) = queue.pop_front() {
            let mut token = NO_TOKEN;
            if let Some(((_, id), rest)) = group.split_first().filter(|((bytes, _), _)| bytes.len() == depth)
            {
                (token, group) = (*id, rest);
            }
            let first_child = u32::try_from(trie.bytes.len()).map_err(|_| WordPieceError::TooManyTokens)?;
            let mut children = 0;
            while let Some(byte) = group.first().map(|(bytes, _)| bytes[depth]) {
                let end = group.partition_point(|(bytes, _)| bytes[depth] == byte);
                let (child, rest) = group.split_at(end);
                trie.bytes.push(byte);
                queue.push_back((child, depth + 1));
                group = rest;
                children += 1;
            }
            trie.nodes.push(Node { first_child, children, token });
        }
        if let Some(root) = trie.nodes.first().copied() {
            for child in root.first_child..root.first_child + u32::from(root.children) {
                trie.root[usize::from(trie.bytes[child as usize])] = child;
            }
        }
        Ok(trie)
    }

    /// Returns the longest token that is a prefix of the bytes: its length and id.
    #[inline]
    pub(crate) fn longest(&self, bytes: &[u8]) -> Option<(usize, u32)> {
        let (first, rest) = bytes.split_first()?;
        let mut at = self.root[usize::from(*first)];
        let mut found = None;
        if at == ROOT {
            return None;
        }
        let mut length = 1;
        for byte in rest {
            let node = &self.nodes[at as usize];
            if node.token != NO_TOKEN {
                found = Some((length, node.token));
            }
            let start = node.first_child as usize;
            let children = &self.bytes[start..start + usize::from(node.children)];
            let Some(child) = children.iter().position(|child| child == byte) else { return found };
            at = (start + child) as u32;
            length += 1;
        }
        let token = self.nodes[at as usize].token;
        if token != NO_TOKEN { Some((length, token)) } else { found }
    }

    /// Passes on the length and id of each token that is a prefix of the bytes, the shortest first.
    pub(crate) fn each_prefix(&self, bytes: &[u8], mut sink: impl FnMut(usize, u32)) {
        let Some((first, rest)) = bytes.split_first() else { return };
        let mut at = self.root[usize::from(*first)];
        let mut rest = rest.iter().zip(2..);
        let mut length = 1;
        while at != ROOT {
            let node = &self.nodes[at as usize];
            if node.token != NO_TOKEN {
                sink(length, node.token);
            }
            let Some((byte, next)) = rest.next() else { return };
            let start = node.first_child as usize;
            let children = &self.bytes[start..start + usize::from(node.children)];
            let Some(child) = children.iter().position(|child| child == byte) else { return };
            (at, length) = ((start + child) as u32, next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_token_at_the_start_is_found() {
        let tokens = [("a", 1), ("abc", 2), ("abcde", 3), ("b", 4), ("ü", 5)];
        let trie = Trie::new(tokens.iter().map(|(text, id)| (text.as_bytes(), *id)).collect()).unwrap();
        let longest = |text: &str| trie.longest(text.as_bytes());
        assert_eq!(longest("a"), Some((1, 1)));
        assert_eq!(longest("ab"), Some((1, 1)));
        assert_eq!(longest("abcd"), Some((3, 2)));
        assert_eq!(longest("abcdef"), Some((5, 3)));
        assert_eq!(longest("bb"), Some((1, 4)));
        assert_eq!(longest("üx"), Some((2, 5)));
        assert_eq!(longest("x"), None);
        assert_eq!(longest(""), None);
        assert_eq!(Trie::new(Vec::new()).unwrap().longest(b"a"), None);
    }

    #[test]
    fn a_duplicate_token_is_refused() {
        let error = Trie::new(vec![(b"a", 1), (b"a", 2)]).unwrap_err();
        assert_eq!(error.to_string(), "the token \"a\" appears twice");
    }
}
