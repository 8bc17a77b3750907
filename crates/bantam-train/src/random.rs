//! Numbers by chance that depend on nothing but a key, so that a run can be taken up at any step.

/// What names a stream of numbers. Keys are derived from keys, never drawn: what a row sees at a step does not depend
/// on what else is in its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u64);

impl Key {
    /// Returns the key that everything else of a run is derived from.
    pub fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0x6a09_e667_f3bc_c908))
    }

    /// Returns a key for a part of what this one is for.
    #[must_use]
    pub fn part(self, index: u64) -> Self {
        Self(mix(self.0 ^ mix(index.wrapping_add(0x9e37_79b9_7f4a_7c15))))
    }

    /// Returns number `index` of the stream, 64 bits by chance.
    #[inline(always)]
    pub fn bits(self, index: u64) -> u64 {
        mix(self.0.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// Returns number `index` of the stream as one from 0 up to 1.
    pub fn uniform(self, index: u64) -> f64 {
        (self.bits(index) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Returns number `index` of the stream as one of a normal distribution, by Box and Muller.
    pub fn normal(self, index: u64) -> f32 {
        let radius = (-2.0 * (1.0 - self.uniform(2 * index)).ln()).sqrt();
        (radius * (std::f64::consts::TAU * self.uniform(2 * index + 1)).cos()) as f32
    }

    /// Puts items into an order by chance.
    pub fn shuffle<T>(self, items: &mut [T]) {
        for position in (1..items.len()).rev() {
            items.swap(position, (self.bits(position as u64) % (position as u64 + 1)) as usize);
        }
    }
}

/// The finaliser of SplitMix64: every bit of what goes in moves every bit of what comes out.
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
    fn numbers_are_spread_as_their_names_say() {
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
    fn parts_and_seeds_are_different_streams() {
        let keys =
            [Key::new(1), Key::new(2), Key::new(1).part(0), Key::new(1).part(1), Key::new(1).part(0).part(0)];
        for (index, left) in keys.iter().enumerate() {
            for right in &keys[..index] {
                assert_ne!(left.bits(0), right.bits(0));
            }
        }
    }

    #[test]
    fn an_order_by_chance_keeps_every_item() {
        let mut items: Vec<u32> = (0..100).collect();
        Key::new(3).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
