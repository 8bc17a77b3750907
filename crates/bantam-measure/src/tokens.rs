//! Tokens that stand for a text: the same work, whatever they are.

/// A generator of tokens.
pub(crate) struct Tokens {
    state: u64,
    vocabulary: u64,
}

impl Tokens {
    pub(crate) fn new(vocabulary: usize) -> Self {
        Self::seeded(vocabulary, 0)
    }

    /// Returns tokens that differ from those of another seed.
    pub(crate) fn seeded(vocabulary: usize, seed: u64) -> Self {
        Self { state: 88_172_645_463_325_252 ^ seed, vocabulary: vocabulary as u64 }
    }

    pub(crate) fn take(&mut self, count: usize) -> Vec<u32> {
        let mut next = || {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            (self.state % self.vocabulary) as u32
        };
        (0..count).map(|_| next()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_within_the_vocabulary_and_differ() {
        let mut tokens = Tokens::new(10);
        let taken = tokens.take(1_000);
        assert!((0..10).all(|token| taken.contains(&token)) && taken.iter().all(|token| *token < 10));
    }
}
