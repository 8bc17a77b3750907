//! The product of grouped rows with packed weights.

use super::rows::RowGroup;
use super::{GROUP, GroupedLinear, GroupedRows, Packing, SCALES};
use crate::grid::{Grid, PAIR, TILE, even_part, with_rows};
use crate::isa::Kernel;
use crate::pool::Pool;
use crate::product::{load_some, store_some};
use crate::shared::SharedSlice;
use crate::simd::Simd;

/// Multiplications worth a chunk: some microseconds of one core.
const CHUNK_WORK: usize = 700_000;
/// How far ahead weights are asked for, in bytes.
const AHEAD: usize = 4096;

impl GroupedLinear {
    pub(super) fn multiply<const ADD: bool>(&self, pool: &Pool, rows: &GroupedRows, outputs: &mut [f32]) {
        assert_eq!(rows.width(), self.inputs);
        assert_eq!(outputs.len(), rows.len() * self.outputs);
        let bytes = self.bytes.as_slice();
        assert_eq!(Some(bytes.len()), self.packing.packed_bytes(self.outputs, self.inputs));
        if outputs.is_empty() {
            return;
        }
        let columns = self.outputs.next_multiple_of(PAIR);
        let grid = Grid::new(rows.len(), columns, self.inputs, pool.threads(), CHUNK_WORK);
        let shared = SharedSlice::new(outputs);
        pool.run(grid.chunks(), |_, chunk| {
            let (layer, outputs) = (self, &shared);
            pool.isa().call(Chunk::<ADD> { layer, bytes, rows, grid, chunk, outputs });
        });
    }
}

/// One chunk of the grid.
///
/// **Invariant:** `bytes` are as many as `layer` has, `rows` are as wide as its inputs, `outputs` has as many rows
/// of its outputs, and nobody else writes this chunk of it.
struct Chunk<'c, const ADD: bool> {
    layer: &'c GroupedLinear,
    bytes: &'c [u8],
    rows: &'c GroupedRows,
    grid: Grid,
    chunk: usize,
    outputs: &'c SharedSlice<'c, f32>,
}

impl<const ADD: bool> Kernel for Chunk<'_, ADD> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (rows, columns) = self.grid.chunk(self.chunk);
        let blocks = rows.len().div_ceil(S::GROUPED_ROWS);
        for column in columns.step_by(2 * S::LANES) {
            for index in 0..blocks {
                let block = even_part(rows.len(), blocks, index);
                let first = rows.start + block.start;
                // SAFETY: the block lies within this chunk.
                with_rows!(block.len(), up to S::GROUPED_ROWS, R => unsafe {
                    let sums = match self.layer.packing {
                        Packing::Int8 => self.sums::<S, R, Bytes>(s, first, column),
                        Packing::Int4 => self.sums::<S, R, Nibbles>(s, first, column),
                    };
                    self.store::<S, R>(s, first, column, sums);
                });
            }
        }
    }
}

impl<const ADD: bool> Chunk<'_, ADD> {
    /// Returns the sums of `R` rows from `row` and two vectors of columns from `column`.
    ///
    /// # Safety
    /// Rows and columns are within the chunk, columns counted with their padding.
    #[inline(always)]
    unsafe fn sums<S: Simd, const R: usize, B: Block>(
        &self,
        s: S,
        row: usize,
        column: usize,
    ) -> [[S::F; 2]; R] {
        let per_row = self.rows.per_row();
        let pair = column / PAIR * per_row * B::BYTES;
        let mut block = self.bytes[pair..].as_ptr();
        let mut inputs = self.rows.groups()[row * per_row..].as_ptr();
        let mut sums = [[s.splat(0.0); 2]; R];
        for _ in 0..per_row {
            for line in (0..B::BYTES).step_by(64) {
                s.prefetch(block.wrapping_add(AHEAD + line).cast());
            }
            // SAFETY: a pair has `per_row` blocks; rows `row..row + R` exist and have `per_row` groups each.
            unsafe { B::multiply(s, block, column % PAIR, (inputs, per_row), &mut sums) };
            block = block.wrapping_add(B::BYTES);
            inputs = inputs.wrapping_add(1);
        }
        sums
    }

    /// # Safety
    /// As for [`Self::sums`].
    #[inline(always)]
    unsafe fn store<S: Simd, const R: usize>(&self, s: S, row: usize, column: usize, sums: [[S::F; 2]; R]) {
        let layer = self.layer;
        for (v, column) in [column, column + S::LANES].into_iter().enumerate() {
            if column >= layer.outputs {
                break;
            }
            let valid = layer.outputs - column;
            for (r, sums) in sums.iter().enumerate() {
                let mut value = sums[v];
                if let Some(bias) = layer.bias.get(column..column + S::LANES) {
                    // SAFETY: just sliced.
                    value = s.add(value, unsafe { s.load(bias.as_ptr()) });
                }
                // SAFETY: row and column are within the outputs, and this chunk's own.
                unsafe {
                    let to = self.outputs.pointer().add((row + r) * layer.outputs + column);
                    if ADD {
                        value = s.add(load_some(s, to, valid), value);
                    }
                    store_some(s, value, to, valid);
                }
            }
        }
    }
}

