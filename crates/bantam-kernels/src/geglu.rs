//! The GELU gate of feed-forward layers, combined with the quantisation after it.

use std::ops::Range;

use crate::int8::Int8Linear;
use crate::isa::Kernel;
use crate::math::gelu;
use crate::pool::Pool;
use crate::product::{load_some, store_some};
use crate::quantise::{QuantisedRows, SharedRows, row_chunks};
use crate::shared::SharedSlice;
use crate::simd::Simd;

/// How many plain elements cost as much as one GELU.
const GELU_COST: usize = 4;

/// Writes GELU of the first half of each row times its second half, both `width` wide. Also quantises the result for
/// a layer if `quantised` is set.
///
/// # Panics
/// If the lengths do not match.
pub fn geglu(
    pool: &Pool,
    rows: &[f32],
    width: usize,
    outputs: &mut [f32],
    quantised: Option<(&Int8Linear, &mut QuantisedRows)>,
) {
    assert!(width > 0 && outputs.len().is_multiple_of(width), "not whole rows");
    assert_eq!(rows.len(), 2 * outputs.len());
    let count = outputs.len() / width;
    let quantised = quantised.map(|(layer, quantised)| {
        assert_eq!(layer.inputs(), width);
        quantised.reshape(count, layer);
        quantised.share()
    });
    let (per_chunk, chunks) = row_chunks(count, GELU_COST * width);
    let shared = SharedSlice::new(outputs);
    pool.run(chunks, |_, chunk| {
        let range = chunk * per_chunk..((chunk + 1) * per_chunk).min(count);
        let quantised = quantised.as_ref();
        pool.isa().call(Chunk { rows, width, range, outputs: &shared, quantised });
    });
}

/// **Invariant:** `range` is within `rows`, `outputs` and `quantised`, and no other thread uses it.
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
                // SAFETY: `left` elements remain in both halves of the row, which was just sliced, and in the output.
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
