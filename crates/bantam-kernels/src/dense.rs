//! Linear layers in f32.

use crate::grid::{Grid, PAIR, TILE, even_part, with_rows};
use crate::isa::Kernel;
use crate::pool::Pool;
use crate::product::{Activation, block, store_some};
use crate::shared::SharedSlice;
use crate::simd::Simd;

/// Multiplications that justify a chunk: some microseconds of one core.
const CHUNK_WORK: usize = 200_000;

/// A linear layer, `y = W x + b`, in f32.
#[derive(Clone, Debug)]
pub struct F32Linear {
    outputs: usize,
    inputs: usize,
    /// Tiles of 16 outputs, each with 16 weights per input. Padded with zeros to whole pairs of tiles.
    weights: Vec<f32>,
    /// One per output, padded.
    bias: Vec<f32>,
}

impl F32Linear {
    /// Repacks `weights`, one row of inputs per output.
    ///
    /// # Panics
    /// If there are no inputs, or `weights` does not have one row for each element of `bias`.
    pub fn new(weights: &[f32], bias: &[f32], inputs: usize) -> Self {
        let outputs = bias.len();
        assert!(0 < inputs, "no inputs");
        assert!(inputs.checked_mul(outputs) == Some(weights.len()), "weights do not match the bias");
        let padded = outputs.next_multiple_of(PAIR);
        let mut layer =
            Self { outputs, inputs, weights: vec![0.0; padded * inputs], bias: vec![0.0; padded] };
        layer.bias[..outputs].copy_from_slice(bias);
        for (output, row) in weights.chunks_exact(inputs).enumerate() {
            let (tile, column) = (output / TILE, output % TILE);
            for (input, weight) in row.iter().enumerate() {
                layer.weights[(tile * inputs + input) * TILE + column] = *weight;
            }
        }
        layer
    }

    /// Returns the number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Returns the number of inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Writes the layer's outputs for every row of `rows`, row after row.
    ///
    /// # Panics
    /// If the lengths do not match.
    pub fn forward(&self, pool: &Pool, rows: &[f32], activation: Activation, outputs: &mut [f32]) {
        let count = rows.len() / self.inputs;
        assert_eq!(rows.len(), count * self.inputs);
        assert_eq!(outputs.len(), count * self.outputs);
        if outputs.is_empty() {
            return;
        }
        let grid = Grid::new(count, self.bias.len(), self.inputs, pool.threads(), CHUNK_WORK);
        let shared = SharedSlice::new(outputs);
        pool.run(grid.chunks(), |_, chunk| {
            pool.isa().call(Chunk { layer: self, rows, activation, grid, chunk, outputs: &shared });
        });
    }
}

/// One chunk of the grid.
///
/// **Invariant:** `rows` and `outputs` have equally many rows, and no other thread writes this chunk of `outputs`.
struct Chunk<'c> {
    layer: &'c F32Linear,
    rows: &'c [f32],
    activation: Activation,
    grid: Grid,
    chunk: usize,
    outputs: &'c SharedSlice<'c, f32>,
}

impl Kernel for Chunk<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (rows, columns) = self.grid.chunk(self.chunk);
        let blocks = rows.len().div_ceil(S::BLOCK_ROWS);
        for column in columns.step_by(2 * S::LANES) {
            for index in 0..blocks {
                let block = even_part(rows.len(), blocks, index);
                let first = rows.start + block.start;
                // SAFETY: the block is within this chunk.
                with_rows!(block.len(), up to S::BLOCK_ROWS, R => unsafe { self.block::<S, R>(s, first, column) });
            }
        }
    }
}

impl Chunk<'_> {
    /// Processes `R` rows from `row` and two vectors of columns from `column`.
    ///
    /// # Safety
    /// Rows and columns are within the chunk, including the padding of columns.
    #[inline(always)]
    unsafe fn block<S: Simd, const R: usize>(&self, s: S, row: usize, column: usize) {
        let layer = self.layer;
        // Vector `v` starts at a multiple of its length, so it is within one tile.
        let weights = [0, S::LANES].map(|offset| {
            let (tile, within) = ((column + offset) / TILE, (column + offset) % TILE);
            layer.weights[tile * layer.inputs * TILE + within..].as_ptr()
        });
        let rows = self.rows[row * layer.inputs..(row + R) * layer.inputs].as_ptr();
        // SAFETY: a tile has 16 weights per input, and the rows were just sliced.
        let sums = unsafe { block::<S, R, 2>(s, layer.inputs, (rows, layer.inputs), (weights, TILE)) };
        for (v, column) in [column, column + S::LANES].into_iter().enumerate() {
            if column >= layer.outputs {
                break;
            }
            // SAFETY: there is a bias for each column, including padding.
            let bias = unsafe { s.load(layer.bias[column..].as_ptr()) };
            for (r, sums) in sums.iter().enumerate() {
                let value = self.activation.apply(s, s.add(sums[v], bias));
                // SAFETY: row and column are within the outputs and belong to this chunk.
                unsafe {
                    let to = self.outputs.pointer().add((row + r) * layer.outputs + column);
                    store_some(s, value, to, layer.outputs - column);
                }
            }
        }
    }
}
