//! Multiplies one block of weights, 32 outputs by 32 inputs, by a group of some rows.

use crate::grid::{PAIR, TILE};
use crate::grouped::rows::RowGroup;
use crate::grouped::{GROUP, SCALES};
use crate::simd::Simd;

/// A format of weight blocks.
pub(super) trait Block {
    /// Size of a block in bytes.
    const BYTES: usize;

    /// Returns the initial integer sums of a row for two vectors of columns from `column` on.
    fn start<S: Simd>(s: S, group: &RowGroup, column: usize) -> [S::I; 2];

    /// Returns the weights of four inputs and two vectors of columns.
    ///
    /// # Safety
    /// `block` is readable for `BYTES`, `column` is a multiple of `2 * LANES` below [`PAIR`], and `four` below 8.
    unsafe fn weights<S: Simd>(s: S, block: *const u8, column: usize, four: usize) -> [S::Bytes; 2];

    /// Returns the scales of the integer sums of two vectors of columns.
    ///
    /// # Safety
    /// Same as for [`Block::weights`].
    unsafe fn scales<S: Simd>(s: S, block: *const u8, column: usize) -> [S::F; 2];
}

/// [`Packing::Int8`](crate::Packing::Int8).
pub(super) struct Bytes;
/// [`Packing::Int4`](crate::Packing::Int4).
pub(super) struct Nibbles;

impl Block for Bytes {
    const BYTES: usize = SCALES + PAIR * GROUP;

    #[inline(always)]
    fn start<S: Simd>(s: S, group: &RowGroup, _column: usize) -> [S::I; 2] {
        [s.splat_int(group.start); 2]
    }

    #[inline(always)]
    unsafe fn weights<S: Simd>(s: S, block: *const u8, column: usize, four: usize) -> [S::Bytes; 2] {
        [column, column + S::LANES].map(|column| {
            let (tile, within) = (column / TILE, column % TILE);
            // SAFETY: each four has two tiles of 16 times four bytes; lanes divide these.
            unsafe { s.load_unsigned(block.add(SCALES + (2 * four + tile) * 4 * TILE + 4 * within)) }
        })
    }

    #[inline(always)]
    unsafe fn scales<S: Simd>(s: S, block: *const u8, column: usize) -> [S::F; 2] {
        // SAFETY: there is a scale for each column.
        [column, column + S::LANES].map(|column| unsafe { s.load_half(block.add(2 * column).cast()) })
    }
}

impl Block for Nibbles {
    const BYTES: usize = SCALES + PAIR * GROUP / 2;

    #[inline(always)]
    fn start<S: Simd>(s: S, group: &RowGroup, column: usize) -> [S::I; 2] {
        [column, column + S::LANES]
            .map(|column| s.splat_int(if column < TILE { group.nibble_start } else { group.start }))
    }

    #[inline(always)]
    unsafe fn weights<S: Simd>(s: S, block: *const u8, column: usize, four: usize) -> [S::Bytes; 2] {
        [column, column + S::LANES].map(|column| {
            // SAFETY: each four has 16 times four bytes; lanes divide these.
            unsafe {
                let from = block.add(SCALES + four * 4 * TILE + 4 * (column % TILE));
                if column < TILE { s.load_nibbles::<false>(from) } else { s.load_nibbles::<true>(from) }
            }
        })
    }

    #[inline(always)]
    unsafe fn scales<S: Simd>(s: S, block: *const u8, column: usize) -> [S::F; 2] {
        [column, column + S::LANES].map(|column| {
            // SAFETY: there is a scale for each column.
            let scale = unsafe { s.load_half(block.add(2 * column).cast()) };
            // High nibbles are 16 times too large; dividing by 16 is exact.
            if column < TILE { scale } else { s.mul(scale, s.splat(0.0625)) }
        })
    }
}

/// Rows whose integer sums are held at once if the float sums of all rows leave too few registers.
const HALF: usize = 4;

/// Adds the products of one block with a group of `R` rows, which are `stride` groups apart, to `sums`. More than six
/// rows are processed in two parts.
///
/// # Safety
/// Same as for [`Block::weights`]; `R` rows are readable from `inputs` on.
#[inline(always)]
pub(super) unsafe fn multiply<S: Simd, B: Block, const R: usize>(
    s: S,
    block: *const u8,
    column: usize,
    (inputs, stride): (*const RowGroup, usize),
    sums: &mut [[S::F; 2]; R],
) {
    // SAFETY: the caller vouches for everything, which covers the parts too.
    unsafe {
        if R <= 6 {
            return multiply_some::<S, B, R>(s, block, column, (inputs, stride), sums);
        }
        let (first, second) = sums.split_at_mut(HALF);
        if let Some(first) = first.first_chunk_mut::<HALF>() {
            multiply_some::<S, B, HALF>(s, block, column, (inputs, stride), first);
        }
        let inputs = (inputs.add(HALF * stride), stride);
        if let (8, Some(second)) = (R, second.first_chunk_mut::<4>()) {
            multiply_some::<S, B, 4>(s, block, column, inputs, second);
        } else if let Some(second) = second.first_chunk_mut::<3>() {
            multiply_some::<S, B, 3>(s, block, column, inputs, second);
        }
    }
}

/// # Safety
/// Same as for [`multiply`].
#[inline(always)]
unsafe fn multiply_some<S: Simd, B: Block, const R: usize>(
    s: S,
    block: *const u8,
    column: usize,
    (inputs, stride): (*const RowGroup, usize),
    sums: &mut [[S::F; 2]; R],
) {
    // SAFETY: the caller vouches for all of it.
    unsafe {
        let mut totals = [[s.splat_int(0); 2]; R];
        for (r, totals) in totals.iter_mut().enumerate() {
            *totals = B::start(s, &*inputs.add(r * stride), column);
        }
        for four in 0..GROUP / 4 {
            let weights = B::weights(s, block, column, four);
            for (r, totals) in totals.iter_mut().enumerate() {
                let quad = four_of(s, inputs.add(r * stride), four);
                totals[0] = s.dot_bytes(totals[0], weights[0], quad);
                totals[1] = s.dot_bytes(totals[1], weights[1], quad);
            }
        }
        let scales = B::scales(s, block, column);
        for (r, (totals, sums)) in totals.into_iter().zip(sums).enumerate() {
            let group = &*inputs.add(r * stride);
            let (scale, shift) = (s.splat(group.scale), s.splat(group.shift));
            for v in 0..2 {
                sums[v] = s.mul_add(s.unshift(totals[v], scale, shift), scales[v], sums[v]);
            }
        }
    }
}

/// Returns four bytes of a group in every lane.
///
/// # Safety
/// `group` is readable, and `four` below 8.
#[inline(always)]
unsafe fn four_of<S: Simd>(s: S, group: *const RowGroup, four: usize) -> S::Signed {
    // SAFETY: the caller vouches for it.
    unsafe { s.load_signed((&raw const (*group).bytes).cast::<i8>().add(4 * four)) }
}
