//! Linear layers: a frozen or trained matrix, with optional trained low-rank adapters.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use bantam_kernels::{Matrix, MatrixMut, Write, multiply};

use super::dropout::{Noise, Site, dropout};
use super::numbers::{add, fit};

/// A frozen matrix in any storage form. It only computes products, so that a quantised matrix can be dequantised in
/// tiles; its own gradient is never computed.
pub trait Frozen: Debug + Send + Sync {
    /// Returns the number of outputs and inputs.
    fn shape(&self) -> (usize, usize);

    /// Writes `rows · Wᵀ`, the outputs.
    fn forward(&self, rows: &[f32], outputs: &mut [f32]);

    /// Writes `gradient · W`, the gradient of the inputs given that of the outputs.
    fn backward(&self, gradient: &[f32], inputs: &mut [f32]);
}

/// A frozen f32 matrix with one row per output.
#[derive(Debug)]
pub struct F32Matrix {
    numbers: Vec<f32>,
    outputs: usize,
    inputs: usize,
}

impl F32Matrix {
    /// Returns the matrix with these rows.
    ///
    /// # Panics
    /// If there are not `outputs * inputs` numbers.
    pub fn new(numbers: Vec<f32>, outputs: usize, inputs: usize) -> Self {
        assert_eq!(numbers.len(), outputs * inputs);
        Self { numbers, outputs, inputs }
    }
}

impl Frozen for F32Matrix {
    fn shape(&self) -> (usize, usize) {
        (self.outputs, self.inputs)
    }

    fn forward(&self, rows: &[f32], outputs: &mut [f32]) {
        let count = rows.len() / self.inputs;
        let weights = Matrix::new(&self.numbers, self.outputs, self.inputs);
        let into = MatrixMut::new(outputs, count, self.outputs);
        multiply(Matrix::new(rows, count, self.inputs), weights.transposed(), 1.0, into, Write::Set);
    }

    fn backward(&self, gradient: &[f32], inputs: &mut [f32]) {
        let count = gradient.len() / self.outputs;
        let weights = Matrix::new(&self.numbers, self.outputs, self.inputs);
        let into = MatrixMut::new(inputs, count, self.inputs);
        multiply(Matrix::new(gradient, count, self.outputs), weights, 1.0, into, Write::Set);
    }
}

/// The matrix and the bias of a layer.
#[derive(Clone, Debug)]
pub enum Weight {
    /// Both are frozen; the bias is optional.
    Frozen(Arc<dyn Frozen>, Option<Vec<f32>>),
    /// Both are trained and lie in these ranges of the parameters.
    Trained(Range<usize>, Range<usize>),
}

/// The adapter of some outputs of a layer that fuses several layers of the model.
#[derive(Clone, Debug)]
pub struct LoraPart {
    /// The range of `B` in the parameters: `outputs` rows of length `rank`.
    pub b: Range<usize>,
    /// The first output it adapts.
    pub first: usize,
    /// The number of outputs it adapts.
    pub outputs: usize,
}

/// The low-rank adapters of a layer, `y += scale · B A x` (<https://arxiv.org/abs/2106.09685>).
#[derive(Clone, Debug)]
pub struct Lora {
    /// Rank of each part.
    pub rank: usize,
    /// The adapters' scale, alpha / rank.
    pub scale: f32,
    /// The range of all parts' `A` in the parameters, one after the other: `rank` rows each.
    pub a: Range<usize>,
    /// The parts.
    pub parts: Vec<LoraPart>,
    /// Dropout rate of the inputs before `A`.
    pub dropout: f32,
    /// The dropout site of the inputs.
    pub site: Site,
}

/// A linear layer.
#[derive(Clone, Debug)]
pub struct Linear {
    /// Number of outputs.
    pub outputs: usize,
    /// Number of inputs.
    pub inputs: usize,
    /// The matrix and the bias.
    pub weight: Weight,
    /// The adapters, if any.
    pub lora: Option<Lora>,
}

/// A thread's buffers for linear layers.
#[derive(Clone, Debug, Default)]
pub struct LinearScratch {
    dropped: Vec<f32>,
    low: Vec<f32>,
}

