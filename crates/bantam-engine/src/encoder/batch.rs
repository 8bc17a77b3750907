//! Batches of token sequences, concatenated.

use std::ops::Range;

/// Token sequences of any lengths.
#[derive(Clone, Debug, Default)]
pub struct TokenBatch {
    ids: Vec<u32>,
    /// For each sequence: the end of its first text, and its own end.
    ends: Vec<(usize, usize)>,
}

impl TokenBatch {
    /// Returns an empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a sequence of one text, including the special tokens that the model expects.
    pub fn push(&mut self, ids: &[u32]) {
        self.push_pair(ids, &[]);
    }

    /// Adds a sequence of two texts, the second with token type 1.
    pub fn push_pair(&mut self, first: &[u32], second: &[u32]) {
        self.ids.extend_from_slice(first);
        let first_end = self.ids.len();
        self.ids.extend_from_slice(second);
        self.ends.push((first_end, self.ids.len()));
    }

    /// Removes all sequences and keeps the memory.
    pub fn clear(&mut self) {
        self.ids.clear();
        self.ends.clear();
    }

    /// Returns the number of sequences.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns whether there are no sequences.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the total number of tokens.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Returns the rows of the batch that hold the sequence's tokens.
    pub(super) fn row_range(&self, sequence: usize) -> Range<usize> {
        let start = if sequence == 0 { 0 } else { self.ends[sequence - 1].1 };
        start..self.ends[sequence].1
    }

    /// Returns the rows of the batch that hold the tokens of these sequences, of which there must be at least one.
    pub(super) fn rows(&self, sequences: Range<usize>) -> Range<usize> {
        self.row_range(sequences.start).start..self.ends[sequences.end - 1].1
    }

    /// Returns a sequence's ids, and whether it is a pair.
    pub(super) fn sequence(&self, sequence: usize) -> (&[u32], bool) {
        let (first_end, end) = self.ends[sequence];
        (&self.ids[self.row_range(sequence)], first_end < end)
    }

    /// Returns a sequence's ids, each with its token type.
    pub(super) fn typed(&self, sequence: usize) -> impl Iterator<Item = (u32, usize)> + '_ {
        let first_end = self.ends[sequence].0;
        self.row_range(sequence).map(move |row| (self.ids[row], usize::from(row >= first_end)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_returned_as_added() {
        let mut batch = TokenBatch::new();
        assert!(batch.is_empty());
        batch.push(&[1, 2, 3]);
        batch.push_pair(&[4, 5], &[6]);
        assert_eq!((batch.len(), batch.tokens()), (2, 6));
        assert_eq!(batch.sequence(0), (&[1, 2, 3][..], false));
        assert_eq!(batch.sequence(1), (&[4, 5, 6][..], true));
        assert_eq!(batch.typed(1).collect::<Vec<_>>(), [(4, 0), (5, 0), (6, 1)]);
        assert_eq!(batch.rows(0..2), 0..6);
        batch.clear();
        assert_eq!((batch.len(), batch.tokens()), (0, 0));
    }
}
