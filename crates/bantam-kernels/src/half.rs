//! Half-precision numbers without the instructions for them.
//!
//! `bantam-weights` has the same two functions: files and kernels know nothing of each other, and two functions are
//! less than an edge between them.

/// Returns the value of an IEEE 754 half.
#[inline]
pub(crate) fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7fff);
    if magnitude >= 0x7c00 {
        return f32::from_bits(sign | 0x7f80_0000 | ((magnitude & 0x3ff) << 13));
    }
    // Shifted into place, the exponent is 112 too small; a product with 2^112 repairs it, subnormals included.
    let scaled = f32::from_bits(magnitude << 13) * f32::from_bits(0x7780_0000);
    f32::from_bits(sign | scaled.to_bits())
}

/// Returns the nearest half, ties to even; what is too large becomes infinite, a NaN stays one.
#[inline]
pub(crate) fn f32_to_f16(value: f32) -> u16 {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_survives_a_round_trip_and_neighbours_are_rounded_to_even() {
        for bits in 0..0x7c00_u16 {
            let value = f16_to_f32(bits);
            assert_eq!(f32_to_f16(value), bits);
            assert_eq!(f32_to_f16(-value), bits | 0x8000);
            let next = f16_to_f32(bits + 1);
            let middle = value + (if next.is_infinite() { 65536.0 } else { next } - value) / 2.0;
            assert_eq!(f32_to_f16(middle), bits + (bits & 1), "{bits:x}");
        }
        assert!(f16_to_f32(f32_to_f16(f32::NAN)).is_nan());
        assert_eq!(f16_to_f32(0x3c00), 1.0);
        assert_eq!(f16_to_f32(0x0001), 2.0_f32.powi(-24));
    }
}
