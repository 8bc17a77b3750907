//! Arithmetic that vectorised loops over slices share.

use bantam_kernels::{Isa, Loops};

/// Number of partial sums, so that sums have a fixed order that suits every vector width.
pub(super) const LANES: usize = 16;

/// Returns e^x within about two units in the last place, clamped to e^-87 from below.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // ln 2 in two parts: the first has few bits, so its product with an integer is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const TERMS: [f32; 6] =
        [1.987_569_2e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    // Adding it leaves the rounded integer in the lowest bits.
    const ROUNDER: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUNDER;
    let power = shifted - ROUNDER;
    let rest = power.mul_add(-LN_2_LOW, power.mul_add(-LN_2_HIGH, x));
    let mut series = TERMS[0];
    for term in &TERMS[1..] {
        series = series.mul_add(rest, *term);
    }
    let series = (series * rest).mul_add(rest, rest + 1.0);
    series * f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000))
}

/// Returns the sum of `term` over the indices below `count`, in an order that depends only on `count`.
#[inline(always)]
pub(super) fn sum(count: usize, term: impl Fn(usize) -> f32) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let whole = count - count % LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum += term(start + lane);
        }
    }
    let mut rest = 0.0;
    for index in whole..count {
        rest += term(index);
    }
    sums.iter().sum::<f32>() + rest
}

/// Adds `from` to `into`, element by element.
pub(crate) fn add(into: &mut [f32], from: &[f32]) {
    struct Add<'a>(&'a mut [f32], &'a [f32]);
    impl Loops for Add<'_> {
        type Output = ();

        #[inline(always)]
        fn run(self) {
            self.0.iter_mut().zip(self.1).for_each(|(into, from)| *into += from);
        }
    }
    Isa::best().run(Add(into, from));
}

/// Returns the first `length` numbers, growing the vector if needed. Their content is unspecified.
pub(crate) fn fit(numbers: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if numbers.len() < length {
        numbers.resize(length, 0.0);
    }
    &mut numbers[..length]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_within_two_units_of_the_exact_one() {
        for step in -8600..8700 {
            let x = step as f32 / 100.0;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) - exact).abs() < 2.5e-7 * exact, "{x}");
        }
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(-1e9) < 1e-37 && exp(f32::NEG_INFINITY) < 1e-37);
    }

    #[test]
    fn sums_of_any_length_include_every_term() {
        for count in [0, 1, 15, 16, 17, 100] {
            assert_eq!(sum(count, |index| index as f32), (0..count).sum::<usize>() as f32);
        }
    }
}
