//! The exponential and GELU for vectors.

use crate::simd::Simd;

/// Returns e^x for x <= 88, within about two units in the last place; denormal results become tiny normal numbers
/// instead.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    // ln 2 in two parts: the first has few bits, so that its product with an integer is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const TERMS: [f32; 6] =
        [1.987_569_2e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    let x = s.max(x, s.splat(-87.0));
    let power = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    let rest = s.mul_add(power, s.splat(-LN_2_HIGH), x);
    let rest = s.mul_add(power, s.splat(-LN_2_LOW), rest);
    let mut series = s.splat(TERMS[0]);
    for term in &TERMS[1..] {
        series = s.mul_add(series, rest, s.splat(*term));
    }
    let series = s.mul_add(s.mul(series, rest), rest, s.add(rest, s.splat(1.0)));
    s.mul(series, s.power_of_two(power))
}

/// Returns x / 2 * (1 + erf(x / sqrt 2)), the exact GELU used by BERT, within 4e-7.
///
/// Uses the complementary error function (Abramowitz and Stegun, 7.1.26): for large |x| it computes only the
/// difference from x or 0, so the error vanishes with it. A rational approximation does not have this property.
#[inline(always)]
pub(crate) fn gelu<S: Simd>(s: S, x: S::F) -> S::F {
    const TERMS: [f32; 5] = [1.061_405_4, -1.453_152, 1.421_413_7, -0.284_496_75, 0.254_829_6];
    let size = s.max(x, s.sub(s.splat(0.0), x));
    let z = s.mul(size, s.splat(std::f32::consts::FRAC_1_SQRT_2));
    let t = s.div(s.splat(1.0), s.mul_add(z, s.splat(0.327_591_1), s.splat(1.0)));
    let mut series = s.splat(TERMS[0]);
    for term in &TERMS[1..] {
        series = s.mul_add(series, t, s.splat(*term));
    }
    let tail = s.mul(s.mul(series, t), exp(s, s.mul(s.sub(s.splat(0.0), z), z)));
    s.sub(s.max(x, s.splat(0.0)), s.mul(s.mul(size, s.splat(0.5)), tail))
}
