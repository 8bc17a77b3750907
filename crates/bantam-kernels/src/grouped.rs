//! Linear layers whose weights share a scale in groups of 32, as in quantised model files.

mod bytes;
mod pack;
mod product;
mod rows;

pub use bytes::{AlignedBytes, PackedBytes};
pub use pack::Weights;
pub use rows::GroupedRows;
pub(crate) use rows::SharedGroups;

use half::f16;

use crate::grid::PAIR;
use crate::pool::Pool;

/// Inputs per scale.
pub(crate) const GROUP: usize = 32;
/// Bytes of a block's scales: an f16 for each of 32 outputs.
const SCALES: usize = 2 * PAIR;

/// The format of packed weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Packing {
    /// 8 bits per weight and an f16 scale per 32: holds what Q8_0 holds.
    Int8,
    /// 4 bits per weight and an f16 scale per 32: holds what Q4_0 holds.
    Int4,
}

impl Packing {
    /// Returns the size of a block of 32 outputs by 32 inputs, in bytes.
    pub(crate) fn block(self) -> usize {
        SCALES
            + match self {
                Self::Int8 => PAIR * GROUP,
                Self::Int4 => PAIR * GROUP / 2,
            }
    }

    /// Returns the size of packed weights in bytes, or `None` if it is not addressable.
    ///
    /// The packed weights of layers with the same inputs can be concatenated, if their outputs are multiples of 32:
    /// the result is one layer with all outputs.
    pub fn packed_bytes(self, outputs: usize, inputs: usize) -> Option<usize> {
        outputs.div_ceil(PAIR).checked_mul(inputs.div_ceil(GROUP))?.checked_mul(self.block())
    }
}

/// Why bytes are not valid packed weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackedError {
    /// The layer has no inputs or no outputs.
    Empty,
    /// The length does not match the shape.
    Length {
        /// Number of bytes.
        found: usize,
        /// Number of bytes that the shape needs, if addressable.
        expected: Option<usize>,
    },
}

impl std::fmt::Display for PackedError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => write!(f, "the layer has no inputs or no outputs"),
            Self::Length { found, expected: Some(expected) } => {
                write!(
                    f,
                    "{found} bytes of packed weights do not match the layer's shape, which needs {expected}; pack them again"
                )
            }
            Self::Length { .. } => write!(f, "the layer is too large to address"),
        }
    }
}

impl std::error::Error for PackedError {}

/// A linear layer, `y = W x + b`, whose weights have a scale per output and group of 32 inputs.
///
/// Inputs are [`GroupedRows`]: signed bytes in the same groups. Products within a group are summed exactly; the
/// groups' sums are added in f32, always in the same order. So with the same instruction set, a row's result is
/// bit-identical whatever the other rows and the number of threads.
#[derive(Clone, Debug)]
pub struct GroupedLinear {
    outputs: usize,
    inputs: usize,
    packing: Packing,
    /// Pairs of tiles of 16 outputs. Each pair has a block per group of inputs: 32 f16 scales, then for every four
    /// inputs and each tile 16 times four bytes, offset by 128. With [`Packing::Int4`] the first tile is in the low
    /// nibbles and the second in the high nibbles, offset by 8.
    bytes: PackedBytes,
    /// Empty, or one per output, padded to whole pairs.
    bias: Vec<f32>,
}

impl GroupedLinear {
    /// Returns a layer with weights from [`Weights::pack`], possibly read back from a file.
    ///
    /// The contents of the bytes are not checked: any bytes are valid weights.
    ///
    /// # Errors
    /// If the number of bytes does not match the shape.
    pub fn from_packed(
        bytes: PackedBytes,
        outputs: usize,
        inputs: usize,
        packing: Packing,
    ) -> Result<Self, PackedError> {
        if outputs == 0 || inputs == 0 {
            return Err(PackedError::Empty);
        }
        let (found, expected) = (bytes.as_slice().len(), packing.packed_bytes(outputs, inputs));
        if expected != Some(found) {
            return Err(PackedError::Length { found, expected });
        }
        Ok(Self { outputs, inputs, packing, bytes, bias: Vec::new() })
    }

    /// Packs weights into memory owned by the layer.
    ///
    /// # Panics
    /// If there are no inputs or outputs, or the number of weights does not match.
    pub fn pack(pool: &Pool, weights: &Weights<'_>, outputs: usize, inputs: usize, packing: Packing) -> Self {
        assert!(0 < inputs && 0 < outputs, "{outputs} outputs of {inputs} inputs");
        let mut bytes = AlignedBytes::zeros(packing.packed_bytes(outputs, inputs).unwrap_or(0));
        weights.pack(pool, outputs, inputs, packing, bytes.as_mut());
        Self { outputs, inputs, packing, bytes: bytes.into(), bias: Vec::new() }
    }

    /// Returns the layer with a bias, which is added last.
    ///
    /// # Panics
    /// If there is not one element per output.
    #[must_use]
    pub fn with_bias(mut self, mut bias: Vec<f32>) -> Self {
        assert_eq!(bias.len(), self.outputs);
        bias.resize(self.outputs.next_multiple_of(PAIR), 0.0);
        self.bias = bias;
        self
    }

    /// Returns the number of outputs.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Returns the number of inputs.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Returns the format of the weights.
    pub fn packing(&self) -> Packing {
        self.packing
    }

    /// Returns the packed weights.
    pub fn bytes(&self) -> &PackedBytes {
        &self.bytes
    }

    /// Writes the weights of one output. Embeddings that are tied to the output head are read this way.
    ///
    /// # Panics
    /// If there is no such output, or `numbers` does not have one element per input.
    pub fn weights_of(&self, output: usize, numbers: &mut [f32]) {
        assert!(output < self.outputs, "output {output} of {}", self.outputs);
        assert_eq!(numbers.len(), self.inputs);
        let (pair, tile, column) = (output / PAIR, output % PAIR / 16, output % 16);
        let (block, groups) = (self.packing.block(), self.inputs.div_ceil(GROUP));
        let blocks = self.bytes.as_slice()[pair * groups * block..].chunks_exact(block);
        for (numbers, block) in numbers.chunks_mut(GROUP).zip(blocks) {
            let (scales, bytes) = block.split_at(SCALES);
            let at = 2 * (output % PAIR);
            let scale = f16::from_le_bytes([scales[at], scales[at + 1]]).to_f32();
            for (input, number) in numbers.iter_mut().enumerate() {
                let within = (input / 4, 4 * column + input % 4);
                let weight = match self.packing {
                    Packing::Int8 => i32::from(bytes[within.0 * 128 + tile * 64 + within.1]) - 128,
                    Packing::Int4 => i32::from(bytes[within.0 * 64 + within.1] >> (4 * tile) & 15) - 8,
                };
                *number = weight as f32 * scale;
            }
        }
    }

    /// Writes the layer's outputs for every row of `rows`, row after row.
    ///
    /// # Panics
    /// If the lengths do not match.
    pub fn forward(&self, pool: &Pool, rows: &GroupedRows, outputs: &mut [f32]) {
        self.multiply(pool, rows, false, outputs);
    }

    /// Adds the layer's outputs for every row of `rows` to `outputs`.
    ///
    /// # Panics
    /// If the lengths do not match.
    pub fn forward_add(&self, pool: &Pool, rows: &GroupedRows, outputs: &mut [f32]) {
        self.multiply(pool, rows, true, outputs);
    }
}
