//! Linear layers with int8 weights and activations.

use crate::grid::{Grid, PAIR, TILE, even_part, with_rows};
use crate::isa::Kernel;
use crate::pool::Pool;
use crate::product::{Activation, store_some};
use crate::quantise::QuantisedRows;
use crate::shared::SharedSlice;
use crate::simd::Simd;

/// Most inputs of an [`Int8Linear`]: the sum of that many byte products fits into 32 bits.
pub const INPUTS_MAX: usize = 32_768;
/// Multiplications that justify a chunk: some microseconds of one core.
const CHUNK_WORK: usize = 700_000;
/// Prefetch distance within one tile, in bytes.
const PREFETCH_BYTES: usize = 1024;

/// A linear layer, `y = W x + b`, with int8 weights and one scale per output.
///
/// Inputs are [`QuantisedRows`]: u8 with one scale and zero point per row. The products are summed exactly in 32
/// bits; the zero point is folded into the sum of each output's weights.
///
/// A few inputs can be declared *exact*: those that are so large in every row that they would cost the others
/// precision. Their activations and weights stay f32, at the cost of one multiplication per exact input and output.
#[derive(Clone, Debug)]
pub struct Int8Linear {
    outputs: usize,
    inputs: usize,
    /// Tiles of 16 outputs; within a tile, for every four inputs, 16 times four bytes. Padded with zeros to whole
    /// pairs of tiles and whole fours.
    weights: Vec<i8>,
    /// The sum of each output's weights, padded.
    sums: Vec<i32>,
    /// The quantisation step of each output's weights, padded.
    scales: Vec<f32>,
    /// One per output, padded.
    bias: Vec<f32>,
    /// Inputs that stay f32; their byte weights are 0.
    exact: Vec<usize>,
    /// For each exact input, one weight per output, padded.
    exact_weights: Vec<f32>,
}

impl Int8Linear {
    /// Quantises `weights`, one row of inputs per output, by the largest weight of each row among the inputs that are
    /// not `exact`.
    ///
    /// # Panics
    /// If there are no inputs or more than [`INPUTS_MAX`], if `weights` does not have one row per element of `bias`,
    /// or if an exact input does not exist or is listed twice.
    pub fn quantise(weights: &[f32], bias: &[f32], inputs: usize, exact: &[usize]) -> Self {
        let outputs = bias.len();
        let mut is_exact = vec![false; inputs];
        for input in exact {
            assert!(!std::mem::replace(&mut is_exact[*input], true), "exact input {input} is listed twice");
        }
        assert!(0 < inputs && inputs <= INPUTS_MAX, "{inputs} inputs");
        assert!(inputs.checked_mul(outputs) == Some(weights.len()), "weights do not match the bias");
        let (padded, fours) = (outputs.next_multiple_of(PAIR), inputs.div_ceil(4));
        let mut layer = Self {
            outputs,
            inputs,
            weights: vec![0; padded * fours * 4],
            sums: vec![0; padded],
            scales: vec![0.0; padded],
            bias: vec![0.0; padded],
            exact: exact.to_vec(),
            exact_weights: vec![0.0; padded * exact.len()],
        };
        layer.bias[..outputs].copy_from_slice(bias);
        let mut rest = vec![0.0; inputs];
        for (output, row) in weights.chunks_exact(inputs).enumerate() {
            rest.copy_from_slice(row);
            for (index, input) in exact.iter().enumerate() {
                layer.exact_weights[index * padded + output] = std::mem::replace(&mut rest[*input], 0.0);
            }
            layer.set_row(output, &rest, fours);
        }
        layer
    }

    fn set_row(&mut self, output: usize, row: &[f32], fours: usize) {
        let largest = row.iter().fold(0.0_f32, |largest, weight| largest.max(weight.abs()));
        let step = largest / 127.0;
        let inverse = if step > 0.0 { 1.0 / step } else { 0.0 };
        let (tile, column) = (output / TILE, output % TILE);
        for (input, weight) in row.iter().enumerate() {
            let quantised = (weight * inverse).round_ties_even().clamp(-127.0, 127.0) as i8;
            self.weights[((tile * fours + input / 4) * TILE + column) * 4 + input % 4] = quantised;
            self.sums[output] += i32::from(quantised);
        }
        self.scales[output] = step;
    }

    /// Returns the number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Returns the number of inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Returns the inputs that stay f32.
    pub fn exact(&self) -> &[usize] {
        &self.exact
    }

