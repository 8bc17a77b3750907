//! Counter-based random numbers: they depend only on a key and an index, so a run can resume at any step.

/// Identifies a stream of random numbers. Keys are derived from other keys rather than drawn, so that the randomness of
/// a row does not depend on the rest of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u64);

impl Key {
    /// Returns the root key of a run.
    pub fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0x6a09_e667_f3bc_c908))
    }

    /// Derives the key of a sub-stream.
    #[must_use]
    pub fn part(self, index: u64) -> Self {
        Self(mix(self.0 ^ mix(index.wrapping_add(0x9e37_79b9_7f4a_7c15))))
    }

    /// Returns the 64 random bits at `index`.
    #[inline(always)]
    pub fn bits(self, index: u64) -> u64 {
        mix(self.0.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// Returns the number at `index`, uniformly distributed in [0, 1).
    pub fn uniform(self, index: u64) -> f64 {
        (self.bits(index) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns the number at `index`, normally distributed (Box-Muller).
    pub fn normal(self, index: u64) -> f32 {
        let radius = (-2.0 * (1.0 - self.uniform(2 * index)).ln()).sqrt();
        (radius * (std::f64::consts::TAU * self.uniform(2 * index + 1)).cos()) as f32
    }

    /// Shuffles items.
    pub fn shuffle<T>(self, items: &mut [T]) {
        for position in (1..items.len()).rev() {
            items.swap(position, (self.bits(position as u64) % (position as u64 + 1)) as usize);
        }
    }
}

/// The finaliser of SplitMix64: every input bit affects every output bit.
#[inline(always)]
fn mix(value: u64) -> u64 {
    let mixed = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_and_normal_numbers_have_their_distributions() {
        let key = Key::new(7);
        let count = 20_000;
        let uniform = (0..count).map(|index| key.uniform(index)).sum::<f64>() / count as f64;
        assert!((uniform - 0.5).abs() < 0.01, "{uniform}");
        let normal: Vec<f64> = (0..count).map(|index| f64::from(key.normal(index))).collect();
        let mean = normal.iter().sum::<f64>() / count as f64;
        let variance = normal.iter().map(|number| number * number).sum::<f64>() / count as f64;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.04, "{mean} {variance}");
    }

    #[test]
    fn derived_keys_and_seeds_give_different_streams() {
        let keys =
            [Key::new(1), Key::new(2), Key::new(1).part(0), Key::new(1).part(1), Key::new(1).part(0).part(0)];
        for (index, left) in keys.iter().enumerate() {
            for right in &keys[..index] {
                assert_ne!(left.bits(0), right.bits(0));
            }
        }
    }

    #[test]
    fn shuffling_keeps_every_item() {
        let mut items: Vec<u32> = (0..100).collect();
        Key::new(3).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
