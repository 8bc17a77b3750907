//! Weights as model files have them, laid out for the products.

use super::{GROUP, Packing, SCALES};
use crate::grid::{PAIR, TILE};
use crate::half::{f16_to_f32, f32_to_f16};
use crate::pool::Pool;
use crate::shared::SharedSlice;

/// Bytes of a group of Q8_0: a half and 32 bytes.
const Q8_0: usize = 2 + GROUP;
/// Bytes of a group of Q4_0: a half and 16 bytes, inputs 0..16 in their lower halves and 16..32 in the upper.
const Q4_0: usize = 2 + GROUP / 2;

/// Weights to pack: a row of inputs for each output.
#[derive(Clone, Copy)]
pub enum Weights<'a> {
    /// Groups of Q8_0, a multiple of 32 inputs. [`Packing::Int8`] holds them exactly.
    Q8_0(&'a [u8]),
    /// Groups of Q4_0, a multiple of 32 inputs. Both packings hold them exactly.
    Q4_0(&'a [u8]),
    /// Any numbers: the function writes the row of an output. They are quantised as Q8_0 and Q4_0 are.
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

/// A group of one output: bytes as the packing has them, without the halves' places.
#[derive(Clone, Copy)]
struct Group {
    scale: u16,
    bytes: [u8; GROUP],
}

impl Weights<'_> {
    /// Lays weights out in `packed`, which has [`Packing::packed_bytes`].
    ///
    /// # Panics
    /// If the lengths do not fit, or groups meet inputs that are no whole groups.
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
            // SAFETY: every pair has bytes of its own.
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
                        Group { scale: 0, bytes: [empty; GROUP] }
                    };
                    place(packing, block, column, &group);
                }
            }
        });
    }

    /// Returns the group `at` of all, which is group `index` of its row `numbers`.
    fn group(&self, packing: Packing, at: usize, numbers: &[f32], index: usize) -> Group {
        let numbers = |index: usize| &numbers[index * GROUP..((index + 1) * GROUP).min(numbers.len())];
        match (self, packing) {
            (Self::Q8_0(bytes), Packing::Int8) => {
                let group = &bytes[at * Q8_0..(at + 1) * Q8_0];
                let mut found = Group { scale: half(group), bytes: [0; GROUP] };
                for (byte, from) in found.bytes.iter_mut().zip(&group[2..]) {
                    *byte = from ^ 0x80;
                }
                found
            }
            (Self::Q8_0(bytes), Packing::Int4) => {
                let group = &bytes[at * Q8_0..(at + 1) * Q8_0];
                let scale = f16_to_f32(half(group));
                let mut values = [0.0; GROUP];
                for (value, from) in values.iter_mut().zip(&group[2..]) {
                    *value = scale * f32::from(from.cast_signed());
                }
                quantise(packing, &values)
            }
            (Self::Q4_0(bytes), packing) => {
                let group = &bytes[at * Q4_0..(at + 1) * Q4_0];
                let offset = if packing == Packing::Int8 { 120 } else { 0 };
                let mut found = Group { scale: half(group), bytes: [0; GROUP] };
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
    assert!(inputs.is_multiple_of(GROUP), "{inputs} inputs are no whole groups");
    assert_eq!(Some(found), outputs.checked_mul(inputs / GROUP * group), "a row for each output");
}

fn half(bytes: &[u8]) -> u16 {
    u16::from_le_bytes([bytes[0], bytes[1]])
}

/// Quantises at most 32 numbers, the rest being zeros, as the reference (ggml) does Q8_0 and Q4_0.
fn quantise(packing: Packing, numbers: &[f32]) -> Group {
    let largest =
        numbers.iter().fold(0.0_f32, |most, number| if number.abs() > most.abs() { *number } else { most });
    let (scale, offset, most) = match packing {
        Packing::Int8 => (largest.abs() / 127.0, 128.0, 255.0),
        // The largest becomes -8, which has no positive counterpart.
        Packing::Int4 => (largest / -8.0, 8.0, 15.0),
    };
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let mut group = Group { scale: f32_to_f16(scale), bytes: [offset as u8; GROUP] };
    for (byte, number) in group.bytes.iter_mut().zip(numbers) {
        let value = number * inverse;
        *byte = match packing {
            Packing::Int8 => round_away(value).saturating_add(128).clamp(1, 255) as u8,
            Packing::Int4 => (value + offset + 0.5).clamp(0.0, most) as u8,
        };
    }
    group
}

/// Rounds to the nearest integer, ties away from zero; the sum in f64 is exact. Without SSE4.1, `f32::round` is a
/// call of the C library.
fn round_away(value: f32) -> i32 {
    (f64::from(value) + 0.5_f64.copysign(f64::from(value))) as i32
}

/// Puts a group of the output `column` of a pair into its block.
fn place(packing: Packing, block: &mut [u8], column: usize, group: &Group) {
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
    fn numbers_are_quantised_as_the_reference_does() {
        for value in [0.0, 0.499_999_97, 0.5, -0.5, 1.5, -2.5, 126.5, -126.499_99, 8_388_607.5] {
            assert_eq!(round_away(value), value.round() as i32, "{value}");
        }
        let numbers = [-4.0, 4.0, 0.5, 0.2, -3.8, 0.0];
        let group = quantise(Packing::Int4, &numbers);
        assert_eq!(f16_to_f32(group.scale), 0.5, "the largest becomes -8");
        assert_eq!(group.bytes[..7], [0, 15, 9, 8, 0, 8, 8]);
        let group = quantise(Packing::Int8, &[-2.0, 1.0, 0.0]);
        assert_eq!(group.bytes[..4], [1, 192, 128, 128]);
        assert_eq!(quantise(Packing::Int8, &[f32::NAN; 3]).bytes, [128; GROUP], "nothing panics");
    }
}
