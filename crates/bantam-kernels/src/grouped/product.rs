//! The product of grouped rows with packed weights.

mod block;

use super::{GroupedLinear, GroupedRows, Packing};
use crate::grid::{Grid, PAIR, even_part, with_rows};
use crate::isa::Kernel;
use crate::pool::Pool;
use crate::product::{load_some, store_some};
use crate::shared::SharedSlice;
use crate::simd::Simd;
use block::{Block, Bytes, Nibbles, multiply};

/// Multiplications that justify a chunk: some microseconds of one core.
const CHUNK_WORK: usize = 700_000;
/// Prefetch distance in bytes, for weights that are used only once.
const PREFETCH_BYTES: usize = 4096;

impl GroupedLinear {
    /// Writes the outputs, or adds them to the existing values if `is_added`.
    pub(super) fn multiply(&self, pool: &Pool, rows: &GroupedRows, is_added: bool, outputs: &mut [f32]) {
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
            pool.isa().call(Chunk { layer, bytes, rows, grid, chunk, is_added, outputs });
        });
    }
}

/// One chunk of the grid.
///
/// **Invariant:** `bytes` has the size of `layer`, `rows` has its inputs' width, `outputs` has as many rows of its
/// outputs, and no other thread writes this chunk of it.
struct Chunk<'c> {
    layer: &'c GroupedLinear,
    bytes: &'c [u8],
    rows: &'c GroupedRows,
    grid: Grid,
    chunk: usize,
    is_added: bool,
    outputs: &'c SharedSlice<'c, f32>,
}

impl Kernel for Chunk<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match self.layer.packing {
            Packing::Int8 => self.blocks::<S, Bytes>(s),
            Packing::Int4 => self.blocks::<S, Nibbles>(s),
        }
    }
}

impl Chunk<'_> {
    #[inline(always)]
    fn blocks<S: Simd, B: Block>(&self, s: S) {
        let (rows, columns) = self.grid.chunk(self.chunk);
        let most = if rows.len() <= S::DECODED_ROWS { S::DECODED_ROWS } else { S::GROUPED_ROWS };
        let blocks = rows.len().div_ceil(most);
        // Vectors narrower than a tile pass over a pair twice.
        let passes = blocks * PAIR / (2 * S::LANES);
        let prefetch = if passes == 1 {
            Prefetch { is_near: true, distance: PREFETCH_BYTES, lines: B::BYTES.div_ceil(64), step: B::BYTES }
        } else {
            let (distance, lines) = (self.rows.per_row() * B::BYTES, (B::BYTES / 64).div_ceil(passes).max(2));
            Prefetch { is_near: false, distance, lines, step: 64 * lines }
        };
        for column in columns.step_by(2 * S::LANES) {
            for index in 0..blocks {
                let block = even_part(rows.len(), blocks, index);
                let first = rows.start + block.start;
                let pass = index + column % PAIR / (2 * S::LANES) * blocks;
                // SAFETY: the block is within this chunk.
                with_rows!(block.len(), up to S::DECODED_ROWS, R => unsafe {
                    let sums = self.sums::<S, B, R>(s, first, column, (prefetch, pass));
                    self.store::<S, R>(s, first, column, sums);
                });
            }
        }
    }

    /// Returns the sums of `R` rows from `row` and two vectors of columns from `column`.
    ///
    /// # Safety
    /// Rows and columns are within the chunk, including the padding of columns.
    #[inline(always)]
    unsafe fn sums<S: Simd, B: Block, const R: usize>(
        &self,
        s: S,
        row: usize,
        column: usize,
        (prefetch, pass): (Prefetch, usize),
    ) -> [[S::F; 2]; R] {
        let per_row = self.rows.per_row();
        let pair = column / PAIR * per_row * B::BYTES;
        let mut block = self.bytes[pair..].as_ptr();
        let mut next = block.wrapping_add(prefetch.distance + pass * prefetch.step * per_row);
        let mut inputs = self.rows.groups()[row * per_row..].as_ptr();
        let mut sums = [[s.splat(0.0); 2]; R];
        for _ in 0..per_row {
            if prefetch.is_near {
                for line in 0..B::BYTES.div_ceil(64) {
                    s.prefetch(next.wrapping_add(64 * line).cast());
                }
            } else {
                s.prefetch_far(next.cast());
                s.prefetch_far(next.wrapping_add(64).cast());
                for line in 2..prefetch.lines {
                    s.prefetch_far(next.wrapping_add(64 * line).cast());
                }
            }
            next = next.wrapping_add(prefetch.step);
            // SAFETY: a pair has `per_row` blocks; rows `row..row + R` exist and have `per_row` groups each.
            unsafe { multiply::<S, B, R>(s, block, column % PAIR, (inputs, per_row), &mut sums) };
            block = block.wrapping_add(B::BYTES);
            inputs = inputs.wrapping_add(1);
        }
        sums
    }

    /// # Safety
    /// Same as for [`Self::sums`].
    #[inline(always)]
    unsafe fn store<S: Simd, const R: usize>(&self, s: S, row: usize, column: usize, sums: [[S::F; 2]; R]) {
        for (r, sums) in sums.into_iter().enumerate() {
            for (sum, column) in sums.into_iter().zip([column, column + S::LANES]) {
                // SAFETY: the caller vouches for rows and columns.
                unsafe { self.put(s, row + r, column, sum) };
            }
        }
    }

    /// Writes a vector of sums, except for padding columns.
    ///
    /// # Safety
    /// Same as for [`Self::sums`].
    #[inline(always)]
    unsafe fn put<S: Simd>(&self, s: S, row: usize, column: usize, mut sum: S::F) {
        let layer = self.layer;
        if column >= layer.outputs {
            return;
        }
        let valid = layer.outputs - column;
        if let Some(bias) = layer.bias.get(column..column + S::LANES) {
            // SAFETY: just sliced.
            sum = s.add(sum, unsafe { s.load(bias.as_ptr()) });
        }
        // SAFETY: row and column are within the outputs and belong to this chunk.
        unsafe {
            let to = self.outputs.pointer().add(row * layer.outputs + column);
            if self.is_added {
                sum = s.add(load_some(s, to, valid), sum);
            }
            store_some(s, sum, to, valid);
        }
    }
}

/// What to prefetch while a block is multiplied. With one pass over a pair: its own weights, some distance ahead.
/// With several passes: in each pass a part of the next pair's weights, so that memory is read during the arithmetic.
#[derive(Clone, Copy)]
struct Prefetch {
    is_near: bool,
    distance: usize,
    lines: usize,
    step: usize,
}
