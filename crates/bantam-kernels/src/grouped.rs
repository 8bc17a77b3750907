//! Linear layers whose weights come in groups of 32 with a scale each, as quantised model files have them.

mod bytes;
mod pack;
mod product;
mod rows;

pub use bytes::{AlignedBytes, PackedBytes};
pub use pack::Weights;
pub use rows::GroupedRows;
pub(crate) use rows::SharedGroups;

use crate::grid::PAIR;
use crate::half::f16_to_f32;
use crate::pool::Pool;

/// Inputs that share a scale.
pub(crate) const GROUP: usize = 32;
/// Bytes of the scales of a block: a half for each of 32 outputs.
const SCALES: usize = 2 * PAIR;

/// How weights are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Packing {
    /// 8 bits a weight and a half for every 32: what Q8_0 holds.
    Int8,
    /// 4 bits a weight and a half for every 32: what Q4_0 holds.
    Int4,
}

impl Packing {
    /// Returns how many bytes a block has: 32 outputs by 32 inputs.
    pub(crate) fn block(self) -> usize {
        SCALES
            + match self {
                Self::Int8 => PAIR * GROUP,
                Self::Int4 => PAIR * GROUP / 2,
            }
    }

    /// Returns how many bytes packed weights have, or nothing where that is more than can be addressed.
    ///
    /// Layers of the same inputs whose outputs are multiples of 32 may be put one after the other: their bytes
    /// are then those of one layer with all outputs.
    pub fn packed_bytes(self, outputs: usize, inputs: usize) -> Option<usize> {
        outputs.div_ceil(PAIR).checked_mul(inputs.div_ceil(GROUP))?.checked_mul(self.block())
    }
}

/// Why bytes are no packed weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackedError {
    /// A layer without inputs or outputs.
    Empty,
    /// Another number of bytes than the shape has.
    Length {
        /// How many there are.
        found: usize,
        /// How many the shape has.
        expected: Option<usize>,
    },
}

impl std::fmt::Display for PackedError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => write!(f, "the layer has no inputs or no outputs"),
            Self::Length { found, expected: Some(expected) } => {
                write!(f, "{found} bytes of packed weights, where the shape has {expected}; pack them again")
            }
            Self::Length { .. } => write!(f, "the shape of the layer has more bytes than can be addressed"),
        }
    }
}

impl std::error::Error for PackedError {}

/// A linear layer, `y = W x + b`, of weights in groups of 32 inputs with a scale for each output and group.
///
/// Inputs come as [`GroupedRows`], which are signed bytes in the same groups. Products within a group are summed
/// exactly; the groups' sums are added up in f32, always in the same order. So what comes out for a row is the
/// same to the bit whatever other rows there are and however many threads, with the same instructions.
#[derive(Clone, Debug)]
pub struct GroupedLinear {
    outputs: usize,
    inputs: usize,
    packing: Packing,
    /// Pairs of tiles of 16 outputs; of these, for every group of inputs a block: 32 scales as halves; then, for
    /// every four inputs and each tile, 16 times four bytes, offset by 128. With [`Packing::Int4`] the first tile
    /// is in the lower halves of the bytes, the second in the upper ones, offset by 8.
    bytes: PackedBytes,
    /// None, or one for each output, padded to whole pairs.
    bias: Vec<f32>,
}

impl GroupedLinear {
    /// Returns a layer of weights that [`Weights::pack`] made, perhaps long ago and read from a file.
    ///
    /// The bytes' meaning is not checked: whatever they are, what comes out are numbers.
    ///
    /// # Errors
    /// If the bytes are not as many as the shape has.
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

    /// Packs weights into memory of the layer's own.
    ///
    /// # Panics
    /// If there are no inputs or outputs, or `weights` are not as many.
    pub fn pack(pool: &Pool, weights: &Weights<'_>, outputs: usize, inputs: usize, packing: Packing) -> Self {
        assert!(0 < inputs && 0 < outputs, "{outputs} outputs of {inputs} inputs");
        let mut bytes = AlignedBytes::zeros(packing.packed_bytes(outputs, inputs).unwrap_or(0));
        weights.pack(pool, outputs, inputs, packing, bytes.as_mut());
        Self { outputs, inputs, packing, bytes: bytes.into(), bias: Vec::new() }
    }

    /// Returns the layer with a bias, which is added last.
    ///
    /// # Panics
    /// If there is not one for each output.
    #[must_use]
    pub fn with_bias(mut self, mut bias: Vec<f32>) -> Self {
        assert_eq!(bias.len(), self.outputs);
        bias.resize(self.outputs.next_multiple_of(PAIR), 0.0);
        self.bias = bias;
        self
    }

    /// Returns how many outputs there are.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Returns how many inputs there are.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Returns how the weights are held.
    pub fn packing(&self) -> Packing {
        self.packing
    }

    /// Returns the packed weights.
    pub fn bytes(&self) -> &PackedBytes {
        &self.bytes
    }

    /// Writes the weights of one output, as embeddings that are also the last layer are read.
    ///
    /// # Panics
    /// If there is no such output, or `numbers` is not one for each input.
    pub fn weights_of(&self, output: usize, numbers: &mut [f32]) {
        assert!(output < self.outputs, "output {output} of {}", self.outputs);
        assert_eq!(numbers.len(), self.inputs);
        let (pair, tile, column) = (output / PAIR, output % PAIR / 16, output % 16);
        let (block, groups) = (self.packing.block(), self.inputs.div_ceil(GROUP));
        let blocks = self.bytes.as_slice()[pair * groups * block..].chunks_exact(block);
        for (numbers, block) in numbers.chunks_mut(GROUP).zip(blocks) {
            let (scales, bytes) = block.split_at(SCALES);
            let at = 2 * (output % PAIR);
            let scale = f16_to_f32(u16::from_le_bytes([scales[at], scales[at + 1]]));
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

    /// Writes the layer's outputs for every row of `rows`, one row after the other.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn forward(&self, pool: &Pool, rows: &GroupedRows, outputs: &mut [f32]) {
        self.multiply(pool, rows, false, outputs);
    }

    /// Adds the layer's outputs for every row of `rows` to `outputs`.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn forward_add(&self, pool: &Pool, rows: &GroupedRows, outputs: &mut [f32]) {
        self.multiply(pool, rows, true, outputs);
    }
}