    /// Writes the layer's outputs for every row of `rows`, row after row.
    ///
    /// # Panics
    /// If the lengths do not match, or `rows` were quantised for other exact inputs.
    pub fn forward(&self, pool: &Pool, rows: &QuantisedRows, activation: Activation, outputs: &mut [f32]) {
        assert_eq!(rows.width(), self.inputs);
        assert_eq!(rows.exact(), self.exact);
        assert_eq!(outputs.len(), rows.len() * self.outputs);
        if outputs.is_empty() {
            return;
        }
        let grid = Grid::new(rows.len(), self.sums.len(), self.inputs, pool.threads(), CHUNK_WORK);
        let shared = SharedSlice::new(outputs);
        pool.run(grid.chunks(), |_, chunk| {
            pool.isa().call(Chunk { layer: self, rows, activation, grid, chunk, outputs: &shared });
        });
    }
}

/// One chunk of the grid.
///
/// **Invariant:** `outputs` has `rows.len()` rows of `layer.outputs`, and no other thread writes this chunk of it.
struct Chunk<'c> {
    layer: &'c Int8Linear,
    rows: &'c QuantisedRows,
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
        let fours = layer.inputs.div_ceil(4);
        let stride = self.rows.stride();
        let inputs = self.rows.row(row);
        // Vector `v` starts at a multiple of its length, so it is within one tile.
        let mut weights = [0, S::LANES].map(|offset| {
            let (tile, within) = ((column + offset) / TILE, (column + offset) % TILE);
            layer.weights[(tile * fours * TILE + within) * 4..].as_ptr()
        });
        let mut sums = [[s.splat_int(0); 2]; R];
        for four in 0..fours {
            // SAFETY: each tile has `fours` groups of 64 bytes, and `within` is 0 or leaves a whole vector.
            let vectors = weights.map(|weights| unsafe { s.load_weights(weights) });
            s.prefetch(weights[0].wrapping_add(PREFETCH_BYTES));
            s.prefetch(weights[1].wrapping_add(PREFETCH_BYTES));
            for (r, sums) in sums.iter_mut().enumerate() {
                // SAFETY: rows `row..row + R` exist, and a row has `4 * fours` bytes.
                let quad = unsafe { s.load_quad(inputs.add(r * stride + 4 * four)) };
                for (sum, vector) in sums.iter_mut().zip(vectors) {
                    *sum = s.dot(*sum, quad, vector);
                }
            }
            weights = weights.map(|weights| weights.wrapping_add(4 * TILE));
        }
        // SAFETY: same as for this function.
        unsafe { self.store(s, row, column, sums) };
    }

    /// # Safety
    /// Same as for [`Self::block`].
    #[inline(always)]
    unsafe fn store<S: Simd, const R: usize>(&self, s: S, row: usize, column: usize, sums: [[S::I; 2]; R]) {
        let layer = self.layer;
        for (v, column) in [column, column + S::LANES].into_iter().enumerate() {
            if column >= layer.outputs {
                break;
            }
            let valid = layer.outputs - column;
            // SAFETY: each has an element per column, including padding.
            let (of_weights, scales, bias) = unsafe {
                (
                    s.load_int(layer.sums[column..].as_ptr()),
                    s.load(layer.scales[column..].as_ptr()),
                    s.load(layer.bias[column..].as_ptr()),
                )
            };
            for (r, sums) in sums.iter().enumerate() {
                let (scale, zero) = self.rows.scale_and_zero(row + r);
                let real = s.settle(sums[v], s.splat_int(zero - S::DOT_OFFSET), of_weights);
                let mut value = s.mul_add(real, s.mul(s.splat(scale), scales), bias);
                let exact = layer.exact_weights.chunks_exact(layer.bias.len());
                for (number, weights) in self.rows.exact_numbers(row + r).iter().zip(exact) {
                    // SAFETY: there is a weight for each column, including padding.
                    let weights = unsafe { s.load(weights[column..].as_ptr()) };
                    value = s.mul_add(s.splat(*number), weights, value);
                }
                let value = self.activation.apply(s, value);
                // SAFETY: row and column are within the outputs and belong to this chunk.
                unsafe {
                    let to = self.outputs.pointer().add((row + r) * layer.outputs + column);
                    store_some(s, value, to, valid);
                }
            }
        }
    }
}
