//! Rotary position embeddings.

use std::ops::Range;

use crate::isa::Kernel;
use crate::pool::Pool;
use crate::quantise::row_chunks;
use crate::shared::SharedSlice;
use crate::simd::Simd;

/// Which two elements of a head rotate together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeStyle {
    /// Element i of the first half with element i of the second, as in GPT-NeoX and Hugging Face.
    Halves,
    /// Element 2i with element 2i + 1, as in Llama's GGUF files.
    Pairs,
}

/// The rotation of queries and keys by their positions.
///
/// Each pair rotates by position times its frequency; elements after the last pair stay unchanged.
#[derive(Clone, Debug)]
pub struct Rope {
    style: RopeStyle,
    head_size: usize,
    frequencies: Vec<f32>,
    magnitude: f32,
}

/// Sines and cosines for the rows of a step, computed once and used by all layers.
#[derive(Clone, Debug, Default)]
pub struct RopeAngles {
    rows: usize,
    /// For each row, a cosine for every frequency, then a sine for every frequency.
    numbers: Vec<f32>,
}

impl RopeAngles {
    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Returns whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }
}

impl Rope {
    /// Returns a rotation with `frequencies` in radians per position, scaling factors already applied. Rotated
    /// elements are also multiplied by `magnitude` (1 except with YaRN).
    ///
    /// # Panics
    /// If there are no frequencies, or more than half the head size.
    pub fn new(style: RopeStyle, head_size: usize, frequencies: Vec<f32>, magnitude: f32) -> Self {
        assert!(
            !frequencies.is_empty() && 2 * frequencies.len() <= head_size,
            "not one frequency per two elements"
        );
        Self { style, head_size, frequencies, magnitude }
    }

    /// Returns the frequencies of plain RoPE: `base^(-2i / rotated)` for i in `0..rotated / 2` (Su et al. 2021).
    pub fn plain_frequencies(base: f64, rotated: usize) -> Vec<f32> {
        (0..rotated / 2).map(|i| base.powf(-2.0 * i as f64 / rotated as f64) as f32).collect()
    }

    /// Computes the angles of rows at `positions`, replacing the old content. Products are computed in f64.
    pub fn angles(&self, pool: &Pool, positions: &[u32], angles: &mut RopeAngles) {
        let per_row = 2 * self.frequencies.len();
        angles.rows = positions.len();
        angles.numbers.resize(positions.len() * per_row, 0.0);
        // A sine takes about twenty times as long as an element of a row-wise step.
        let (per_chunk, chunks) = row_chunks(positions.len(), 20 * per_row);
        let shared = SharedSlice::new(&mut angles.numbers);
        pool.run(chunks, |_, chunk| {
            let rows = chunk * per_chunk..((chunk + 1) * per_chunk).min(positions.len());
            for (row, position) in rows.clone().zip(&positions[rows]) {
                // SAFETY: every row has its own elements.
                let numbers = unsafe { shared.part(row * per_row..(row + 1) * per_row) };
                let (cosines, sines) = numbers.split_at_mut(per_row / 2);
                for ((cosine, sine), frequency) in cosines.iter_mut().zip(sines).zip(&self.frequencies) {
                    let angle = f64::from(*position) * f64::from(*frequency);
                    *cosine = angle.cos() as f32 * self.magnitude;
                    *sine = angle.sin() as f32 * self.magnitude;
                }
            }
        });
    }

    /// Rotates in place the heads `heads` of every row of `stride` elements.
    ///
    /// # Panics
    /// If the lengths do not match, or `angles` are for another number of rows or frequencies.
    pub fn forward(
        &self,
        pool: &Pool,
        rows: &mut [f32],
        stride: usize,
        heads: Range<usize>,
        angles: &RopeAngles,
    ) {
        assert_eq!(rows.len(), angles.rows * stride);
        assert_eq!(angles.numbers.len(), angles.rows * 2 * self.frequencies.len());
        assert!(heads.start <= heads.end && heads.end <= stride / self.head_size, "heads outside the row");
        let (per_chunk, chunks) = row_chunks(angles.rows, stride.max(1));
        let shared = SharedSlice::new(rows);
        pool.run(chunks, |_, chunk| {
            let rows = chunk * per_chunk..((chunk + 1) * per_chunk).min(angles.rows);
            let (rope, numbers, heads) = (self, &shared, heads.clone());
            pool.isa().call(RotateChunk { rope, rows, stride, heads, angles, numbers });
        });
    }
}

/// **Invariant:** `rows` are within `numbers` and `angles`, `heads` within a row, and no other thread uses them.
struct RotateChunk<'c> {
    rope: &'c Rope,
    rows: Range<usize>,
    stride: usize,
    heads: Range<usize>,
    angles: &'c RopeAngles,
    numbers: &'c SharedSlice<'c, f32>,
}

impl Kernel for RotateChunk<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (size, half) = (self.rope.head_size, self.rope.frequencies.len());
        for row in self.rows {
            let (cosines, sines) = self.angles.numbers[row * 2 * half..(row + 1) * 2 * half].split_at(half);
            for head in self.heads.clone() {
                let start = row * self.stride + head * size;
                // SAFETY: the type's invariant.
                let numbers = unsafe { self.numbers.part(start..start + 2 * half) };
                match self.rope.style {
                    RopeStyle::Halves => rotate_halves(s, numbers, cosines, sines),
                    RopeStyle::Pairs => rotate_pairs(numbers, cosines, sines),
                }
            }
        }
    }
}

#[inline(always)]
fn rotate_halves<S: Simd>(s: S, numbers: &mut [f32], cosines: &[f32], sines: &[f32]) {
    let half = numbers.len() / 2;
    let (first, second) = numbers.split_at_mut(half);
    let whole = half - half % S::LANES;
    for start in (0..whole).step_by(S::LANES) {
        // SAFETY: `start + LANES <= half`, the length of all four.
        unsafe {
            let (a, b) = (s.load(first.as_ptr().add(start)), s.load(second.as_ptr().add(start)));
            let (cosine, sine) = (s.load(cosines.as_ptr().add(start)), s.load(sines.as_ptr().add(start)));
            s.store(s.sub(s.mul(a, cosine), s.mul(b, sine)), first.as_mut_ptr().add(start));
            s.store(s.add(s.mul(b, cosine), s.mul(a, sine)), second.as_mut_ptr().add(start));
        }
    }
    for i in whole..half {
        let (a, b) = (first[i], second[i]);
        first[i] = a * cosines[i] - b * sines[i];
        second[i] = b * cosines[i] + a * sines[i];
    }
}

#[inline(always)]
fn rotate_pairs(numbers: &mut [f32], cosines: &[f32], sines: &[f32]) {
    for ((pair, cosine), sine) in numbers.chunks_exact_mut(2).zip(cosines).zip(sines) {
        let (a, b) = (pair[0], pair[1]);
        pair[0] = a * cosine - b * sine;
        pair[1] = b * cosine + a * sine;
    }
}
