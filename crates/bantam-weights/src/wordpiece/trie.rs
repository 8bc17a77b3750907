//! The longest token at the start of some bytes.
//!
//! Nodes lie in breadth-first order, so a node's children are neighbours and their bytes a short run that is
//! scanned; no hashing, so no vocabulary can be made that is slow to build or to ask.

use std::collections::VecDeque;

use super::WordPieceError;

/// A node without a token.
const NO_TOKEN: u32 = u32::MAX;
/// The root, which no byte leads to; so it says that there is no child.
const ROOT: u32 = 0;

#[derive(Debug, Clone, Copy)]
struct Node {
    first_child: u32,
    children: u16,
    token: u32,
}

/// Tokens by their bytes.
#[derive(Debug)]
pub(crate) struct Trie {
    nodes: Vec<Node>,
    /// The byte that leads to each node.
    bytes: Vec<u8>,
    /// The root's children by byte, since every word asks there.
    root: Box<[u32; 256]>,
}

impl Trie {
    /// Builds from tokens, none of which may be empty or stand twice.
    pub(crate) fn new(mut tokens: Vec<(&[u8], u32)>) -> Result<Self, WordPieceError> {
        tokens.sort_unstable();
        if let Some(pair) = tokens.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let token = String::from_utf8_lossy(pair[0].0).chars().take(64).collect();
            return Err(WordPieceError::DuplicateToken { token });
        }
        let mut trie = Self { nodes: Vec::new(), bytes: vec![0], root: Box::new([ROOT; 256]) };
        // Each node's share of the sorted tokens: those that begin with its bytes.
        let mut queue = VecDeque::from([(&tokens[..], 0usize)]);
        while let Some((mut share, depth)) = queue.pop_front() {
            let mut token = NO_TOKEN;
            if let Some(((_, id), rest)) = share.split_first().filter(|((bytes, _), _)| bytes.len() == depth)
            {
                (token, share) = (*id, rest);
            }
            let first_child = u32::try_from(trie.bytes.len()).map_err(|_| WordPieceError::TooManyTokens)?;
            let mut children = 0;
            while let Some(byte) = share.first().map(|(bytes, _)| bytes[depth]) {
                let end = share.partition_point(|(bytes, _)| bytes[depth] == byte);
                let (child, rest) = share.split_at(end);
                trie.bytes.push(byte);
                queue.push_back((child, depth + 1));
                share = rest;
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

    /// The longest token that the bytes begin with: its length and its id.
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

    /// Gives the length and the id of each token that the bytes begin with, the shortest first.
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
    fn finds_the_longest_token_at_the_start() {
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
    fn refuses_a_token_that_stands_twice() {
        let error = Trie::new(vec![(b"a", 1), (b"a", 2)]).unwrap_err();
        assert_eq!(error.to_string(), "the token \"a\" stands twice");
    }
}
