//! Repacks the weights of model files for the products.

use half::f16;

use super::{GROUP, Packing, SCALES};
use crate::grid::{PAIR, TILE};
use crate::pool::Pool;
use crate::shared::SharedSlice;

/// Bytes of a Q8_0 group: an f16 and 32 bytes.
const Q8_0: usize = 2 + GROUP;
/// Bytes of a Q4_0 group: an f16 and 16 bytes, with inputs 0..16 in the low nibbles and 16..32 in the high ones.
const Q4_0: usize = 2 + GROUP / 2;

/// Weights to pack: one row of inputs per output.
#[derive(Clone, Copy)]
pub enum Weights<'a> {
    /// Groups of Q8_0; the inputs are a multiple of 32. [`Packing::Int8`] holds them exactly.
    Q8_0(&'a [u8]),
    /// Groups of Q4_0; the inputs are a multiple of 32. Both packings hold them exactly.
    Q4_0(&'a [u8]),
    /// Unquantised weights: the function writes the row of an output. They are quantised like Q8_0 and Q4_0.
    Numbers(&'a (dyn Fn(usize, &mut [f32]) + Sync)),
}

impl std::fmt::Debug for Weights<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Q8_0(_) => "Q8_0",
            Self::Q4_0(_) => "Q4_0",
            Self::Numbers(_) => "Numbers",
        })
    }
}

/// A group of one output: one byte per weight, offset as in the packing.
#[derive(Clone, Copy)]
struct Group {
    scale: f16,
    bytes: [u8; GROUP],
}

impl Weights<'_> {
    /// Packs the weights into `packed`, which has [`Packing::packed_bytes`].
    ///
    /// # Panics
    /// If the lengths do not match, or the inputs of grouped weights are not a multiple of 32.
    pub fn pack(&self, pool: &Pool, outputs: usize, inputs: usize, packing: Packing, packed: &mut [u8]) {
        assert_eq!(Some(packed.len()), packing.packed_bytes(outputs, inputs));
        let groups = inputs.div_ceil(GROUP);
        match self {
            Self::Q8_0(bytes) => check_groups(bytes.len(), outputs, inputs, Q8_0),
            Self::Q4_0(bytes) => check_groups(bytes.len(), outputs, inputs, Q4_0),
            Self::Numbers(_) => {}
        }
        let per_pair = groups * packing.block();
        let shared = SharedSlice::new(packed);
        pool.run(outputs.div_ceil(PAIR), |_, pair| {
            // SAFETY: every pair has its own bytes.
            let packed = unsafe { shared.part(pair * per_pair..(pair + 1) * per_pair) };
            let mut numbers = vec![0.0; inputs];
            let empty = match packing {
                Packing::Int8 => 128,
                Packing::Int4 => 8,
            };
            for column in 0..PAIR {
                let output = pair * PAIR + column;
                if let (Self::Numbers(row), true) = (self, output < outputs) {
                    row(output, &mut numbers);
                }
                for (index, block) in packed.chunks_exact_mut(packing.block()).enumerate() {
                    let group = if output < outputs {
                        self.group(packing, output * groups + index, &numbers, index)
                    } else {
                        Group { scale: f16::ZERO, bytes: [empty; GROUP] }
                    };
                    write_group(packing, block, column, &group);
                }
            }
        });
    }

    /// Returns group `at` of all groups, which is group `index` of the row `numbers`.
    fn group(&self, packing: Packing, at: usize, numbers: &[f32], index: usize) -> Group {
        let numbers = |index: usize| &numbers[index * GROUP..((index + 1) * GROUP).min(numbers.len())];
        match (self, packing) {
            (Self::Q8_0(bytes), Packing::Int8) => {
                let group = &bytes[at * Q8_0..(at + 1) * Q8_0];
                let mut found = Group { scale: read_f16(group), bytes: [0; GROUP] };
                for (byte, from) in found.bytes.iter_mut().zip(&group[2..]) {
                    *byte = from ^ 0x80;
                }
                found
            }
            (Self::Q8_0(bytes), Packing::Int4) => {
                let group = &bytes[at * Q8_0..(at + 1) * Q8_0];
                let scale = read_f16(group).to_f32();
                let mut values = [0.0; GROUP];
                for (value, from) in values.iter_mut().zip(&group[2..]) {
                    *value = scale * f32::from(from.cast_signed());
                }
                quantise(packing, &values)
            }
            (Self::Q4_0(bytes), packing) => {
                let group = &bytes[at * Q4_0..(at + 1) * Q4_0];
                let offset = if packing == Packing::Int8 { 120 } else { 0 };
                let mut found = Group { scale: read_f16(group), bytes: [0; GROUP] };
                for (input, from) in group[2..].iter().enumerate() {
                    found.bytes[input] = (from & 15) + offset;
                    found.bytes[input + GROUP / 2] = (from >> 4) + offset;
                }
                found
            }
            (Self::Numbers(_), packing) => quantise(packing, numbers(index)),
        }
    }
}

