//! Dropout whose pattern belongs to a sequence, not to a batch.

use bantam_kernels::{Isa, Loops};

use crate::random::Key;

/// Places of a network where numbers are dropped, apart from each other and the same at every step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site(pub u64);

/// What is dropped in a batch. The pattern is never kept: the way back asks for it again.
#[derive(Clone, Copy, Debug)]
pub struct Noise<'n> {
    /// One key for each sequence of the batch; empty where nothing is dropped.
    pub keys: &'n [Key],
    /// The rows at which the sequences end.
    pub ends: &'n [usize],
}

impl Noise<'_> {
    /// Nothing is dropped.
    pub const NONE: Self = Self { keys: &[], ends: &[] };
}

/// Zeroes a share of the numbers by chance and lengthens the others, so that sums stay as they were on average. On
/// the way back the same call with the same noise does so to the gradient. `numbers` has as many for each row.
///
/// # Panics
/// If `noise` has fewer keys than ends, or ends beyond the rows.
pub fn dropout(numbers: &mut [f32], share: f32, noise: Noise<'_>, site: Site) {
    if share <= 0.0 || noise.keys.is_empty() {
        return;
    }
    let rows = noise.ends.last().copied().unwrap_or(0).max(1);
    let width = numbers.len() / rows;
    let mut start = 0;
    for (key, end) in noise.keys.iter().zip(noise.ends) {
        let of_sequence = &mut numbers[start * width..end * width];
        Isa::best().run(Drop { numbers: of_sequence, share, key: key.part(site.0) });
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
        // 16 bits decide about a number: four to a draw.
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
    fn the_share_is_dropped_and_the_mean_stays() {
        let mut numbers = vec![1.0; 40_000];
        let (keys, ends) = ([Key::new(1), Key::new(2)], [100, 400]);
        dropout(&mut numbers, 0.25, Noise { keys: &keys, ends: &ends }, Site(3));
        let dropped = numbers.iter().filter(|number| **number == 0.0).count() as f64 / 40_000.0;
        assert!((dropped - 0.25).abs() < 0.01, "{dropped}");
        let mean = numbers.iter().sum::<f32>() / 40_000.0;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
    }

    #[test]
    fn a_sequence_s_pattern_does_not_depend_on_its_neighbours() {
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
