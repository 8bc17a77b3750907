//! Root-mean-square norm.

use std::ops::Range;

use crate::grouped::{GroupedRows, SharedGroups};
use crate::isa::Kernel;
use crate::norm::Addend;
use crate::pool::Pool;
use crate::product::{load_some, store_some};
use crate::quantise::row_chunks;
use crate::shared::SharedSlice;
use crate::simd::Simd;

/// A norm that divides rows by their root mean square (with epsilon) and multiplies them by a gain.
#[derive(Clone, Debug)]
pub struct RmsNorm {
    gain: Vec<f32>,
    epsilon: f32,
}

impl RmsNorm {
    /// Returns a norm over rows as wide as `gain`.
    ///
    /// # Panics
    /// If `gain` is empty.
    pub fn new(gain: Vec<f32>, epsilon: f32) -> Self {
        assert!(!gain.is_empty(), "the gain is empty");
        Self { gain, epsilon }
    }

    /// Returns how many elements are normalised together.
    pub fn width(&self) -> usize {
        self.gain.len()
    }

    /// Adds `addend` to `rows` in place (the residual), and quantises the norm of the sums.
    ///
    /// # Panics
    /// If the lengths do not match.
    pub fn quantise(&self, pool: &Pool, rows: &mut [f32], addend: Addend<'_>, quantised: &mut GroupedRows) {
        let width = self.width();
        assert!(rows.len().is_multiple_of(width), "not whole rows");
        if let Addend::Rows(addend) = addend {
            assert_eq!(addend.len(), rows.len());
        }
        let count = rows.len() / width;
        let groups = quantised.reshape(count, width);
        let (per_chunk, chunks) = row_chunks(count, width);
        let shared = SharedSlice::new(rows);
        pool.run(chunks, |_, chunk| {
            let rows = chunk * per_chunk..((chunk + 1) * per_chunk).min(count);
            pool.isa().call(Chunk { norm: self, rows, numbers: &shared, addend, quantised: &groups });
        });
    }

    /// Normalises in place the heads `heads` of every row: elements `heads.start * width()..heads.end * width()` of
    /// each `stride` elements. With one head and a stride equal to the width, these are whole rows.
    ///
    /// # Panics
    /// If the lengths do not match.
    pub fn forward(&self, pool: &Pool, rows: &mut [f32], stride: usize, heads: Range<usize>) {
        assert!(stride > 0 && rows.len().is_multiple_of(stride), "not whole rows");
        assert!(heads.start <= heads.end && heads.end <= stride / self.width(), "heads outside the row");
        let count = rows.len() / stride;
        let (per_chunk, chunks) = row_chunks(count, stride);
        let shared = SharedSlice::new(rows);
        pool.run(chunks, |_, chunk| {
            let rows = chunk * per_chunk..((chunk + 1) * per_chunk).min(count);
            pool.isa().call(Heads { norm: self, rows, stride, heads: heads.clone(), numbers: &shared });
        });
    }

    /// Returns the factor that normalises `numbers`, without the gain.
    #[inline(always)]
    fn factor<S: Simd>(&self, s: S, numbers: &[f32]) -> f32 {
        let mut sum = s.splat(0.0);
        for start in (0..numbers.len()).step_by(S::LANES) {
            // SAFETY: `numbers.len() - start` elements are left.
            let value = unsafe { load_some(s, numbers.as_ptr().add(start), numbers.len() - start) };
            sum = s.mul_add(value, value, sum);
        }
        1.0 / (s.sum(sum) / numbers.len() as f32 + self.epsilon).sqrt()
    }

    /// Writes the norm of `numbers` to `to`, both as wide as the gain.
    ///
    /// # Safety
    /// `to` is writable for `width()` elements; it may equal `numbers`.
    #[inline(always)]
    unsafe fn scale<S: Simd>(&self, s: S, numbers: *const f32, factor: f32, to: *mut f32) {
        let width = self.width();
        for start in (0..width).step_by(S::LANES) {
            // SAFETY: all three have `width - start` elements left.
            unsafe {
                let value = s.mul(load_some(s, numbers.add(start), width - start), s.splat(factor));
                let value = s.mul(value, load_some(s, self.gain.as_ptr().add(start), width - start));
                store_some(s, value, to.add(start), width - start);
            }
        }
    }
}

/// **Invariant:** `rows` are within all three, which have the norm's width, and no other thread uses them.
struct Chunk<'c> {
    norm: &'c RmsNorm,
    rows: Range<usize>,
    numbers: &'c SharedSlice<'c, f32>,
    addend: Addend<'c>,
    quantised: &'c SharedGroups<'c>,
}

impl Kernel for Chunk<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.norm.width();
        let mut normed = vec![0.0; width];
        for row in self.rows {
            // SAFETY: the type's invariant.
            let numbers = unsafe { self.numbers.part(row * width..(row + 1) * width) };
            if let Addend::Rows(addend) = self.addend {
                for (number, addend) in numbers.iter_mut().zip(&addend[row * width..]) {
                    *number += addend;
                }
            }
            let factor = self.norm.factor(s, numbers);
            // SAFETY: both have the norm's width, and the row belongs to this chunk.
            unsafe {
                self.norm.scale(s, numbers.as_ptr(), factor, normed.as_mut_ptr());
                self.quantised.fill(s, row, &normed);
            }
        }
    }
}

/// **Invariant:** `rows` are within `numbers`, `heads` within a row, and no other thread uses them.
struct Heads<'c> {
    norm: &'c RmsNorm,
    rows: Range<usize>,
    stride: usize,
    heads: Range<usize>,
    numbers: &'c SharedSlice<'c, f32>,
}

impl Kernel for Heads<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.norm.width();
        for row in self.rows {
            for head in self.heads.clone() {
                let start = row * self.stride + head * width;
                // SAFETY: the type's invariant.
                let numbers = unsafe { self.numbers.part(start..start + width) };
                let factor = self.norm.factor(s, numbers);
                let to = numbers.as_mut_ptr();
                // SAFETY: source and target are the same elements, of the norm's width.
                unsafe { self.norm.scale(s, to, factor, to) };
            }
        }
    }
}
