//! Sets of tokens.

use std::ops::Range;

use toktrie::SimpleVob;

/// The tokens allowed next: one bit per token of the model.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenMask(SimpleVob);

impl From<SimpleVob> for TokenMask {
    fn from(bits: SimpleVob) -> Self {
        Self(bits)
    }
}

impl TokenMask {
    /// Returns the set of those `tokens` that are below `vocabulary`.
    #[must_use]
    pub fn of(vocabulary: usize, tokens: &[u32]) -> Self {
        let mut bits = SimpleVob::alloc(vocabulary);
        for token in tokens.iter().filter(|token| (**token as usize) < vocabulary) {
            bits.allow_token(*token);
        }
        Self(bits)
    }

    /// Returns whether a token is allowed.
    #[must_use]
    pub fn allows(&self, token: u32) -> bool {
        (token as usize) < self.0.len() && self.0.is_allowed(token)
    }

    /// Returns the allowed tokens, in order.
    pub fn tokens(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter()
    }

    /// Returns the allowed tokens below `end` as runs of consecutive ids, in order. Where text is unconstrained the
    /// runs are few and long, and processing a run is many times faster than processing its tokens one by one.
    pub(crate) fn runs(&self, end: usize) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let start = self.next(at, end, true);
            at = self.next(start, end, false);
            (start < end).then_some(start..at)
        })
    }

    /// Returns the first token from `from` on that is allowed (or not allowed, by `allowed`), or else `end`.
    fn next(&self, from: usize, end: usize, allowed: bool) -> usize {
        let words = self.0.as_slice();
        let flipped = if allowed { 0 } else { u32::MAX };
        let mut left = u32::MAX << (from % 32);
        for index in from / 32..end.div_ceil(32) {
            let bits = (words.get(index).copied().unwrap_or(0) ^ flipped) & left;
            if bits != 0 {
                return end.min(index * 32 + bits.trailing_zeros() as usize);
            }
            left = u32::MAX;
        }
        end
    }

    /// Returns how many tokens are allowed.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.num_set()
    }

    /// Returns whether no token is allowed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_zero()
    }

    /// Sets the logits of all tokens that are not allowed to minus infinity, including those beyond the mask, which
    /// models with padded rows have.
    pub fn apply(&self, logits: &mut [f32]) {
        let words = self.0.as_slice();
        for (chunk, index) in logits.chunks_mut(32).zip(0..) {
            let word: u32 = words.get(index).copied().unwrap_or(0);
            if word == u32::MAX {
                continue;
            }
            for (bit, logit) in chunk.iter_mut().enumerate() {
                if word >> bit & 1 == 0 {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
    }

    /// Returns the model's number of tokens.
    pub(super) fn vocabulary(&self) -> usize {
        self.0.len()
    }

    pub(super) fn remove(&mut self, others: &Self) {
        self.0.sub(&others.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apply_removes_every_logit_that_is_not_allowed() {
        let mask = TokenMask::of(70, &[0, 33, 69, 70]);
        let mut logits = vec![1.0; 80];
        mask.apply(&mut logits);
        let left: Vec<usize> = (0..80).filter(|index| logits[*index] == 1.0).collect();
        assert_eq!(left, [0, 33, 69]);
        assert_eq!(mask.tokens().collect::<Vec<_>>(), [0, 33, 69]);
        assert!(mask.allows(33) && !mask.allows(34) && !mask.allows(70) && !mask.allows(u32::MAX));
        assert_eq!(mask.count(), 3);
    }

    #[test]
    fn runs_cover_exactly_the_allowed_tokens() {
        let every: Vec<u32> = (0..100).collect();
        let some = [0, 1, 31, 32, 33, 63, 64, 65, 98];
        for (tokens, end, expected) in [
            (&every[..], 100, vec![(0, 100)]),
            (&every[..], 64, vec![(0, 64)]),
            (&every[31..65], 100, vec![(31, 65)]),
            (&some, 100, vec![(0, 2), (31, 34), (63, 66), (98, 99)]),
            (&some, 33, vec![(0, 2), (31, 33)]),
            (&[], 100, vec![]),
            (&every, 0, vec![]),
            (&every, 130, vec![(0, 100)]),
        ] {
            let mask = TokenMask::of(100, tokens);
            assert_eq!(
                mask.runs(end).map(|run| (run.start, run.end)).collect::<Vec<_>>(),
                expected,
                "{tokens:?} below {end}"
            );
        }
    }

    #[test]
    fn remove_keeps_the_other_tokens() {
        let mut mask = TokenMask::of(40, &[1, 35]);
        mask.remove(&TokenMask::of(40, &[35, 36]));
        assert_eq!(mask, TokenMask::of(40, &[1]));
        mask.remove(&TokenMask::of(40, &[1]));
        assert!(mask.is_empty());
    }
}
