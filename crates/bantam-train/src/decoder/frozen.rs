//! Frozen matrices that stay as they lie in a file, or in 4 bits, and are widened in tiles where a product needs them.

use std::fmt::Debug;
use std::sync::Arc;

use bantam_kernels::{Matrix, MatrixMut, Write, multiply};
use bantam_weights::WeightFile;

use crate::ops::Frozen;

/// Numbers of a tile: it stays in the second cache, and its widening is little beside the products with it.
const TILE_NUMBERS: usize = 1 << 16;

/// Rows of weights that can be widened one by one.
pub(super) trait Rows: Debug + Send + Sync {
    /// Writes the weights of an output.
    fn write(&self, output: usize, numbers: &mut [f32]);
}

/// A frozen matrix that is widened in tiles.
#[derive(Debug)]
pub(super) struct Tiled<R> {
    rows: R,
    outputs: usize,
    inputs: usize,
}

impl<R: Rows> Tiled<R> {
    pub(super) fn new(rows: R, outputs: usize, inputs: usize) -> Self {
        Self { rows, outputs, inputs }
    }

    /// Calls `body` with each tile: its first output, its outputs and its weights.
    fn tiles(&self, mut body: impl FnMut(usize, usize, &[f32])) {
        let tile = (TILE_NUMBERS / self.inputs.max(1)).clamp(1, self.outputs);
        let mut numbers = vec![0.0; tile * self.inputs];
        for first in (0..self.outputs).step_by(tile) {
            let count = tile.min(self.outputs - first);
            let numbers = &mut numbers[..count * self.inputs];
            for (index, row) in numbers.chunks_exact_mut(self.inputs).enumerate() {
                self.rows.write(first + index, row);
            }
            body(first, count, numbers);
        }
    }
}

impl<R: Rows> Frozen for Tiled<R> {
    fn shape(&self) -> (usize, usize) {
        (self.outputs, self.inputs)
    }

    fn forward(&self, rows: &[f32], outputs: &mut [f32]) {
        let count = rows.len() / self.inputs;
        if count == 0 {
            return;
        }
        self.tiles(|first, tile, weights| {
            let weights = Matrix::new(weights, tile, self.inputs).transposed();
            let into = MatrixMut::strided(&mut outputs[first..], count, tile, self.outputs);
            multiply(Matrix::new(rows, count, self.inputs), weights, 1.0, into, Write::Set);
        });
    }

    fn backward(&self, gradient: &[f32], inputs: &mut [f32]) {
        let count = gradient.len() / self.outputs;
        if count == 0 {
            return;
        }
        let mut write = Write::Set;
        self.tiles(|first, tile, weights| {
            let of_tile = Matrix::strided(&gradient[first..], count, tile, self.outputs);
            let into = MatrixMut::new(inputs, count, self.inputs);
            multiply(of_tile, Matrix::new(weights, tile, self.inputs), 1.0, into, write);
            write = Write::Add;
        });
    }
}

/// Rows of a layer that are one tensor of a file.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// Its name.
    pub(super) tensor: String,
    /// Its rows.
    pub(super) outputs: usize,
    /// Size of the heads where the file has the two numbers of a rotated pair side by side; here they lie in halves.
    pub(super) interleaved: Option<usize>,
}

impl Piece {
    /// Returns the row of the tensor that is row `output` here.
    pub(super) fn row(&self, output: usize) -> usize {
        let Some(size) = self.interleaved else { return output };
        let (head, within, half) = (output / size, output % size, size / 2);
        head * size + 2 * (within % half) + within / half
    }
}

/// Weights as they lie in a file.
#[derive(Debug)]
pub(super) struct FileRows {
    pub(super) file: Arc<WeightFile>,
    pub(super) pieces: Vec<Piece>,
}

impl FileRows {
    /// Returns all weights in 32 bits.
    pub(super) fn all(&self, inputs: usize) -> Vec<f32> {
        let outputs: usize = self.pieces.iter().map(|piece| piece.outputs).sum();
        let mut numbers = vec![0.0; outputs * inputs];
        numbers.chunks_exact_mut(inputs).enumerate().for_each(|(output, row)| self.write(output, row));
        numbers
    }
}

impl Rows for FileRows {
    fn write(&self, mut output: usize, numbers: &mut [f32]) {
        for piece in &self.pieces {
            if output < piece.outputs {
                let view = self.file.tensor(&piece.tensor);
                // Loading has read every row, so its type is one that is read here.
                let written = view.and_then(|view| view.write_row(piece.row(output), numbers).ok());
                assert_eq!(written, Some(true), "the tensor was there when it was loaded");
                return;
            }
            output -= piece.outputs;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::numbers;
    use crate::ops::F32Matrix;

    #[derive(Debug)]
    struct Plain(Vec<f32>, usize);

    impl Rows for Plain {
        fn write(&self, output: usize, numbers: &mut [f32]) {
            numbers.copy_from_slice(&self.0[output * self.1..][..self.1]);
        }
    }

    #[test]
    fn tiles_give_the_products_of_the_whole_matrix() {
        // More than one tile, the last of them shorter.
        let (outputs, inputs, count) = (70, 2000, 3);
        let weights = numbers(outputs * inputs, 1);
        let whole = F32Matrix::new(weights.clone(), outputs, inputs);
        let tiled = Tiled::new(Plain(weights, inputs), outputs, inputs);
        let near = |left: &[f32], right: &[f32]| {
            left.iter().zip(right).for_each(|(left, right)| assert!((left - right).abs() < 1e-3));
        };
        let (x, mut y, mut expected) =
            (numbers(count * inputs, 2), vec![0.0; count * outputs], vec![0.0; count * outputs]);
        tiled.forward(&x, &mut y);
        whole.forward(&x, &mut expected);
        near(&y, &expected);
        let (mut dx, mut expected) = (vec![5.0; x.len()], vec![0.0; x.len()]);
        tiled.backward(&y, &mut dx);
        whole.backward(&y, &mut expected);
        near(&dx, &expected);
    }
}
