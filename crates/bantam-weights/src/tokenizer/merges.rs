//! Byte-pair merging: which two tokens become one, and in which order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Up to this many tokens, rescanning all pairs after each merge is faster than a heap.
const SHORT: usize = 32;
const NONE: u32 = u32::MAX;

/// A merge: its pair, its rank (lower is earlier), and its result.
#[derive(Debug, Clone, Copy)]
pub(super) struct Merge {
    pub(super) left: u32,
    pub(super) right: u32,
    pub(super) rank: u32,
    pub(super) id: u32,
}

/// All merges by pair: those of a left token are adjacent, sorted by the right one.
///
/// Without hashing, so that no file can be crafted to make lookups slow.
#[derive(Debug)]
pub(super) struct Merges {
    starts: Vec<u32>,
    rights: Vec<u32>,
    /// Rank and result.
    results: Vec<(u32, u32)>,
}

/// Reused working memory.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Rank and result of each token with the next.
    pairs: Vec<(u32, u32)>,
    links: Vec<(u32, u32)>,
    /// Rank, position, result.
    heap: BinaryHeap<Reverse<(u32, u32, u32)>>,
}

impl Merges {
    /// Indexes merges. If a pair has several, the last one wins, as in the reference.
    pub(super) fn new(mut merges: Vec<Merge>) -> Self {
        merges.sort_by_key(|merge| (merge.left, merge.right));
        let ids = merges.last().map_or(0, |merge| merge.left as usize + 1);
        let mut built = Self { starts: Vec::with_capacity(ids + 1), rights: Vec::new(), results: Vec::new() };
        for (at, merge) in merges.iter().enumerate() {
            if merges.get(at + 1).is_some_and(|next| (next.left, next.right) == (merge.left, merge.right)) {
                continue;
            }
            // Ids and merges fit in 32 bits, because a file has fewer bytes.
            built.starts.resize(merge.left as usize + 1, built.rights.len() as u32);
            built.rights.push(merge.right);
            built.results.push((merge.rank, merge.id));
        }
        built.starts.push(built.rights.len() as u32);
        built
    }

    /// Returns the rank and the result of a pair.
    #[inline]
    fn find(&self, left: u32, right: u32) -> Option<(u32, u32)> {
        let left = left as usize;
        let (start, end) = (*self.starts.get(left)? as usize, *self.starts.get(left + 1)? as usize);
        let found = self.rights.get(start..end)?.binary_search(&right).ok()?;
        self.results.get(start + found).copied()
    }

    /// Merges the pair of the lowest rank, the leftmost of several, until no pair can be merged.
    pub(super) fn merge(&self, tokens: &mut Vec<u32>, scratch: &mut Scratch) {
        match tokens.len() {
            0 | 1 => {}
            ..=SHORT => self.merge_short(tokens, scratch),
            // Positions are 32 bits; a word of 4 GiB stays unmerged.
            count if count >= NONE as usize => {}
            _ => self.merge_long(tokens, scratch),
        }
    }

    fn merge_short(&self, tokens: &mut Vec<u32>, scratch: &mut Scratch) {
        let pairs = &mut scratch.pairs;
        let pair = |tokens: &[u32], at: usize| match tokens.get(at..at + 2) {
            Some(&[left, right]) => self.find(left, right).unwrap_or((NONE, NONE)),
            _ => (NONE, NONE),
        };
        pairs.clear();
        pairs.extend((0..tokens.len() - 1).map(|at| pair(tokens, at)));
        while let Some((at, &(_, id))) =
            pairs.iter().enumerate().min_by_key(|(_, pair)| pair.0).filter(|(_, pair)| pair.1 != NONE)
        {
            tokens[at] = id;
            tokens.remove(at + 1);
            pairs.remove(at);
            if at > 0 {
                pairs[at - 1] = pair(tokens, at - 1);
            }
            if at < pairs.len() {
                pairs[at] = pair(tokens, at);
            }
        }
    }

    /// Takes O(n log n) for any text, where the algorithm for short texts would take O(n²).
    fn merge_long(&self, tokens: &mut Vec<u32>, scratch: &mut Scratch) {
        let Scratch { links, heap, .. } = scratch;
        links.clear();
        heap.clear();
        let count = tokens.len() as u32;
        links.extend((0..count).map(|at| (at.wrapping_sub(1), if at + 1 < count { at + 1 } else { NONE })));
        for at in 0..tokens.len() - 1 {
            if let Some((rank, id)) = self.find(tokens[at], tokens[at + 1]) {
                heap.push(Reverse((rank, at as u32, id)));
            }
        }
        while let Some(Reverse((_, position, id))) = heap.pop() {
            let at = position as usize;
            let (before, next) = links[at];
            if tokens[at] == NONE || next == NONE {
                continue;
            }
            // The pair may have changed since it was pushed.
            let right = tokens[next as usize];
            if self.find(tokens[at], right).is_none_or(|(_, found)| found != id) {
                continue;
            }
            tokens[at] = id;
            tokens[next as usize] = NONE;
            let after = links[next as usize].1;
            links[at].1 = after;
            if after != NONE {
                links[after as usize].0 = position;
                if let Some((rank, id)) = self.find(id, tokens[after as usize]) {
                    heap.push(Reverse((rank, position, id)));
                }
            }
            if before != NONE
                && let Some((rank, id)) = self.find(tokens[before as usize], id)
            {
                heap.push(Reverse((rank, before, id)));
            }
        }
        tokens.retain(|&token| token != NONE);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn merges() -> Merges {
        // Letters a=0, b=1, c=2; ab=3, abab=4, bc=5, cc=6, aa=7, aaaa=8.
        let list = [(0, 1, 3), (3, 3, 4), (1, 2, 5), (2, 2, 6), (0, 0, 7), (7, 7, 8), (0, 5, 9)];
        let merges = list.iter().zip(0..).map(|(&(left, right, id), rank)| Merge { left, right, rank, id });
        Merges::new(merges.collect())
    }

    #[test]
    fn the_lowest_rank_is_merged_first_and_ties_go_to_the_leftmost() {
        let check = |text: &str, expected: &[u32]| {
            let mut tokens: Vec<u32> = text.bytes().map(|byte| u32::from(byte - b'a')).collect();
            merges().merge(&mut tokens, &mut Scratch::default());
            assert_eq!(tokens, expected, "{text}");
        };
        check("abc", &[3, 2]);
        check("ababab", &[4, 3]);
        check("bcc", &[5, 2]);
        check("aaaaa", &[8, 0]);
        check("ccc", &[6, 2]);
    }

    #[test]
    fn the_last_of_two_merges_of_a_pair_wins() {
        let merge = |id| Merge { left: 0, right: 1, rank: id, id };
        let merges = Merges::new(vec![merge(2), merge(3)]);
        assert_eq!(merges.find(0, 1), Some((3, 3)));
        assert_eq!(merges.find(1, 0), None);
        assert_eq!(Merges::new(Vec::new()).find(0, 0), None);
    }

    proptest! {
        #[test]
        fn both_algorithms_merge_alike(tokens in proptest::collection::vec(0..3u32, 2..80)) {
            let (merges, mut scratch) = (merges(), Scratch::default());
            let (mut short, mut long) = (tokens.clone(), tokens);
            merges.merge_short(&mut short, &mut scratch);
            merges.merge_long(&mut long, &mut scratch);
            prop_assert_eq!(short, long);
        }
    }
}
