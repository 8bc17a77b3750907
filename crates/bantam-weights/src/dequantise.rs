//! Converts every floating-point or quantised type to `f32`, with the operations in the order of the reference
//! (ggml), so that equal files give equal bits.
//!
//! Plain loops over blocks: the reference that kernels are tested against, and fast enough to load a small model.

use half::{bf16, f16};

use crate::dtype::Dtype;

/// Why a tensor cannot be converted to `f32`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DequantiseError {
    /// Integers and doubles are refused instead of silently rounded.
    #[error("tensors of type {dtype} cannot be converted to f32")]
    NotFloat {
        /// The type.
        dtype: Dtype,
    },
}

/// Returns the values of a tensor; the bytes are whole blocks.
pub(crate) fn to_f32(dtype: Dtype, bytes: &[u8]) -> Result<Vec<f32>, DequantiseError> {
    let mut values = vec![0f32; bytes.len() / dtype.block_bytes() * dtype.block_len()];
    write_f32(dtype, bytes, &mut values)?;
    Ok(values)
}

/// Writes the values of whole blocks, as many as fit.
pub(crate) fn write_f32(dtype: Dtype, bytes: &[u8], values: &mut [f32]) -> Result<(), DequantiseError> {
    match dtype {
        Dtype::F32 => blocks(bytes, values, |block: &[u8; 4], out: &mut [f32; 1]| {
            out[0] = f32::from_le_bytes(*block);
        }),
        Dtype::F16 => blocks(bytes, values, |block, out: &mut [f32; 1]| {
            out[0] = f16::from_le_bytes(*block).to_f32();
        }),
        Dtype::BF16 => blocks(bytes, values, |block, out: &mut [f32; 1]| {
            out[0] = bf16::from_le_bytes(*block).to_f32();
        }),
        Dtype::Q8_0 => blocks(bytes, values, q8_0),
        Dtype::Q4_0 => blocks(bytes, values, q4_0),
        Dtype::Q4_1 => blocks(bytes, values, q4_1),
        Dtype::Q5_0 => blocks(bytes, values, q5_0),
        Dtype::Q5_1 => blocks(bytes, values, q5_1),
        Dtype::Q4K => blocks(bytes, values, q4_k),
        Dtype::Q5K => blocks(bytes, values, q5_k),
        Dtype::Q6K => blocks(bytes, values, q6_k),
        Dtype::F64
        | Dtype::I8
        | Dtype::I16
        | Dtype::I32
        | Dtype::I64
        | Dtype::U8
        | Dtype::U16
        | Dtype::U32
        | Dtype::U64
        | Dtype::Bool => return Err(DequantiseError::NotFloat { dtype }),
    }
    Ok(())
}

/// Converts blocks of `BYTES` bytes to blocks of `LEN` values. Both are constants, so indices need no checks.
fn blocks<const BYTES: usize, const LEN: usize>(
    bytes: &[u8],
    values: &mut [f32],
    one: impl Fn(&[u8; BYTES], &mut [f32; LEN]),
) {
    let (blocks, _) = bytes.as_chunks::<BYTES>();
    let (out, _) = values.as_chunks_mut::<LEN>();
    for (block, out) in blocks.iter().zip(out) {
        one(block, out);
    }
}

fn f16_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let scale = f16_at(block, 0);
    for (out, &byte) in out.iter_mut().zip(&block[2..]) {
        *out = f32::from(byte.cast_signed()) * scale;
    }
}

fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let scale = f16_at(block, 0);
    for index in 0..16 {
        let byte = block[2 + index];
        out[index] = f32::from((byte & 15).cast_signed() - 8) * scale;
        out[index + 16] = f32::from((byte >> 4).cast_signed() - 8) * scale;
    }
}

fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (scale, minimum) = (f16_at(block, 0), f16_at(block, 2));
    for index in 0..16 {
        let byte = block[4 + index];
        out[index] = f32::from(byte & 15) * scale + minimum;
        out[index + 16] = f32::from(byte >> 4) * scale + minimum;
    }
}

/// Returns the fifth bit of value `index` as 16 or 0.
fn fifth_bit(high: [u8; 4], index: usize) -> u8 {
    ((u32::from_le_bytes(high) >> index) as u8 & 1) << 4
}

fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let scale = f16_at(block, 0);
    let high = [block[2], block[3], block[4], block[5]];
    for index in 0..16 {
        let byte = block[6 + index];
        let low = (byte & 15) | fifth_bit(high, index);
        let upper = (byte >> 4) | fifth_bit(high, index + 16);
        out[index] = f32::from(low.cast_signed() - 16) * scale;
        out[index + 16] = f32::from(upper.cast_signed() - 16) * scale;
    }
}

fn q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let (scale, minimum) = (f16_at(block, 0), f16_at(block, 2));
    let high = [block[4], block[5], block[6], block[7]];
    for index in 0..16 {
        let byte = block[8 + index];
        out[index] = f32::from((byte & 15) | fifth_bit(high, index)) * scale + minimum;
        out[index + 16] = f32::from((byte >> 4) | fifth_bit(high, index + 16)) * scale + minimum;
    }
}

/// Returns the scale and minimum of one of the eight groups of a K block: six bits each, packed in twelve bytes.
fn k_scales(packed: &[u8], group: usize) -> (f32, f32) {
    let (scale, minimum) = if group < 4 {
        (packed[group] & 63, packed[group + 4] & 63)
    } else {
        let low = packed[group + 4];
        ((low & 15) | ((packed[group - 4] >> 6) << 4), (low >> 4) | ((packed[group] >> 6) << 4))
    };
    (f32::from(scale), f32::from(minimum))
}

fn q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    let (scale, minimum) = (f16_at(block, 0), f16_at(block, 2));
    for group in 0..8 {
        let (group_scale, group_minimum) = k_scales(&block[4..16], group);
        let (factor, offset) = (scale * group_scale, minimum * group_minimum);
        for index in 0..32 {
            let byte = block[16 + group / 2 * 32 + index];
            let number = (byte >> (group % 2 * 4)) & 15;
            out[group * 32 + index] = factor * f32::from(number) - offset;
        }
    }
}

fn q5_k(block: &[u8; 176], out: &mut [f32; 256]) {
    let (scale, minimum) = (f16_at(block, 0), f16_at(block, 2));
    for group in 0..8 {
        let (group_scale, group_minimum) = k_scales(&block[4..16], group);
        let (factor, offset) = (scale * group_scale, minimum * group_minimum);
        for index in 0..32 {
            let low = (block[48 + group / 2 * 32 + index] >> (group % 2 * 4)) & 15;
            let high = (block[16 + index] >> group) & 1;
            out[group * 32 + index] = factor * f32::from(low | (high << 4)) - offset;
        }
    }
}

fn q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let scale = f16_at(block, 208);
    for index in 0..256 {
        // Two halves of 128 values, each in four runs of 32: first the low nibbles of 32 bytes, then of the next 32,
        // then the high nibbles of both.
        let (half, run, offset) = (index / 128, index % 128 / 32, index % 32);
        let low = block[half * 64 + run % 2 * 32 + offset] >> (run / 2 * 4) & 15;
        let high = block[128 + half * 32 + offset] >> (run * 2) & 3;
        let factor = scale * f32::from(block[192 + index / 16].cast_signed());
        out[index] = factor * f32::from((low | (high << 4)).cast_signed() - 32);
    }
}
