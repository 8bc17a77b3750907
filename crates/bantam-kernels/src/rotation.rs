//! Rotary position embeddings from a table, for encoders.

use crate::product::{load_some, store_some};
use crate::simd::Simd;

/// Sines and cosines for every position of a model.
///
/// Element `i` of a head's first half rotates together with element `i` of its second half, by `position * base^(-i /
/// half)` (Su et al. 2021, in the layout of GPT-NeoX).
#[derive(Clone, Debug)]
pub struct RotationTable {
    half: usize,
    /// For each position, `half` cosines, then `half` sines.
    numbers: Vec<f32>,
}

impl RotationTable {
    /// Returns the table for heads of `size` elements, with `size` elements per position.
    ///
    /// Frequencies and their products with positions are rounded to f32, because models are trained that way.
    ///
    /// # Panics
    /// If `size` is odd or 0.
    pub fn new(base: f64, size: usize, positions: usize) -> Self {
        assert!(size > 0 && size.is_multiple_of(2), "the head size is odd or 0");
        let half = size / 2;
        let frequencies: Vec<f32> = (0..half).map(|i| base.powf(-(i as f64) / half as f64) as f32).collect();
        let mut numbers = Vec::with_capacity(positions * size);
        for position in 0..positions {
            let angles = frequencies.iter().map(|frequency| f64::from(position as f32 * frequency));
            numbers.extend(angles.clone().map(|angle| angle.cos() as f32));
            numbers.extend(angles.map(|angle| angle.sin() as f32));
        }
        Self { half, numbers }
    }

    /// Returns the number of elements per head.
    pub(crate) fn size(&self) -> usize {
        2 * self.half
    }

    /// Returns the number of positions.
    pub(crate) fn positions(&self) -> usize {
        self.numbers.len() / self.size()
    }

    /// Writes one head's elements, rotated to `position`.
    ///
    /// # Panics
    /// If there is no such position, or the slices are not [`Self::size`] long.
    #[inline(always)]
    pub(crate) fn rotate<S: Simd>(&self, s: S, position: usize, from: &[f32], to: &mut [f32]) {
        let (half, size) = (self.half, self.size());
        assert!(from.len() == size && to.len() == size);
        let turns = &self.numbers[position * size..(position + 1) * size];
        let (from, turns, to) = (from.as_ptr(), turns.as_ptr(), to.as_mut_ptr());
        for start in (0..half).step_by(S::LANES) {
            let left = half - start;
            // SAFETY: each has two halves, and `left` elements are left in either.
            unsafe {
                let (first, second) = (from.add(start), from.add(half + start));
                let (first, second) = (load_some(s, first, left), load_some(s, second, left));
                let cosine = load_some(s, turns.add(start), left);
                let sine = load_some(s, turns.add(half + start), left);
                let rotated = s.sub(s.mul(first, cosine), s.mul(second, sine));
                store_some(s, rotated, to.add(start), left);
                let rotated = s.add(s.mul(second, cosine), s.mul(first, sine));
                store_some(s, rotated, to.add(half + start), left);
            }
        }
    }
}
