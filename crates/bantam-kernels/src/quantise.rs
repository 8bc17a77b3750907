//! Activations as bytes.

use crate::int8::Int8Linear;
use crate::isa::Kernel;
use crate::pool::Pool;
use crate::product::load_some;
use crate::shared::SharedSlice;
use crate::simd::Simd;

/// Numbers of a row-wise step that are worth a chunk.
const CHUNK_NUMBERS: usize = 12_288;

/// Rows of u8, each with a scale and a zero of its own: a number is `scale * (byte - zero)`.
///
/// One scale for a whole batch would let one outlier blur every row; one for each row costs nothing in the
/// products. The exact inputs of the layer that the rows are for stay f32 beside the bytes. Made once and used
/// again: it grows to the largest batch it has held.
#[derive(Clone, Debug, Default)]
pub struct QuantisedRows {
    width: usize,
    /// Which numbers of a row are exact; their bytes stand for 0.
    exact: Vec<usize>,
    /// For each row, its exact numbers.
    exact_numbers: Vec<f32>,
    /// `rows` times `stride` bytes, and what is left of larger batches.
    bytes: Vec<u8>,
    /// Scale and zero for each row.
    scales: Vec<(f32, i32)>,
}

impl QuantisedRows {
    /// Returns how many rows there are.
    pub fn len(&self) -> usize {
        self.scales.len()
    }

    /// Returns whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.scales.is_empty()
    }

    /// Returns how many numbers a row has.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Returns the numbers that row `index` stands for.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn dequantised(&self, index: usize) -> Vec<f32> {
        let (scale, zero) = self.scales[index];
        let start = index * self.stride();
        let bytes = &self.bytes[start..start + self.width];
        let mut row: Vec<f32> = bytes.iter().map(|byte| scale * (i32::from(*byte) - zero) as f32).collect();
        let exact = self.exact.iter().zip(self.exact_numbers(index));
        exact.for_each(|(input, number)| row[*input] = *number);
        row
    }

    pub(crate) fn exact(&self) -> &[usize] {
        &self.exact
    }

    /// Returns the exact numbers of row `index`.
    #[inline(always)]
    pub(crate) fn exact_numbers(&self, index: usize) -> &[f32] {
        &self.exact_numbers[index * self.exact.len()..(index + 1) * self.exact.len()]
    }

    /// Bytes from one row to the next: whole fours, whose padding meets weights of zero.
    pub(crate) fn stride(&self) -> usize {
        self.width.next_multiple_of(4)
    }

    /// Returns where row `index` starts; it and all after it are readable for `stride` bytes each.
    pub(crate) fn row(&self, index: usize) -> *const u8 {
        self.bytes[index * self.stride()..].as_ptr()
    }

    #[inline(always)]
    pub(crate) fn scale_and_zero(&self, index: usize) -> (f32, i32) {
        self.scales[index]
    }

    /// Makes room for `rows` rows of inputs of `layer`, whose content is what was there.
    pub(crate) fn reshape(&mut self, rows: usize, layer: &Int8Linear) {
        self.width = layer.inputs();
        self.exact.clear();
        self.exact.extend_from_slice(layer.exact());
        self.exact_numbers.resize(rows * self.exact.len(), 0.0);
        let bytes = rows * self.stride();
        if self.bytes.len() < bytes {
            self.bytes.resize(bytes, 0);
        }
        self.scales.resize(rows, (0.0, 0));
    }

    pub(crate) fn share(&mut self) -> SharedRows<'_> {
        let stride = self.stride();
        SharedRows {
            stride,
            exact: &self.exact,
            exact_numbers: SharedSlice::new(&mut self.exact_numbers),
            bytes: SharedSlice::new(&mut self.bytes),
            scales: SharedSlice::new(&mut self.scales),
        }
    }
}

/// Rows that several threads fill.
pub(crate) struct SharedRows<'r> {
    stride: usize,
    exact: &'r [usize],
    exact_numbers: SharedSlice<'r, f32>,
    bytes: SharedSlice<'r, u8>,
    scales: SharedSlice<'r, (f32, i32)>,
}

