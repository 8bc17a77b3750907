//! 16-bit floats to 32 bits and back, rounding to nearest even, exact for every bit pattern.
//!
//! Written out because two short functions do not justify a dependency; hardware conversion belongs to the
//! kernels, which read most weights.

/// Returns the value of an IEEE 754 half.
#[inline]
pub fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7fff);
    if magnitude >= 0x7c00 {
        return f32::from_bits(sign | 0x7f80_0000 | ((magnitude & 0x3ff) << 13));
    }
    // Shifted into place, the exponent is 112 too small; a product with 2^112 repairs it, subnormals included.
    let scaled = f32::from_bits(magnitude << 13) * f32::from_bits(0x7780_0000);
    f32::from_bits(sign | scaled.to_bits())
}

/// Returns the value of a bfloat16.
#[inline]
pub fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// Returns the nearest half, ties to even; what is too large becomes infinite, a NaN stays one.
#[inline]
pub fn f32_to_f16(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = ((bits >> 16) & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    if magnitude > 0x7f80_0000 {
        return sign | 0x7e00 | ((magnitude >> 13) & 0x1ff) as u16;
    }
    if magnitude >= 0x4780_0000 {
        return sign | 0x7c00;
    }
    if magnitude < 0x3880_0000 {
        // Below 2^-14: adding 0.5 puts the last bit of a subnormal half at the last bit of the sum.
        let sum = f32::from_bits(magnitude) + 0.5;
        return sign | (sum.to_bits() - 0.5f32.to_bits()) as u16;
    }
    let rounded = magnitude - 0x3800_0000 + 0xfff + ((magnitude >> 13) & 1);
    sign | (rounded >> 13) as u16
}

/// Returns the nearest bfloat16, ties to even; a NaN stays one.
#[inline]
pub fn f32_to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return ((bits >> 16) | 0x40) as u16;
    }
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_has_the_value_of_its_definition_and_survives_a_round_trip() {
        for bits in 0..=u16::MAX {
            let (sign, exponent, fraction) =
                (bits >> 15, i32::from(bits >> 10 & 31), f64::from(bits & 0x3ff));
            let value = f16_to_f32(bits);
            if exponent == 31 {
                assert_eq!(value.is_nan(), fraction != 0.0);
                let quiet = if fraction == 0.0 { 0 } else { 0x200 };
                assert_eq!(f32_to_f16(value), bits | quiet);
                continue;
            }
            let magnitude = match exponent {
                0 => fraction / 1024.0 * 2f64.powi(-14),
                _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
            };
            assert_eq!(f64::from(value), if sign == 1 { -magnitude } else { magnitude }, "{bits:x}");
            assert_eq!(f32_to_f16(value), bits);
        }
    }

    #[test]
    fn rounds_halves_to_the_nearest_and_ties_to_even() {
        for bits in 0..0x7c00u16 {
            let (low, high) = (f16_to_f32(bits), f16_to_f32(bits + 1));
            let high = if high.is_infinite() { 65536.0 } else { high };
            let middle = (low + high) / 2.0;
            assert_eq!(f32_to_f16(middle), bits + (bits & 1), "{bits:x}");
            assert_eq!(f32_to_f16(middle.next_down()), bits, "{bits:x}");
            assert_eq!(f32_to_f16(-middle.next_up()), (bits + 1) | 0x8000, "{bits:x}");
        }
    }

    #[test]
    fn every_bfloat16_survives_and_ties_go_to_even() {
        for bits in 0..=u16::MAX {
            let value = bf16_to_f32(bits);
            assert_eq!(f32_to_bf16(value), if value.is_nan() { bits | 0x40 } else { bits });
        }
        assert_eq!(f32_to_bf16(f32::from_bits(0x3f80_8000)), 0x3f80);
        assert_eq!(f32_to_bf16(f32::from_bits(0x3f81_8000)), 0x3f82);
        assert_eq!(f32_to_bf16(f32::MAX), 0x7f80);
    }
}
