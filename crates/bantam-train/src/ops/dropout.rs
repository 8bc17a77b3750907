//! Dropout whose pattern depends on the sequence, not on the batch.

use bantam_kernels::{Isa, Loops};

use crate::random::Key;

/// Identifies a place in a network where dropout applies, so that each place has a pattern of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site(pub u64);

/// The dropout patterns of a batch. They are never stored; the backward pass generates them again from the keys.
#[derive(Clone, Copy, Debug)]
pub struct Noise<'n> {
    /// One key per sequence of the batch; empty to disable dropout.
    pub keys: &'n [Key],
    /// The rows at which the sequences end.
    pub ends: &'n [usize],
}

impl Noise<'_> {
    /// Disables dropout.
    pub const NONE: Self = Self { keys: &[], ends: &[] };
}

/// Zeroes a random share of the numbers and scales the others up, so that sums keep their expected value. For the
/// backward pass, call it on the gradient with the same noise. All rows of `numbers` have the same length.
///
/// # Panics
/// If `noise` has fewer keys than ends, or an end beyond the rows.
pub fn dropout(numbers: &mut [f32], share: f32, noise: Noise<'_>, site: Site) {
    if share <= 0.0 || noise.keys.is_empty() {
        return;
    }
    let rows = noise.ends.last().copied().unwrap_or(0).max(1);
    let width = numbers.len() / rows;
    let mut start = 0;
    for (key, end) in noise.keys.iter().zip(noise.ends) {
        let sequence = &mut numbers[start * width..end * width];
        Isa::best().run(Drop { numbers: sequence, share, key: key.part(site.0) });
        start = *end;
    }
}

struct Drop<'d> {
    numbers: &'d mut [f32],
    share: f32,
    key: Key,
}

impl Loops for Drop<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        // Each number takes 16 random bits, so one draw serves four numbers.
        let limit = (self.share * 65_536.0) as u64;
        let factor = 1.0 / (1.0 - limit as f32 / 65_536.0);
        for (index, four) in self.numbers.chunks_mut(4).enumerate() {
            let mut bits = self.key.bits(index as u64);
            for number in four {
                *number = if bits & 0xffff < limit { 0.0 } else { *number * factor };
                bits >>= 16;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_given_share_is_dropped_and_the_mean_stays() {
        let mut numbers = vec![1.0; 40_000];
        let (keys, ends) = ([Key::new(1), Key::new(2)], [100, 400]);
        dropout(&mut numbers, 0.25, Noise { keys: &keys, ends: &ends }, Site(3));
        let dropped = numbers.iter().filter(|number| **number == 0.0).count() as f64 / 40_000.0;
        assert!((dropped - 0.25).abs() < 0.01, "{dropped}");
        let mean = numbers.iter().sum::<f32>() / 40_000.0;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
    }

    #[test]
    fn a_pattern_does_not_depend_on_the_other_sequences() {
        let pattern = |keys: &[Key], ends: &[usize], from: usize| {
            let mut numbers = vec![1.0; ends.last().unwrap() * 10];
            dropout(&mut numbers, 0.5, Noise { keys, ends }, Site(0));
            numbers[from * 10..(from + 7) * 10].to_vec()
        };
        let alone = pattern(&[Key::new(5)], &[7], 0);
        assert_eq!(alone, pattern(&[Key::new(4), Key::new(5)], &[3, 10], 3));
        assert_ne!(alone, pattern(&[Key::new(4)], &[7], 0));
    }
}