impl SharedRows<'_> {
    /// Quantises `numbers` into row `index`, and leaves them as they were.
    ///
    /// # Safety
    /// The row exists, `numbers` has its width, and nobody else reads or writes it.
    #[inline(always)]
    pub(crate) unsafe fn fill<S: Simd>(&self, s: S, index: usize, numbers: &mut [f32]) {
        let (start, exact_start) = (index * self.stride, index * self.exact.len());
        // SAFETY: the caller vouches for the row.
        let (bytes, scale, exact) = unsafe {
            (
                self.bytes.part(start..start + numbers.len()),
                self.scales.part(index..index + 1),
                self.exact_numbers.part(exact_start..exact_start + self.exact.len()),
            )
        };
        // As zeros they do not widen the range, and their bytes mean nothing.
        for (place, input) in exact.iter_mut().zip(self.exact) {
            *place = std::mem::replace(&mut numbers[*input], 0.0);
        }
        scale[0] = quantise_row(s, numbers, bytes);
        for (place, input) in exact.iter().zip(self.exact) {
            numbers[*input] = *place;
        }
    }
}

/// Quantises a row and returns its scale and zero.
#[inline(always)]
fn quantise_row<S: Simd>(s: S, numbers: &[f32], bytes: &mut [u8]) -> (f32, i32) {
    let from = numbers.as_ptr();
    // Zero is always within the range, so that it is exact.
    let (mut lowest, mut highest) = (s.splat(0.0), s.splat(0.0));
    for start in (0..numbers.len()).step_by(S::LANES) {
        // SAFETY: so many numbers are left.
        let value = unsafe { load_some(s, from.add(start), numbers.len() - start) };
        lowest = s.min(lowest, value);
        highest = s.max(highest, value);
    }
    let (lowest, highest) = (s.lowest(lowest), s.highest(highest));
    let range = highest - lowest;
    let inverse = if range > 0.0 { 255.0 / range } else { 0.0 };
    let zero = (-lowest * inverse).round_ties_even();
    let (factor, shift) = (s.splat(inverse), s.splat(zero));
    let to = bytes.as_mut_ptr();
    for start in (0..numbers.len().min(bytes.len())).step_by(S::LANES) {
        let count = (numbers.len() - start).min(S::LANES);
        // SAFETY: so many are left of both.
        unsafe {
            let value = s.mul_add(load_some(s, from.add(start), count), factor, shift);
            s.store_bytes(value, to.add(start), count);
        }
    }
    (range / 255.0, zero as i32)
}

/// Quantises rows of inputs of `layer`, replacing what `quantised` held. The rows are as before afterwards.
///
/// # Panics
/// If `numbers` is not whole rows.
pub fn quantise_rows(pool: &Pool, numbers: &mut [f32], layer: &Int8Linear, quantised: &mut QuantisedRows) {
    let width = layer.inputs();
    assert!(numbers.len().is_multiple_of(width), "whole rows");
    let rows = numbers.len() / width;
    quantised.reshape(rows, layer);
    let (shared, numbers) = (quantised.share(), SharedSlice::new(numbers));
    let (per_chunk, chunks) = row_chunks(rows, width);
    pool.run(chunks, |_, chunk| {
        let rows = chunk * per_chunk..((chunk + 1) * per_chunk).min(rows);
        pool.isa().call(Chunk { numbers: &numbers, width, rows, quantised: &shared });
    });
}

/// Returns how many rows a chunk of a row-wise step has, and how many chunks that makes.
pub(crate) fn row_chunks(rows: usize, width: usize) -> (usize, usize) {
    let per_chunk = (CHUNK_NUMBERS / width).max(1);
    (per_chunk, rows.div_ceil(per_chunk))
}

/// **Invariant:** `rows` are within `numbers` and `quantised`, and nobody else's.
struct Chunk<'c> {
    numbers: &'c SharedSlice<'c, f32>,
    width: usize,
    rows: std::ops::Range<usize>,
    quantised: &'c SharedRows<'c>,
}

impl Kernel for Chunk<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for row in self.rows {
            // SAFETY: the type's invariant.
            unsafe {
                let numbers = self.numbers.part(row * self.width..(row + 1) * self.width);
                self.quantised.fill(s, row, numbers);
            }
        }
    }
}
