//! Activations as signed bytes in groups.

use std::ops::Range;

use super::GROUP;
use crate::isa::Kernel;
use crate::pool::Pool;
use crate::quantise::row_chunks;
use crate::shared::SharedSlice;
use crate::simd::Simd;

/// The bits of 1.5 * 2^23: as an integer plus a small one, these are the bits of that number plus the small one.
pub(crate) const SHIFT_BITS: i32 = 0x4b40_0000;
/// The number with these bits.
const SHIFT: f32 = 12_582_912.0;

/// A group of 32 numbers, each of them `scale` times a byte.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(16))]
pub(crate) struct RowGroup {
    /// [`SHIFT_BITS`] less 128 times the bytes' sum: where sums with weights of offset 128 start.
    pub(crate) start: i32,
    /// The same with offset 8.
    pub(crate) nibble_start: i32,
    /// With the last bits 0, so that its product with [`SHIFT`] is exact.
    pub(crate) scale: f32,
    /// `SHIFT * scale`.
    pub(crate) shift: f32,
    pub(crate) bytes: [i8; GROUP],
}

/// Rows of signed bytes with a scale for every 32 of them, padded with zeros to whole groups.
///
/// Made once and used again: it grows to the largest batch that it has held.
#[derive(Clone, Debug, Default)]
pub struct GroupedRows {
    rows: usize,
    width: usize,
    /// `rows` times the groups of a row, and what is left of larger batches.
    groups: Vec<RowGroup>,
}

impl GroupedRows {
    /// Returns how many rows there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Returns whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Returns how many numbers a row has.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Quantises rows of `width` numbers, replacing what was held.
    ///
    /// Within a group a number is off by at most half of 1/127 of the largest. Groups whose largest number is
    /// below 2^-100 become zeros.
    ///
    /// # Panics
    /// If `width` is 0 or `numbers` is not whole rows.
    pub fn quantise(&mut self, pool: &Pool, numbers: &[f32], width: usize) {
        assert!(0 < width && numbers.len().is_multiple_of(width), "whole rows");
        let rows = numbers.len() / width;
        let shared = self.reshape(rows, width);
        let (per_chunk, chunks) = row_chunks(rows, width);
        pool.run(chunks, |_, chunk| {
            let rows = chunk * per_chunk..((chunk + 1) * per_chunk).min(rows);
            pool.isa().call(Quantise { numbers, rows, shared: &shared });
        });
    }

    /// Returns the numbers that row `index` stands for.
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

    /// Returns how many groups a row has.
    pub(crate) fn per_row(&self) -> usize {
        self.width.div_ceil(GROUP)
    }

    /// Returns the groups of all rows.
    pub(crate) fn groups(&self) -> &[RowGroup] {
        &self.groups[..self.rows * self.per_row()]
    }

    /// Makes room for rows, whose content is what was there, and lends them to threads.
    pub(crate) fn reshape(&mut self, rows: usize, width: usize) -> SharedGroups<'_> {
        (self.rows, self.width) = (rows, width);
        let per_row = self.per_row();
        if self.groups.len() < rows * per_row {
            self.groups.resize(rows * per_row, RowGroup::default());
        }
        SharedGroups { width, per_row, groups: SharedSlice::new(&mut self.groups) }
    }
}

/// Rows that several threads fill.
pub(crate) struct SharedGroups<'r> {
    width: usize,
    per_row: usize,
    groups: SharedSlice<'r, RowGroup>,
}

impl SharedGroups<'_> {
    /// Quantises `numbers` into row `index`.
    ///
    /// # Safety
    /// The row exists, `numbers` has its width, and nobody else reads or writes it.
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
        // SAFETY: vectors of a group are its 32 numbers.
        *value = unsafe { s.load(from.add(index * S::LANES)) };
        largest = s.max(largest, s.max(*value, s.sub(s.splat(0.0), *value)));
    }
    let largest = s.highest(largest);
    let (mut scale, mut inverse) = (0.0, 0.0);
    if largest >= f32::from_bits(0x0d80_0000) {
        // Rounded up to 20 bits, so that no quotient is above 127.
        scale = f32::from_bits(((largest / 127.0).to_bits() + 15) & !15);
        inverse = 1.0 / scale;
    }
    let (to, inverse) = (group.bytes.as_mut_ptr(), s.splat(inverse));
    let mut sum = s.splat(0.0);
    for (index, value) in values.into_iter().enumerate().take(vectors) {
        let value = s.round(s.mul(value, inverse));
        sum = s.add(sum, value);
        // SAFETY: vectors of a group fill its 32 bytes.
        unsafe { s.store_signed(value, to.add(index * S::LANES)) };
    }
    // Of 32 integers up to 127: exact.
    let sum = s.sum(sum) as i32;
    group.start = SHIFT_BITS - 128 * sum;
    group.nibble_start = SHIFT_BITS - 8 * sum;
    (group.scale, group.shift) = (scale, SHIFT * scale);
}

/// **Invariant:** `rows` are within `numbers` and `shared`, and nobody else's.
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
