//! Rotary position embeddings of queries and keys (RoPE, <https://arxiv.org/abs/2104.09864>).

use bantam_kernels::{Isa, Loops};

use super::numbers::fit;

/// Direction of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// By the positions' angles.
    Forward,
    /// By the negated angles, for the gradient.
    Back,
}

/// Rotates heads whose pair `i` consists of the numbers `i` and `i + pairs`.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// One per pair, in radians per position.
    pub frequencies: Vec<f32>,
    /// Factor on the rotated numbers.
    pub magnitude: f32,
    /// Head size; numbers beyond the pairs are not rotated.
    pub size: usize,
    /// Number of heads at the start of a row to rotate; the rest of the row is unchanged.
    pub heads: usize,
}

impl Rotation {
    /// Writes the cosines and sines of every row for [`Self::turn`]; all layers share them. Sequences end at the rows
    /// `ends`, and each starts at position 0.
    pub fn angles(&self, ends: &[usize], into: &mut Vec<f32>) {
        let pairs = self.frequencies.len();
        let rows = ends.last().copied().unwrap_or(0);
        let into = fit(into, rows * 2 * pairs);
        let mut start = 0;
        for end in ends {
            for (position, row) in (start..*end).enumerate() {
                let (cosines, sines) = into[row * 2 * pairs..][..2 * pairs].split_at_mut(pairs);
                for ((cosine, sine), frequency) in cosines.iter_mut().zip(sines).zip(&self.frequencies) {
                    let (sin, cos) = (position as f32 * frequency).sin_cos();
                    (*cosine, *sine) = (cos * self.magnitude, sin * self.magnitude);
                }
            }
            start = *end;
        }
    }

    /// Rotates the heads of rows that are `width` numbers wide, in place.
    ///
    /// # Panics
    /// If the lengths do not match.
    pub fn turn(&self, rows: &mut [f32], width: usize, angles: &[f32], direction: Direction) {
        let pairs = self.frequencies.len();
        assert!(
            2 * pairs <= self.size && self.heads * self.size <= width && rows.len().is_multiple_of(width)
        );
        let angles = &angles[..rows.len() / width * 2 * pairs];
        let is_back = direction == Direction::Back;
        Isa::best().run(RotateRows { rotation: self, rows, width, angles, is_back });
    }
}

struct RotateRows<'r> {
    rotation: &'r Rotation,
    rows: &'r mut [f32],
    width: usize,
    angles: &'r [f32],
    is_back: bool,
}

impl Loops for RotateRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Rotation { size, heads, .. } = *self.rotation;
        let pairs = self.rotation.frequencies.len();
        let sign = if self.is_back { -1.0 } else { 1.0 };
        for (row, angles) in
            self.rows.chunks_exact_mut(self.width).zip(self.angles.chunks_exact((2 * pairs).max(1)))
        {
            let (cosines, sines) = angles.split_at(pairs);
            for head in row[..heads * size].chunks_exact_mut(size) {
                let (first, second) = head[..2 * pairs].split_at_mut(pairs);
                for (((first, second), cosine), sine) in first.iter_mut().zip(second).zip(cosines).zip(sines)
                {
                    let (x, y, sine) = (*first, *second, sine * sign);
                    *first = x * cosine - y * sine;
                    *second = y * cosine + x * sine;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{check, numbers};

    fn rotation() -> Rotation {
        Rotation { frequencies: vec![1.0, 0.1], magnitude: 1.25, size: 5, heads: 2 }
    }

    #[test]
    fn the_first_token_is_not_rotated_and_later_ones_are() {
        let rotation = Rotation { magnitude: 1.0, ..rotation() };
        let (mut angles, before) = (Vec::new(), numbers(4 * 12, 1));
        rotation.angles(&[1, 4], &mut angles);
        let mut rows = before.clone();
        rotation.turn(&mut rows, 12, &angles, Direction::Forward);
        assert_eq!(rows[..24], before[..24], "each sequence starts at position 0");
        let (x, y) = (before[24], before[26]);
        assert!((rows[24] - (x * 1_f32.cos() - y * 1_f32.sin())).abs() < 1e-6);
        assert_eq!((rows[28], &rows[34..36]), (before[28], &before[34..36]), "the rest is unchanged");
    }

    #[test]
    fn the_gradient_matches_finite_differences() {
        let mut angles = Vec::new();
        rotation().angles(&[2, 3], &mut angles);
        check(&numbers(3 * 12, 2), 1e-2, 2e-3, |x, weights| {
            let (mut y, mut gradient) = (x.to_vec(), weights[..x.len()].to_vec());
            rotation().turn(&mut y, 12, &angles, Direction::Forward);
            rotation().turn(&mut gradient, 12, &angles, Direction::Back);
            (y, gradient)
        });
    }
}