/// How a block of weights is read.
trait Block {
    /// Bytes of a block.
    const BYTES: usize;

    /// Adds to `sums` the products of one block with a group of `R` rows, which are `stride` groups apart.
    ///
    /// # Safety
    /// `block` is readable for `BYTES`, `column` is a multiple of `2 * LANES` below [`PAIR`], and so many rows are
    /// readable from `inputs` on.
    unsafe fn multiply<S: Simd, const R: usize>(
        s: S,
        block: *const u8,
        column: usize,
        inputs: (*const RowGroup, usize),
        sums: &mut [[S::F; 2]; R],
    );
}

/// [`Packing::Int8`].
struct Bytes;
/// [`Packing::Int4`].
struct Nibbles;

impl Block for Bytes {
    const BYTES: usize = SCALES + PAIR * GROUP;

    #[inline(always)]
    unsafe fn multiply<S: Simd, const R: usize>(
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
                *totals = [s.splat_int((*inputs.add(r * stride)).start); 2];
            }
            for four in 0..GROUP / 4 {
                let weights = [column, column + S::LANES].map(|column| {
                    let (tile, within) = (column / TILE, column % TILE);
                    s.load_unsigned(block.add(SCALES + (2 * four + tile) * 4 * TILE + 4 * within))
                });
                for (r, totals) in totals.iter_mut().enumerate() {
                    let quad = s
                        .load_signed((&raw const (*inputs.add(r * stride)).bytes).cast::<i8>().add(4 * four));
                    totals[0] = s.dot_bytes(totals[0], weights[0], quad);
                    totals[1] = s.dot_bytes(totals[1], weights[1], quad);
                }
            }
            let scales =
                [column, column + S::LANES].map(|column| s.load_half(block.cast::<u16>().add(column)));
            for (r, (totals, sums)) in totals.into_iter().zip(sums).enumerate() {
                let group = &*inputs.add(r * stride);
                let (scale, shift) = (s.splat(group.scale), s.splat(group.shift));
                for v in 0..2 {
                    sums[v] = s.mul_add(s.unshift(totals[v], scale, shift), scales[v], sums[v]);
                }
            }
        }
    }
}

impl Block for Nibbles {
    const BYTES: usize = SCALES + PAIR * GROUP / 2;

    #[inline(always)]
    unsafe fn multiply<S: Simd, const R: usize>(
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
                let group = &*inputs.add(r * stride);
                *totals = [column, column + S::LANES]
                    .map(|column| s.splat_int(if column < TILE { group.nibble_start } else { group.start }));
            }
            for four in 0..GROUP / 4 {
                let weights = [column, column + S::LANES].map(|column| {
                    let from = block.add(SCALES + four * 4 * TILE + 4 * (column % TILE));
                    if column < TILE { s.load_nibbles::<false>(from) } else { s.load_nibbles::<true>(from) }
                });
                for (r, totals) in totals.iter_mut().enumerate() {
                    let quad = s
                        .load_signed((&raw const (*inputs.add(r * stride)).bytes).cast::<i8>().add(4 * four));
                    totals[0] = s.dot_bytes(totals[0], weights[0], quad);
                    totals[1] = s.dot_bytes(totals[1], weights[1], quad);
                }
            }
            let scales = [column, column + S::LANES].map(|column| {
                let scale = s.load_half(block.cast::<u16>().add(column));
                // Upper halves count 16 times; to divide by that is exact.
                if column < TILE { scale } else { s.mul(scale, s.splat(0.0625)) }
            });
            for (r, (totals, sums)) in totals.into_iter().zip(sums).enumerate() {
                let group = &*inputs.add(r * stride);
                let (scale, shift) = (s.splat(group.scale), s.splat(group.shift));
                for v in 0..2 {
                    sums[v] = s.mul_add(s.unshift(totals[v], scale, shift), scales[v], sums[v]);
                }
            }
        }
    }
}
