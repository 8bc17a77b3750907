//! `f32` to the types that are written here, bit for bit as the reference (ggml) does.

use crate::dtype::Dtype;
use crate::half::{f32_to_bf16, f32_to_f16};

/// Why numbers cannot be stored in a type.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantiseError {
    /// A type that is only read.
    #[error("numbers are not written as {dtype}; F32, F16, BF16 and Q8_0 are")]
    Unsupported {
        /// The type.
        dtype: Dtype,
    },
    /// A last block that would not be full.
    #[error("{count} numbers are no whole blocks of {dtype}")]
    PartialBlock {
        /// How many there are.
        count: usize,
        /// The type.
        dtype: Dtype,
    },
}

/// Returns numbers as the bytes of F32, F16, BF16 or Q8_0.
pub fn quantise(dtype: Dtype, values: &[f32]) -> Result<Vec<u8>, QuantiseError> {
    match dtype {
        Dtype::F32 => Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Dtype::F16 => Ok(values.iter().flat_map(|&value| f32_to_f16(value).to_le_bytes()).collect()),
        Dtype::BF16 => Ok(values.iter().flat_map(|&value| f32_to_bf16(value).to_le_bytes()).collect()),
        Dtype::Q8_0 => {
            let (blocks, rest) = values.as_chunks::<32>();
            if !rest.is_empty() {
                return Err(QuantiseError::PartialBlock { count: values.len(), dtype });
            }
            Ok(blocks.iter().flat_map(q8_0).collect())
        }
        _ => Err(QuantiseError::Unsupported { dtype }),
    }
}

fn q8_0(block: &[f32; 32]) -> [u8; 34] {
    let largest = block.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    let scale = largest / 127.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let mut bytes = [0; 34];
    bytes[..2].copy_from_slice(&f32_to_f16(scale).to_le_bytes());
    for (byte, value) in bytes[2..].iter_mut().zip(block) {
        // `round` takes ties away from zero, as the reference does; the cast saturates.
        *byte = ((value * inverse).round() as i8).cast_unsigned();
    }
    bytes
}