impl Linear {
    /// Writes the outputs for `x`. `low` keeps what the backward pass needs.
    ///
    /// # Panics
    /// If the lengths do not match.
    pub fn forward(
        &self,
        parameters: &[f32],
        (x, noise): (&[f32], Noise<'_>),
        y: &mut [f32],
        low: &mut Vec<f32>,
        scratch: &mut LinearScratch,
    ) {
        let rows = x.len() / self.inputs;
        assert_eq!((x.len(), y.len()), (rows * self.inputs, rows * self.outputs));
        let bias = match &self.weight {
            Weight::Frozen(matrix, bias) => {
                matrix.forward(x, y);
                bias.as_deref()
            }
            Weight::Trained(weight, bias) => {
                let weight = Matrix::new(&parameters[weight.clone()], self.outputs, self.inputs).transposed();
                let into = MatrixMut::new(y, rows, self.outputs);
                multiply(Matrix::new(x, rows, self.inputs), weight, 1.0, into, Write::Set);
                Some(&parameters[bias.clone()])
            }
        };
        if let Some(bias) = bias {
            y.chunks_exact_mut(self.outputs).for_each(|row| add(row, bias));
        }
        let Some(lora) = &self.lora else { return };
        let wide = lora.rank * lora.parts.len();
        let x = lora.dropped(x, noise, &mut scratch.dropped);
        let low = fit(low, rows * wide);
        let a = Matrix::new(&parameters[lora.a.clone()], wide, self.inputs).transposed();
        let into = MatrixMut::new(low, rows, wide);
        multiply(Matrix::new(x, rows, self.inputs), a, 1.0, into, Write::Set);
        for (index, part) in lora.parts.iter().enumerate() {
            let b = Matrix::new(&parameters[part.b.clone()], part.outputs, lora.rank).transposed();
            let low_part = Matrix::strided(&low[index * lora.rank..], rows, lora.rank, wide);
            let into = MatrixMut::strided(&mut y[part.first..], rows, part.outputs, self.outputs);
            multiply(low_part, b, lora.scale, into, Write::Add);
        }
    }

    /// Adds the parameters' gradients, given the gradient `dy` of the outputs, and writes the gradient of `x` to `dx`
    /// if given.
    ///
    /// # Panics
    /// If the lengths do not match.
    #[expect(clippy::too_many_arguments, reason = "the backward pass needs every value of the forward pass")]
    pub fn backward(
        &self,
        parameters: &[f32],
        (x, noise): (&[f32], Noise<'_>),
        dy: &[f32],
        low: &[f32],
        dx: Option<&mut [f32]>,
        gradient: &mut [f32],
        scratch: &mut LinearScratch,
    ) {
        let rows = x.len() / self.inputs;
        assert_eq!((x.len(), dy.len()), (rows * self.inputs, rows * self.outputs));
        let out = Matrix::new(dy, rows, self.outputs);
        if let Weight::Trained(weight, bias) = &self.weight {
            let into = MatrixMut::new(&mut gradient[weight.clone()], self.outputs, self.inputs);
            multiply(out.transposed(), Matrix::new(x, rows, self.inputs), 1.0, into, Write::Add);
            dy.chunks_exact(self.outputs).for_each(|row| add(&mut gradient[bias.clone()], row));
        }
        let mut dx = dx;
        if let Some(dx) = dx.as_deref_mut() {
            match &self.weight {
                Weight::Frozen(matrix, _) => matrix.backward(dy, dx),
                Weight::Trained(weight, _) => {
                    let weight = Matrix::new(&parameters[weight.clone()], self.outputs, self.inputs);
                    multiply(out, weight, 1.0, MatrixMut::new(dx, rows, self.inputs), Write::Set);
                }
            }
        }
        if let Some(lora) = &self.lora {
            lora.backward(self, parameters, (x, noise), dy, low, dx, gradient, scratch);
        }
    }
}

impl Lora {
    fn dropped<'s>(&self, x: &'s [f32], noise: Noise<'_>, into: &'s mut Vec<f32>) -> &'s [f32] {
        if self.dropout <= 0.0 || noise.keys.is_empty() {
            return x;
        }
        let into = fit(into, x.len());
        into.copy_from_slice(x);
        dropout(into, self.dropout, noise, self.site);
        into
    }

