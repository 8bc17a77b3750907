//! Converts `f32` to the types that this crate writes.
//!
//! F32, F16, BF16, Q8_0 and Q4_0 are bit-identical to the reference (ggml). The K types have its format and, by its
//! error measure, are at least as good.

mod k;

use half::{bf16, f16};

use crate::dtype::Dtype;

/// Why values cannot be stored in a type.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantiseError {
    /// The type can only be read.
    #[error("cannot quantise to {dtype}; supported are F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q5_K and Q6_K")]
    Unsupported {
        /// The type.
        dtype: Dtype,
    },
    /// The last block would be incomplete.
    #[error("{count} values do not fill whole blocks of {dtype}")]
    PartialBlock {
        /// Number of values.
        count: usize,
        /// The type.
        dtype: Dtype,
    },
}

/// Returns values as the bytes of F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q5_K or Q6_K.
///
/// Values must be finite; others give meaningless bytes but no panic.
pub fn quantise(dtype: Dtype, values: &[f32]) -> Result<Vec<u8>, QuantiseError> {
    match dtype {
        Dtype::F32 => Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Dtype::F16 => Ok(values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect()),
        Dtype::BF16 => Ok(values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect()),
        Dtype::Q8_0 => blocks(dtype, values, q8_0),
        Dtype::Q4_0 => blocks(dtype, values, q4_0),
        Dtype::Q4K => blocks(dtype, values, k::q4_k),
        Dtype::Q5K => blocks(dtype, values, k::q5_k),
        Dtype::Q6K => blocks(dtype, values, k::q6_k),
        _ => Err(QuantiseError::Unsupported { dtype }),
    }
}

fn blocks<const LEN: usize, const BYTES: usize>(
    dtype: Dtype,
    values: &[f32],
    one: impl Fn(&[f32; LEN]) -> [u8; BYTES],
) -> Result<Vec<u8>, QuantiseError> {
    let (blocks, rest) = values.as_chunks::<LEN>();
    if !rest.is_empty() {
        return Err(QuantiseError::PartialBlock { count: values.len(), dtype });
    }
    Ok(blocks.iter().flat_map(one).collect())
}

/// The value of largest magnitude becomes -8, so that the whole range of a nibble is used.
fn q4_0(block: &[f32; 32]) -> [u8; 18] {
    let largest = block.iter().fold(0f32, |most, value| if value.abs() > most.abs() { *value } else { most });
    let scale = largest / -8.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    // Truncated, not rounded, after adding a half, like the reference.
    let nibble = |value: f32| ((value * inverse + 8.5) as u8).min(15);
    let mut bytes = [0; 18];
    bytes[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
    for (index, byte) in bytes[2..].iter_mut().enumerate() {
        *byte = nibble(block[index]) | nibble(block[index + 16]) << 4;
    }
    bytes
}

fn q8_0(block: &[f32; 32]) -> [u8; 34] {
    let largest = block.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    let scale = largest / 127.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let mut bytes = [0; 34];
    bytes[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
    for (byte, value) in bytes[2..].iter_mut().zip(block) {
        // `round` rounds ties away from zero, like the reference; the cast saturates.
        *byte = ((value * inverse).round() as i8).cast_unsigned();
    }
    bytes
}
