//! Low-rank adapters (LoRA) of linear layers.

use std::ops::Range;

use crate::grid::{TILE, even_part, with_rows};
use crate::isa::Kernel;
use crate::pool::Pool;
use crate::product::{block, load_some, store_some};
use crate::shared::SharedSlice;
use crate::simd::Simd;

/// An adapter's change to a linear layer: `scale * B (A x)` (Hu et al. 2021).
#[derive(Clone, Debug)]
pub struct LowRank {
    inputs: usize,
    rank: usize,
    outputs: usize,
    /// A in tiles of 16 ranks, each with 16 weights per input. Padded with zeros.
    down: Vec<f32>,
    /// `scale * B` in tiles of 16 outputs, each with 16 weights per rank. Padded with zeros.
    up: Vec<f32>,
}

impl LowRank {
    /// Returns the adapter of `down`, one row of inputs per rank, and `up`, one row of ranks per output.
    ///
    /// # Panics
    /// If there are no inputs or the rank is 0, or the lengths do not match.
    pub fn new(down: &[f32], up: &[f32], inputs: usize, rank: usize, scale: f32) -> Self {
        assert!(inputs > 0 && rank > 0, "rank {rank} of {inputs} inputs");
        assert_eq!(Some(down.len()), inputs.checked_mul(rank));
        assert!(up.len().is_multiple_of(rank), "not whole rows of the rank");
        let outputs = up.len() / rank;
        Self { inputs, rank, outputs, down: tiles(down, inputs, 1.0), up: tiles(up, rank, scale) }
    }

    /// Returns the number of inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Returns the rank.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Returns the number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Returns the memory of both factors, in bytes.
    pub fn bytes(&self) -> usize {
        (self.down.len() + self.up.len()) * size_of::<f32>()
    }
}

/// Packs rows of `width` elements into tiles of 16 rows, scaled.
fn tiles(rows: &[f32], width: usize, scale: f32) -> Vec<f32> {
    let mut laid_out = vec![0.0; (rows.len() / width).next_multiple_of(TILE) * width];
    for (row, numbers) in rows.chunks_exact(width).enumerate() {
        for (column, number) in numbers.iter().enumerate() {
            laid_out[(row / TILE * width + column) * TILE + row % TILE] = scale * number;
        }
    }
    laid_out
}

/// Adds the adapters' outputs for `rows` to `outputs`, whose rows have `stride` elements, from column `start` on.
/// Each of `groups` is a range of rows and their adapter; rows outside all groups stay unchanged.
///
/// A row's result does not depend on other rows.
///
/// # Panics
/// If the lengths do not match, or two groups share a row.
pub fn add_low_rank(
    pool: &Pool,
    rows: &[f32],
    groups: &[(Range<usize>, &LowRank)],
    (stride, start): (usize, usize),
    outputs: &mut [f32],
) {
    let Some((_, first)) = groups.first() else { return };
    let count = rows.len() / first.inputs;
    assert_eq!(rows.len(), count * first.inputs);
    assert_eq!(outputs.len(), count * stride);
    let mut is_covered = vec![false; count];
    let mut blocks = Vec::new();
    for (range, adapter) in groups {
        assert!(
            adapter.inputs == first.inputs && start + adapter.outputs <= stride,
            "adapter of another layer"
        );
        assert!(range.end <= count, "group outside the rows");
        for row in range.clone() {
            assert!(!std::mem::replace(&mut is_covered[row], true), "row {row} in two groups");
        }
        blocks.extend(range.clone().step_by(BLOCK).map(|row| (row..(row + BLOCK).min(range.end), *adapter)));
    }
    // With few rows, each block's outputs are divided among chunks, and each computes the low-rank part again.
    let parts = (2 * pool.threads()).div_ceil(blocks.len().max(1));
    let shared = SharedSlice::new(outputs);
    pool.run(blocks.len() * parts, |_, chunk| {
        let (rows_of, adapter) = blocks[chunk / parts].clone();
        let tiles = even_part(adapter.outputs.div_ceil(TILE), parts, chunk % parts);
        let (numbers, outputs) = (rows, &shared);
        pool.isa().call(Chunk { adapter, numbers, rows: rows_of, tiles, stride, start, outputs });
    });
}

/// Most rows of a block.
const BLOCK: usize = 8;
/// Most rows multiplied together.
const ROWS: usize = 4;

/// **Invariant:** `rows` are within `numbers`, with the adapter's inputs, and within `outputs`, with at least its
/// outputs from `start` on; no other thread writes the `tiles` of these rows.
struct Chunk<'c> {
    adapter: &'c LowRank,
    numbers: &'c [f32],
    rows: Range<usize>,
    tiles: Range<usize>,
    stride: usize,
    start: usize,
    outputs: &'c SharedSlice<'c, f32>,
}

impl Kernel for Chunk<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if self.tiles.is_empty() {
            return;
        }
        let blocks = self.rows.len().div_ceil(ROWS);
        let mut low = vec![0.0; ROWS * self.adapter.rank.next_multiple_of(TILE)];
        for index in 0..blocks {
            let rows = even_part(self.rows.len(), blocks, index);
            let first = self.rows.start + rows.start;
            // SAFETY: the rows belong to this chunk.
            with_rows!(rows.len(), up to ROWS, R => unsafe { self.block::<S, R>(s, first, &mut low) });
        }
    }
}

impl Chunk<'_> {
    /// # Safety
    /// The `R` rows from `row` on belong to this chunk, and `low` has room for `R` rows of the padded rank.
    #[inline(always)]
    unsafe fn block<S: Simd, const R: usize>(&self, s: S, row: usize, low: &mut [f32]) {
        let adapter = self.adapter;
        let (inputs, rank) = (adapter.inputs, adapter.rank);
        let padded = rank.next_multiple_of(TILE);
        let numbers = self.numbers[row * inputs..(row + R) * inputs].as_ptr();
        for column in (0..padded).step_by(S::LANES) {
            let from = adapter.down[column / TILE * TILE * inputs + column % TILE..].as_ptr();
            // SAFETY: a tile has 16 weights per input; the rows were just sliced.
            let sums = unsafe { block::<S, R, 1>(s, inputs, (numbers, inputs), ([from], TILE)) };
            for (r, [sum]) in sums.into_iter().enumerate() {
                // SAFETY: `low` has `R` rows of `padded` elements.
                unsafe { s.store(sum, low.as_mut_ptr().add(r * padded + column)) };
            }
        }
        for column in (self.tiles.start * TILE..self.tiles.end * TILE).step_by(S::LANES) {
            if column >= adapter.outputs {
                break;
            }
            let from = adapter.up[column / TILE * TILE * rank + column % TILE..].as_ptr();
            // SAFETY: a tile has 16 weights per rank; `low` as above.
            let sums = unsafe { block::<S, R, 1>(s, rank, (low.as_ptr(), padded), ([from], TILE)) };
            for (r, [sum]) in sums.into_iter().enumerate() {
                let valid = adapter.outputs - column;
                // SAFETY: the type's invariant.
                unsafe {
                    let to = self.outputs.pointer().add((row + r) * self.stride + self.start + column);
                    store_some(s, s.add(load_some(s, to, valid), sum), to, valid);
                }
            }
        }
    }
}
