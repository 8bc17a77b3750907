//! Frozen matrices that keep their stored form (file type or 4 bits) and are dequantised tile by tile for each product.

use std::fmt::Debug;
use std::sync::Arc;

use bantam_kernels::{Matrix, MatrixMut, Write, multiply};
use bantam_weights::WeightFile;

use crate::ops::Frozen;

/// Numbers in a tile: small enough for the L2 cache, and large enough that its products outweigh its dequantisation.
const TILE_NUMBERS: usize = 1 << 16;

/// Weights whose rows can be dequantised one by one.
pub(super) trait WeightRows: Debug + Send + Sync {
    /// Writes the weights of one output.
    fn write(&self, output: usize, numbers: &mut [f32]);
}

/// A frozen matrix that is dequantised in tiles.
#[derive(Debug)]
pub(super) struct Tiled<R> {
    rows: R,
    outputs: usize,
    inputs: usize,
}

impl<R: WeightRows> Tiled<R> {
    pub(super) fn new(rows: R, outputs: usize, inputs: usize) -> Self {
        Self { rows, outputs, inputs }
    }

    /// Calls `body` with each tile's first output, number of outputs and weights.
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

impl<R: WeightRows> Frozen for Tiled<R> {
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
            let grad_tile = Matrix::strided(&gradient[first..], count, tile, self.outputs);
            let into = MatrixMut::new(inputs, count, self.inputs);
            multiply(grad_tile, Matrix::new(weights, tile, self.inputs), 1.0, into, write);
            write = Write::Add;
        });
    }
}

/// A tensor of a file that forms some rows of a fused layer.
#[derive(Clone, Debug)]
pub(super) struct LayerTensor {
    /// Its name.
    pub(super) tensor: String,
    /// Its number of rows.
    pub(super) outputs: usize,
    /// The head size, if the file interleaves the two numbers of each rotated pair; this crate keeps them in halves.
    pub(super) interleaved: Option<usize>,
}

impl LayerTensor {
    /// Returns the row of the tensor that holds `output`.
    pub(super) fn row(&self, output: usize) -> usize {
        let Some(size) = self.interleaved else { return output };
        let (head, within, half) = (output / size, output % size, size / 2);
        head * size + 2 * (within % half) + within / half
    }
}

/// Weights in the form in which a file stores them.
#[derive(Debug)]
pub(super) struct FileRows {
    pub(super) file: Arc<WeightFile>,
    pub(super) pieces: Vec<LayerTensor>,
}

impl FileRows {
    /// Returns all weights as f32.
    pub(super) fn all(&self, inputs: usize) -> Vec<f32> {
        let outputs: usize = self.pieces.iter().map(|piece| piece.outputs).sum();
        let mut numbers = vec![0.0; outputs * inputs];
        numbers.chunks_exact_mut(inputs).enumerate().for_each(|(output, row)| self.write(output, row));
        numbers
    }
}

impl WeightRows for FileRows {
    fn write(&self, mut output: usize, numbers: &mut [f32]) {
        for piece in &self.pieces {
            if output < piece.outputs {
                let view = self.file.tensor(&piece.tensor);
                // Loading has read every row, so its type is supported.
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

    impl WeightRows for Plain {
        fn write(&self, output: usize, numbers: &mut [f32]) {
            numbers.copy_from_slice(&self.0[output * self.1..][..self.1]);
        }
    }

    #[test]
    fn tiled_products_match_those_of_the_whole_matrix() {
        // More than one tile, and the last one is shorter.
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