fn check_groups(found: usize, outputs: usize, inputs: usize, group: usize) {
    assert!(inputs.is_multiple_of(GROUP), "{inputs} inputs are not whole groups");
    assert_eq!(Some(found), outputs.checked_mul(inputs / GROUP * group), "weights do not match the outputs");
}

fn read_f16(bytes: &[u8]) -> f16 {
    f16::from_le_bytes([bytes[0], bytes[1]])
}

/// Quantises up to 32 weights like ggml's Q8_0 and Q4_0, padded with zeros.
fn quantise(packing: Packing, numbers: &[f32]) -> Group {
    let largest =
        numbers.iter().fold(0.0_f32, |most, number| if number.abs() > most.abs() { *number } else { most });
    let (scale, offset, most) = match packing {
        Packing::Int8 => (largest.abs() / 127.0, 128.0, 255.0),
        // The weight with the largest magnitude becomes -8, which has no positive counterpart.
        Packing::Int4 => (largest / -8.0, 8.0, 15.0),
    };
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let mut group = Group { scale: f16::from_f32(scale), bytes: [offset as u8; GROUP] };
    for (byte, number) in group.bytes.iter_mut().zip(numbers) {
        let value = number * inverse;
        *byte = match packing {
            Packing::Int8 => round_away(value).saturating_add(128).clamp(1, 255) as u8,
            Packing::Int4 => (value + offset + 0.5).clamp(0.0, most) as u8,
        };
    }
    group
}

/// Rounds to the nearest integer, ties away from zero; the sum in f64 is exact. Without SSE4.1, `f32::round` would
/// call the C library.
fn round_away(value: f32) -> i32 {
    (f64::from(value) + 0.5_f64.copysign(f64::from(value))) as i32
}

/// Writes a group of output `column` of a pair into its block.
fn write_group(packing: Packing, block: &mut [u8], column: usize, group: &Group) {
    let (scales, bytes) = block.split_at_mut(SCALES);
    scales[2 * column..2 * column + 2].copy_from_slice(&group.scale.to_le_bytes());
    let (tile, column) = (column / TILE, column % TILE);
    for (four, from) in group.bytes.chunks_exact(4).enumerate() {
        match packing {
            Packing::Int8 => {
                let to = (2 * four + tile) * 4 * TILE + 4 * column;
                bytes[to..to + 4].copy_from_slice(from);
            }
            Packing::Int4 => {
                let to = &mut bytes[four * 4 * TILE + 4 * column..][..4];
                for (to, from) in to.iter_mut().zip(from) {
                    *to = if tile == 0 { *to & 0xf0 | from } else { *to & 0x0f | from << 4 };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_quantised_like_ggml() {
        for value in [0.0, 0.499_999_97, 0.5, -0.5, 1.5, -2.5, 126.5, -126.499_99, 8_388_607.5] {
            assert_eq!(round_away(value), value.round() as i32, "{value}");
        }
        let numbers = [-4.0, 4.0, 0.5, 0.2, -3.8, 0.0];
        let group = quantise(Packing::Int4, &numbers);
        assert_eq!(group.scale.to_f32(), 0.5, "the largest weight becomes -8");
        assert_eq!(group.bytes[..7], [0, 15, 9, 8, 0, 8, 8]);
        let group = quantise(Packing::Int8, &[-2.0, 1.0, 0.0]);
        assert_eq!(group.bytes[..4], [1, 192, 128, 128]);
        assert_eq!(quantise(Packing::Int8, &[f32::NAN; 3]).bytes, [128; GROUP], "NaN does not panic");
    }
}
