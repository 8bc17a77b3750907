//! Layer norm, combined with the addition before it and the quantisation after it.

use crate::int8::Int8Linear;
use crate::isa::Kernel;
use crate::pool::Pool;
use crate::product::{load_some, store_some};
use crate::quantise::{QuantisedRows, SharedRows, row_chunks};
use crate::shared::SharedSlice;
use crate::simd::Simd;

/// What to add to rows before normalising them.
#[derive(Clone, Copy, Debug)]
pub enum Addend<'a> {
    /// Nothing.
    None,
    /// Equally many rows.
    Rows(&'a [f32]),
}

/// A layer norm: rows of mean 0 and variance 1, times a gain, plus a bias.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    gain: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f32,
}

impl LayerNorm {
    /// Returns a norm over rows as wide as `gain` and `bias`.
    ///
    /// # Panics
    /// If they are empty or differ in length.
    pub fn new(gain: Vec<f32>, bias: Vec<f32>, epsilon: f32) -> Self {
        assert!(!gain.is_empty() && gain.len() == bias.len(), "gain and bias are empty or differ in length");
        Self { gain, bias, epsilon }
    }

    /// Adds `addend` to `rows` and normalises them in place. Also quantises them for a layer if `quantised` is set.
    ///
    /// # Panics
    /// If the lengths do not match.
    pub fn forward(
        &self,
        pool: &Pool,
        rows: &mut [f32],
        addend: Addend<'_>,
        quantised: Option<(&Int8Linear, &mut QuantisedRows)>,
    ) {
        self.rows(pool, rows, addend, None, quantised);
    }

    /// Adds `addend` to `rows` in place and writes the normalised sums to `outputs`. Also quantises them for a layer
    /// if `quantised` is set.
    ///
    /// # Panics
    /// If the lengths do not match.
    pub fn forward_apart(
        &self,
        pool: &Pool,
        rows: &mut [f32],
        addend: Addend<'_>,
        outputs: &mut [f32],
        quantised: Option<(&Int8Linear, &mut QuantisedRows)>,
    ) {
        assert_eq!(outputs.len(), rows.len());
        self.rows(pool, rows, addend, Some(SharedSlice::new(outputs)), quantised);
    }

    fn rows(
        &self,
        pool: &Pool,
        rows: &mut [f32],
        addend: Addend<'_>,
        outputs: Option<SharedSlice<'_, f32>>,
        quantised: Option<(&Int8Linear, &mut QuantisedRows)>,
    ) {
        let width = self.gain.len();
        assert!(rows.len().is_multiple_of(width), "not whole rows");
        if let Addend::Rows(addend) = addend {
            assert_eq!(addend.len(), rows.len());
        }
        let count = rows.len() / width;
        let quantised = quantised.map(|(layer, quantised)| {
            assert_eq!(layer.inputs(), width);
            quantised.reshape(count, layer);
            quantised.share()
        });
        let (per_chunk, chunks) = row_chunks(count, width);
        let shared = SharedSlice::new(rows);
        pool.run(chunks, |_, chunk| {
            let rows = chunk * per_chunk..((chunk + 1) * per_chunk).min(count);
            pool.isa().call(Chunk {
                norm: self,
                rows,
                numbers: &shared,
                addend,
                outputs: outputs.as_ref(),
                quantised: quantised.as_ref(),
            });
        });
    }
}

/// **Invariant:** `rows` are within `numbers`, the addend, `outputs` and `quantised`, and no other thread uses them.
struct Chunk<'c> {
    norm: &'c LayerNorm,
    rows: std::ops::Range<usize>,
    numbers: &'c SharedSlice<'c, f32>,
    addend: Addend<'c>,
    /// Where normalised rows go, if not back to `numbers`.
    outputs: Option<&'c SharedSlice<'c, f32>>,
    quantised: Option<&'c SharedRows<'c>>,
}

impl Kernel for Chunk<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.norm.gain.len();
        for row in self.rows {
            let range = row * width..(row + 1) * width;
            let addend = match self.addend {
                Addend::None => None,
                Addend::Rows(rows) => Some(&rows[range.clone()]),
            };
            // SAFETY: the type's invariant; both have rows of the same width.
            let numbers = unsafe {
                let from = self.numbers.part(range.clone()).as_mut_ptr();
                let to = self.outputs.unwrap_or(self.numbers).part(range).as_mut_ptr();
                normalise(s, self.norm, from, addend, to);
                std::slice::from_raw_parts_mut(to, width)
            };
            if let Some(quantised) = self.quantised {
                // SAFETY: the type's invariant.
                unsafe { quantised.fill(s, row, numbers) };
            }
        }
    }
}

/// Adds, computes the mean, then the variance around it, and normalises: exact where one pass over squares would not
/// be.
///
/// # Safety
/// `row` and `to`, which may be the same, are readable and writable for the norm's width, and `addend` has as many
/// elements.
#[inline(always)]
unsafe fn normalise<S: Simd>(s: S, norm: &LayerNorm, row: *mut f32, addend: Option<&[f32]>, to: *mut f32) {
    let width = norm.gain.len();
    let mut sum = s.splat(0.0);
    for start in (0..width).step_by(S::LANES) {
        let left = width - start;
        // SAFETY: each has `left` elements left, as the caller vouches.
        unsafe {
            let mut value = load_some(s, row.add(start), left);
            if let Some(addend) = addend {
                value = s.add(value, load_some(s, addend[start..].as_ptr(), left));
                store_some(s, value, row.add(start), left);
            }
            sum = s.add(sum, value);
        }
    }
    let mean = s.sum(sum) / width as f32;
    let (mean_vector, mut squares) = (s.splat(mean), s.splat(0.0));
    for start in (0..width).step_by(S::LANES) {
        // SAFETY: `width - start` elements are left.
        let off = s.sub(unsafe { load_some(s, row.add(start), width - start) }, mean_vector);
        squares = s.mul_add(off, off, squares);
    }
    // Lanes beyond the row were loaded as zero.
    let beyond = width.next_multiple_of(S::LANES) - width;
    let variance = (s.sum(squares) - beyond as f32 * mean * mean).max(0.0) / width as f32;
    let factor = s.splat(1.0 / (variance + norm.epsilon).sqrt());
    for start in (0..width).step_by(S::LANES) {
        let left = width - start;
        // SAFETY: each has `left` elements left; gain, bias and `to` are as wide as the rows.
        unsafe {
            let gain = load_some(s, norm.gain[start..].as_ptr(), left);
            let bias = load_some(s, norm.bias[start..].as_ptr(), left);
            let off = s.sub(load_some(s, row.add(start), left), mean_vector);
            store_some(s, s.mul_add(s.mul(off, factor), gain, bias), to.add(start), left);
        }
    }
}
