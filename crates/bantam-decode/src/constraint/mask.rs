//! A set of tokens.

use toktrie::SimpleVob;

/// The tokens that may follow: one bit for each token of the model.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenMask(SimpleVob);

impl From<SimpleVob> for TokenMask {
    fn from(bits: SimpleVob) -> Self {
        Self(bits)
    }
}

impl TokenMask {
    /// Returns the set of the `tokens` that are below `vocabulary`.
    #[must_use]
    pub fn of(vocabulary: usize, tokens: &[u32]) -> Self {
        let mut bits = SimpleVob::alloc(vocabulary);
        for token in tokens.iter().filter(|token| (**token as usize) < vocabulary) {
            bits.allow_token(*token);
        }
        Self(bits)
    }

    /// Returns whether a token may follow.
    #[must_use]
    pub fn allows(&self, token: u32) -> bool {
        (token as usize) < self.0.len() && self.0.is_allowed(token)
    }

    /// Returns the tokens that may follow, in order.
    pub fn tokens(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter()
    }

    /// Returns how many tokens may follow.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.num_set()
    }

    /// Returns whether no token may follow.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_zero()
    }

    /// Sets the logits of all tokens that may not follow to minus infinity; so are those beyond the mask, which
    /// models have whose rows are padded.
    pub fn apply(&self, logits: &mut [f32]) {
        let words = self.0.as_slice();
        for (chunk, place) in logits.chunks_mut(32).zip(0..) {
            let word: u32 = words.get(place).copied().unwrap_or(0);
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

    /// Returns how many tokens the model has.
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
    fn a_mask_is_applied_to_every_logit_that_it_does_not_allow() {
        let mask = TokenMask::of(70, &[0, 33, 69, 70]);
        let mut logits = vec![1.0; 80];
        mask.apply(&mut logits);
        let left: Vec<usize> = (0..80).filter(|place| logits[*place] == 1.0).collect();
        assert_eq!(left, [0, 33, 69]);
        assert_eq!(mask.tokens().collect::<Vec<_>>(), [0, 33, 69]);
        assert!(mask.allows(33) && !mask.allows(34) && !mask.allows(70) && !mask.allows(u32::MAX));
        assert_eq!(mask.count(), 3);
    }

    #[test]
    fn removing_leaves_the_others() {
        let mut mask = TokenMask::of(40, &[1, 35]);
        mask.remove(&TokenMask::of(40, &[35, 36]));
        assert_eq!(mask, TokenMask::of(40, &[1]));
        mask.remove(&TokenMask::of(40, &[1]));
        assert!(mask.is_empty());
    }
}