    #[expect(clippy::too_many_arguments, reason = "the backward pass needs every value of the forward pass")]
    fn backward(
        &self,
        layer: &Linear,
        parameters: &[f32],
        (x, noise): (&[f32], Noise<'_>),
        dy: &[f32],
        low: &[f32],
        dx: Option<&mut [f32]>,
        gradient: &mut [f32],
        scratch: &mut LinearScratch,
    ) {
        let (rows, wide) = (x.len() / layer.inputs, self.rank * self.parts.len());
        let low = &low[..rows * wide];
        let dlow = fit(&mut scratch.low, rows * wide);
        for (index, part) in self.parts.iter().enumerate() {
            let dy = Matrix::strided(&dy[part.first..], rows, part.outputs, layer.outputs);
            let low_part = Matrix::strided(&low[index * self.rank..], rows, self.rank, wide);
            let into = MatrixMut::new(&mut gradient[part.b.clone()], part.outputs, self.rank);
            multiply(dy.transposed(), low_part, self.scale, into, Write::Add);
            let b = Matrix::new(&parameters[part.b.clone()], part.outputs, self.rank);
            let into = MatrixMut::strided(&mut dlow[index * self.rank..], rows, self.rank, wide);
            multiply(dy, b, self.scale, into, Write::Set);
        }
        let dlow = Matrix::new(dlow, rows, wide);
        let dropped = self.dropped(x, noise, &mut scratch.dropped);
        let into = MatrixMut::new(&mut gradient[self.a.clone()], wide, layer.inputs);
        multiply(dlow.transposed(), Matrix::new(dropped, rows, layer.inputs), 1.0, into, Write::Add);
        let Some(dx) = dx else { return };
        let a = Matrix::new(&parameters[self.a.clone()], wide, layer.inputs);
        if self.dropout <= 0.0 || noise.keys.is_empty() {
            multiply(dlow, a, 1.0, MatrixMut::new(dx, rows, layer.inputs), Write::Add);
        } else {
            let through = fit(&mut scratch.dropped, x.len());
            multiply(dlow, a, 1.0, MatrixMut::new(through, rows, layer.inputs), Write::Set);
            dropout(through, self.dropout, noise, self.site);
            add(dx, through);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{check, numbers};
    use crate::random::Key;

    const ROWS: usize = 3;
    const INPUTS: usize = 5;
    const OUTPUTS: usize = 8;

    fn lora(dropout: f32) -> Linear {
        let part = |b: Range<usize>, first, outputs| LoraPart { b, first, outputs };
        let matrix = F32Matrix::new(numbers(OUTPUTS * INPUTS, 1), OUTPUTS, INPUTS);
        Linear {
            outputs: OUTPUTS,
            inputs: INPUTS,
            weight: Weight::Frozen(Arc::new(matrix), Some(numbers(OUTPUTS, 2))),
            lora: Some(Lora {
                rank: 2,
                scale: 0.5,
                a: 0..20,
                parts: vec![part(20..26, 1, 3), part(26..34, 4, 4)],
                dropout,
                site: Site(4),
            }),
        }
    }

    fn trained() -> Linear {
        let weight = Weight::Trained(0..OUTPUTS * INPUTS, OUTPUTS * INPUTS..OUTPUTS * (INPUTS + 1));
        Linear { outputs: OUTPUTS, inputs: INPUTS, weight, lora: None }
    }

    /// Checks the gradients of inputs and parameters together.
    fn check_layer(layer: &Linear, parameters: usize) {
        let keys = [Key::new(1), Key::new(2)];
        let noise = Noise { keys: &keys, ends: &[1, ROWS] };
        check(&numbers(ROWS * INPUTS + parameters, 3), 1e-2, 2e-3, |both, weights| {
            let (x, parameters) = both.split_at(ROWS * INPUTS);
            let (mut y, mut low) = (vec![0.0; ROWS * OUTPUTS], Vec::new());
            let mut scratch = LinearScratch::default();
            layer.forward(parameters, (x, noise), &mut y, &mut low, &mut scratch);
            let (mut dx, mut gradient) = (vec![9.0; x.len()], vec![0.0; parameters.len()]);
            let dy = &weights[..y.len()];
            layer.backward(parameters, (x, noise), dy, &low, Some(&mut dx), &mut gradient, &mut scratch);
            (y, [dx, gradient].concat())
        });
    }

    #[test]
    fn gradients_of_adapters_and_inputs_match_finite_differences() {
        check_layer(&lora(0.0), 34);
        check_layer(&lora(0.4), 34);
    }

    #[test]
    fn gradients_of_trained_matrices_match_finite_differences() {
        check_layer(&trained(), OUTPUTS * (INPUTS + 1));
    }

    #[test]
    fn an_adapter_whose_b_is_zero_has_no_effect() {
        let (x, mut plain) = (numbers(ROWS * INPUTS, 5), lora(0.0));
        let mut parameters = numbers(34, 6);
        parameters[20..].fill(0.0);
        let run = |layer: &Linear| {
            let mut y = vec![0.0; ROWS * OUTPUTS];
            layer.forward(
                &parameters,
                (&x, Noise::NONE),
                &mut y,
                &mut Vec::new(),
                &mut LinearScratch::default(),
            );
            y
        };
        let with = run(&plain);
        plain.lora = None;
        assert_eq!(with, run(&plain));
    }
}
