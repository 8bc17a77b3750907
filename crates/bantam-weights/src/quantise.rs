//! `f32` to the types that are written here.
//!
//! F32, F16, BF16, Q8_0 and Q4_0 come out bit for bit as the reference (ggml) writes them; the K types have its
//! format and, by its measure of error, are at least as good.

mod k;

use crate::dtype::Dtype;
use crate::half::{f32_to_bf16, f32_to_f16};

/// Why numbers cannot be stored in a type.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantiseError {
    /// A type that is only read.
    #[error("numbers are not written as {dtype}; F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q5_K and Q6_K are")]
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

/// Returns numbers as the bytes of F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q5_K or Q6_K.
///
/// Numbers are expected to be finite; what is not gives bytes without meaning, but no panic.
pub fn quantise(dtype: Dtype, values: &[f32]) -> Result<Vec<u8>, QuantiseError> {
    match dtype {
        Dtype::F32 => Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Dtype::F16 => Ok(values.iter().flat_map(|&value| f32_to_f16(value).to_le_bytes()).collect()),
        Dtype::BF16 => Ok(values.iter().flat_map(|&value| f32_to_bf16(value).to_le_bytes()).collect()),
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

/// The number of largest size takes -8, so that all of a nibble is used.
fn q4_0(block: &[f32; 32]) -> [u8; 18] {
    let largest = block.iter().fold(0f32, |most, value| if value.abs() > most.abs() { *value } else { most });
    let scale = largest / -8.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    // Cut, not rounded, after adding a half: as the reference does.
    let nibble = |value: f32| ((value * inverse + 8.5) as u8).min(15);
    let mut bytes = [0; 18];
    bytes[..2].copy_from_slice(&f32_to_f16(scale).to_le_bytes());
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
    bytes[..2].copy_from_slice(&f32_to_f16(scale).to_le_bytes());
    for (byte, value) in bytes[2..].iter_mut().zip(block) {
        // `round` takes ties away from zero, as the reference does; the cast saturates.
        *byte = ((value * inverse).round() as i8).cast_unsigned();
    }
    bytes
}
