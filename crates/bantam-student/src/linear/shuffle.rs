//! Seeded shuffling.

use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};

/// Shuffles items into orders that depend only on the seed, on every platform.
#[derive(Debug)]
pub(crate) struct Shuffler(SplitMix64);

impl Shuffler {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SplitMix64::seed_from_u64(seed))
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for position in (1..items.len()).rev() {
            items.swap(position, (self.0.next_u64() % (position as u64 + 1)) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_order() {
        let mut items = [0, 1, 2, 3, 4, 5, 6, 7];
        Shuffler::new(7).shuffle(&mut items);
        assert_eq!(items, [1, 4, 5, 2, 6, 0, 3, 7]);
    }
}
