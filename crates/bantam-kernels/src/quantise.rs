//! Activations as unsigned bytes.

use crate::int8::Int8Linear;
use crate::isa::Kernel;
use crate::pool::Pool;
use crate::product::load_some;
use crate::shared::SharedSlice;
use crate::simd::Simd;

/// Elements of a row-wise step that justify a chunk.
const CHUNK_NUMBERS: usize = 12_288;

/// Rows of u8, each row with its own scale and zero point: a value is `scale * (byte - zero)`.
///
/// With one scale for a whole batch, one outlier would blur every row; a scale per row costs the products nothing.
/// The exact inputs of the target layer stay f32 beside the bytes. Reusable: it grows to the largest batch that it
/// has held.
#[derive(Clone, Debug, Default)]
pub struct QuantisedRows {
    width: usize,
    /// Which elements of a row are exact; their bytes represent 0.
    exact: Vec<usize>,
    /// The exact elements of each row.
    exact_numbers: Vec<f32>,
    /// `rows` times `stride` bytes; may be longer after a larger batch.
    bytes: Vec<u8>,
    /// Scale and zero point of each row.
    scales: Vec<(f32, i32)>,
}

impl QuantisedRows {
    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.scales.len()
    }

    /// Returns whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.scales.is_empty()
    }

    /// Returns the number of elements per row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Returns the values that row `index` represents.
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

    /// Returns the exact elements of row `index`.
    #[inline(always)]
    pub(crate) fn exact_numbers(&self, index: usize) -> &[f32] {
        &self.exact_numbers[index * self.exact.len()..(index + 1) * self.exact.len()]
    }

    /// Returns the bytes from one row to the next: a multiple of four, whose padding meets weights of zero.
    pub(crate) fn stride(&self) -> usize {
        self.width.next_multiple_of(4)
    }

    /// Returns a pointer to row `index`; it and all rows after it are readable for `stride` bytes each.
    pub(crate) fn row(&self, index: usize) -> *const u8 {
        self.bytes[index * self.stride()..].as_ptr()
    }

    #[inline(always)]
    pub(crate) fn scale_and_zero(&self, index: usize) -> (f32, i32) {
        self.scales[index]
    }

    /// Sets the shape to `rows` rows of inputs of `layer`, keeping the old content.
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

/// Rows being filled by several threads.
pub(crate) struct SharedRows<'r> {
    stride: usize,
    exact: &'r [usize],
    exact_numbers: SharedSlice<'r, f32>,
    bytes: SharedSlice<'r, u8>,
    scales: SharedSlice<'r, (f32, i32)>,
}

impl SharedRows<'_> {
    /// Quantises `numbers` into row `index`. `numbers` is unchanged afterwards.
    ///
    /// # Safety
    /// The row exists, `numbers` has its width, and no other thread uses the row.
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
        // As zeros, exact elements do not widen the range; their bytes are not used.
        for (place, input) in exact.iter_mut().zip(self.exact) {
            *place = std::mem::replace(&mut numbers[*input], 0.0);
        }
        scale[0] = quantise_row(s, numbers, bytes);
        for (place, input) in exact.iter().zip(self.exact) {
            numbers[*input] = *place;
        }
    }
}

/// Quantises a row and returns its scale and zero point.
#[inline(always)]
fn quantise_row<S: Simd>(s: S, numbers: &[f32], bytes: &mut [u8]) -> (f32, i32) {
    let from = numbers.as_ptr();
    // The range always includes zero, so that zero is exact.
    let (mut lowest, mut highest) = (s.splat(0.0), s.splat(0.0));
    for start in (0..numbers.len()).step_by(S::LANES) {
        // SAFETY: `numbers.len() - start` elements are left.
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
        // SAFETY: both have `count` elements left.
        unsafe {
            let value = s.mul_add(load_some(s, from.add(start), count), factor, shift);
            s.store_bytes(value, to.add(start), count);
        }
    }
    (range / 255.0, zero as i32)
}

/// Quantises rows of inputs of `layer`, replacing the content of `quantised`. The rows are unchanged afterwards.
///
/// # Panics
/// If `numbers` does not consist of whole rows.
pub fn quantise_rows(pool: &Pool, numbers: &mut [f32], layer: &Int8Linear, quantised: &mut QuantisedRows) {
    let width = layer.inputs();
    assert!(numbers.len().is_multiple_of(width), "not whole rows");
    let rows = numbers.len() / width;
    quantised.reshape(rows, layer);
    let (shared, numbers) = (quantised.share(), SharedSlice::new(numbers));
    let (per_chunk, chunks) = row_chunks(rows, width);
    pool.run(chunks, |_, chunk| {
        let rows = chunk * per_chunk..((chunk + 1) * per_chunk).min(rows);
        pool.isa().call(Chunk { numbers: &numbers, width, rows, quantised: &shared });
    });
}

/// Returns the rows per chunk of a row-wise step, and the number of chunks.
pub(crate) fn row_chunks(rows: usize, width: usize) -> (usize, usize) {
    let per_chunk = (CHUNK_NUMBERS / width).max(1);
    (per_chunk, rows.div_ceil(per_chunk))
}

/// **Invariant:** `rows` are within `numbers` and `quantised`, and no other thread uses them.
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
