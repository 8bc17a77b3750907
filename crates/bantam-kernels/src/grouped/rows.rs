//! Activations as signed bytes in groups.

use std::ops::Range;

use super::GROUP;
use crate::isa::Kernel;
use crate::pool::Pool;
use crate::quantise::row_chunks;
use crate::shared::SharedSlice;
use crate::simd::Simd;

/// The bits of 1.5 * 2^23. Adding a small integer to them gives the bits of that number plus the integer.
pub(crate) const SHIFT_BITS: i32 = 0x4b40_0000;
/// The f32 with these bits.
const SHIFT: f32 = 12_582_912.0;

/// A group of 32 elements, each `scale` times a byte.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(16))]
pub(crate) struct RowGroup {
    /// [`SHIFT_BITS`] minus 128 times the sum of the bytes: the start of sums with weights of offset 128.
    pub(crate) start: i32,
    /// The same for offset 8.
    pub(crate) nibble_start: i32,
    /// Its lowest bits are 0, so that its product with [`SHIFT`] is exact.
    pub(crate) scale: f32,
    /// `SHIFT * scale`.
    pub(crate) shift: f32,
    pub(crate) bytes: [i8; GROUP],
}

/// Rows of signed bytes with a scale per group of 32, padded with zeros to whole groups.
///
/// Reusable: it grows to the largest batch that it has held.
#[derive(Clone, Debug, Default)]
pub struct GroupedRows {
    rows: usize,
    width: usize,
    /// `rows` times the groups of a row; may be longer after a larger batch.
    groups: Vec<RowGroup>,
}

impl GroupedRows {
    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Returns whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Returns the number of elements per row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Quantises rows of `width` elements, replacing the old content.
    ///
    /// The error within a group is at most half of 1/127 of its largest magnitude. Groups whose largest magnitude is
    /// below 2^-100 become zeros.
    ///
    /// # Panics
    /// If `width` is 0 or `numbers` does not consist of whole rows.
    pub fn quantise(&mut self, pool: &Pool, numbers: &[f32], width: usize) {
        assert!(0 < width && numbers.len().is_multiple_of(width), "not whole rows");
        let rows = numbers.len() / width;
        let shared = self.reshape(rows, width);
        let (per_chunk, chunks) = row_chunks(rows, width);
        pool.run(chunks, |_, chunk| {
            let rows = chunk * per_chunk..((chunk + 1) * per_chunk).min(rows);
            pool.isa().call(Quantise { numbers, rows, shared: &shared });
        });
    }

    /// Returns the values that row `index` represents.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn dequantised(&self, index: usize) -> Vec<f32> {
        assert!(index < self.rows, "row {index} of {}", self.rows);
        let per_row = self.per_row();
        let groups = &self.groups[index * per_row..(index + 1) * per_row];
        let numbers = groups.iter().flat_map(|group| group.bytes.map(|byte| f32::from(byte) * group.scale));
        numbers.take(self.width).collect()
    }

    /// Returns the number of groups per row.
    pub(crate) fn per_row(&self) -> usize {
        self.width.div_ceil(GROUP)
    }

    /// Returns the groups of all rows.
    pub(crate) fn groups(&self) -> &[RowGroup] {
        &self.groups[..self.rows * self.per_row()]
    }

    /// Sets the shape, keeps the old content, and lends the rows to threads.
    pub(crate) fn reshape(&mut self, rows: usize, width: usize) -> SharedGroups<'_> {
        (self.rows, self.width) = (rows, width);
        let per_row = self.per_row();
        if self.groups.len() < rows * per_row {
            self.groups.resize(rows * per_row, RowGroup::default());
        }
        SharedGroups { width, per_row, groups: SharedSlice::new(&mut self.groups) }
    }
}

/// Rows being filled by several threads.
pub(crate) struct SharedGroups<'r> {
    width: usize,
    per_row: usize,
    groups: SharedSlice<'r, RowGroup>,
}

impl SharedGroups<'_> {
    /// Quantises `numbers` into row `index`.
    ///
    /// # Safety
    /// The row exists, `numbers` has its width, and no other thread uses the row.
    #[inline(always)]
    pub(crate) unsafe fn fill<S: Simd>(&self, s: S, index: usize, numbers: &[f32]) {
        // SAFETY: the caller vouches for the row.
        let groups = unsafe { self.groups.part(index * self.per_row..(index + 1) * self.per_row) };
        for (group, numbers) in groups.iter_mut().zip(numbers.chunks(GROUP)) {
            quantise_group(s, numbers, group);
        }
    }
}

/// Quantises at most [`GROUP`] numbers.
#[inline(always)]
pub(crate) fn quantise_group<S: Simd>(s: S, numbers: &[f32], group: &mut RowGroup) {
    let mut padded = [0.0; GROUP];
    let from = match numbers.first_chunk::<GROUP>() {
        Some(numbers) => numbers.as_ptr(),
        None => {
            padded[..numbers.len()].copy_from_slice(numbers);
            padded.as_ptr()
        }
    };
    let vectors = GROUP / S::LANES;
    let mut values = [s.splat(0.0); 4];
    let mut largest = s.splat(0.0);
    for (index, value) in values.iter_mut().enumerate().take(vectors) {
        // SAFETY: the vectors of a group cover its 32 elements.
        *value = unsafe { s.load(from.add(index * S::LANES)) };
        largest = s.max(largest, s.max(*value, s.sub(s.splat(0.0), *value)));
    }
    let largest = s.highest(largest);
    let (mut scale, mut inverse) = (0.0, 0.0);
    if largest >= f32::from_bits(0x0d80_0000) {
        // Round the scale up to 20 bits, so that no quotient exceeds 127.
        scale = f32::from_bits(((largest / 127.0).to_bits() + 15) & !15);
        inverse = 1.0 / scale;
    }
    let (to, inverse) = (group.bytes.as_mut_ptr(), s.splat(inverse));
    let mut sum = s.splat(0.0);
    for (index, value) in values.into_iter().enumerate().take(vectors) {
        let value = s.round(s.mul(value, inverse));
        sum = s.add(sum, value);
        // SAFETY: the vectors of a group fill its 32 bytes.
        unsafe { s.store_signed(value, to.add(index * S::LANES)) };
    }
    // Exact: the sum of 32 integers of at most 127.
    let sum = s.sum(sum) as i32;
    group.start = SHIFT_BITS - 128 * sum;
    group.nibble_start = SHIFT_BITS - 8 * sum;
    (group.scale, group.shift) = (scale, SHIFT * scale);
}

/// **Invariant:** `rows` are within `numbers` and `shared`, and no other thread uses them.
struct Quantise<'c> {
    numbers: &'c [f32],
    rows: Range<usize>,
    shared: &'c SharedGroups<'c>,
}

impl Kernel for Quantise<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.shared.width;
        for row in self.rows {
            // SAFETY: the type's invariant.
            unsafe { self.shared.fill(s, row, &self.numbers[row * width..(row + 1) * width]) };
        }
    }
}
