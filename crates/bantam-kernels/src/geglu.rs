//! The gated GELU of feed-forward layers, with the quantisation after it.

use std::ops::Range;

use crate::int8::Int8Linear;
use crate::isa::Kernel;
use crate::math::gelu;
use crate::pool::Pool;
use crate::product::{load_some, store_some};
use crate::quantise::{QuantisedRows, SharedRows, row_chunks};
use crate::shared::SharedSlice;
use crate::simd::Simd;

/// How many plain numbers take as long as one that goes through GELU.
const WEIGHT: usize = 4;

/// Writes, for rows of two halves of `width` numbers, GELU of the first half times the second, and, if asked to,
/// quantises what it wrote for a layer too.
///
/// # Panics
/// If the lengths do not fit.
pub fn geglu(
    pool: &Pool,
    rows: &[f32],
    width: usize,
    outputs: &mut [f32],
    quantised: Option<(&Int8Linear, &mut QuantisedRows)>,
) {
    assert!(width > 0 && outputs.len().is_multiple_of(width), "whole rows");
    assert_eq!(rows.len(), 2 * outputs.len());
    let count = outputs.len() / width;
    let quantised = quantised.map(|(layer, quantised)| {
        assert_eq!(layer.inputs(), width);
        quantised.reshape(count, layer);
        quantised.share()
    });
    let (per_chunk, chunks) = row_chunks(count, WEIGHT * width);
    let shared = SharedSlice::new(outputs);
    pool.run(chunks, |_, chunk| {
        let range = chunk * per_chunk..((chunk + 1) * per_chunk).min(count);
        let quantised = quantised.as_ref();
        pool.isa().call(Chunk { rows, width, range, outputs: &shared, quantised });
    });
}

/// **Invariant:** `range` is within `rows`, `outputs` and `quantised`, and nobody else's.
struct Chunk<'c> {
    rows: &'c [f32],
    width: usize,
    range: Range<usize>,
    outputs: &'c SharedSlice<'c, f32>,
    quantised: Option<&'c SharedRows<'c>>,
}

impl Kernel for Chunk<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.width;
        for row in self.range {
            let from = self.rows[2 * row * width..2 * (row + 1) * width].as_ptr();
            // SAFETY: the type's invariant.
            let outputs = unsafe { self.outputs.part(row * width..(row + 1) * width) };
            let to = outputs.as_mut_ptr();
            for start in (0..width).step_by(S::LANES) {
                let left = width - start;
                // SAFETY: `left` are left in both halves of the row, which was just sliced, and in the output.
                unsafe {
                    let first = load_some(s, from.add(start), left);
                    let second = load_some(s, from.add(width + start), left);
                    store_some(s, s.mul(gelu(s, first), second), to.add(start), left);
                }
            }
            if let Some(quantised) = self.quantised {
                // SAFETY: the type's invariant.
                unsafe { quantised.fill(s, row, outputs) };
            }
        }
    }
}
