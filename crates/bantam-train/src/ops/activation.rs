//! Exact GELU, by the error function.

use bantam_kernels::{Isa, Loops};

use super::exp;

/// Returns the standard normal distribution function at x, within 2e-7, and its density at x.
///
/// Uses the complementary error function (Abramowitz and Stegun, 7.1.26).
#[inline(always)]
pub(super) fn normal(x: f32) -> (f32, f32) {
    const TERMS: [f32; 5] = [1.061_405_4, -1.453_152, 1.421_413_7, -0.284_496_75, 0.254_829_6];
    const DENSITY: f32 = 0.398_942_3;
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / z.mul_add(0.327_591_1, 1.0);
    let mut series = TERMS[0];
    for term in &TERMS[1..] {
        series = series.mul_add(t, *term);
    }
    let bell = exp(-z * z);
    let tail = 0.5 * series * t * bell;
    (if x < 0.0 { tail } else { 1.0 - tail }, DENSITY * bell)
}

/// Writes the GELU of every number in `x`.
///
/// # Panics
/// If the lengths differ.
pub fn gelu(x: &[f32], y: &mut [f32]) {
    struct Forward<'a>(&'a [f32], &'a mut [f32]);
    impl Loops for Forward<'_> {
        type Output = ();

        #[inline(always)]
        fn run(self) {
            for (x, y) in self.0.iter().zip(self.1) {
                *y = x * normal(*x).0;
            }
        }
    }
    assert_eq!(x.len(), y.len());
    Isa::best().run(Forward(x, y));
}

/// Replaces the gradient of GELU's outputs with that of its inputs `x`.
///
/// # Panics
/// If the lengths differ.
pub fn gelu_back(x: &[f32], gradient: &mut [f32]) {
    struct Back<'a>(&'a [f32], &'a mut [f32]);
    impl Loops for Back<'_> {
        type Output = ();

        #[inline(always)]
        fn run(self) {
            for (x, gradient) in self.0.iter().zip(self.1) {
                let (share, density) = normal(*x);
                *gradient *= x.mul_add(density, share);
            }
        }
    }
    assert_eq!(x.len(), gradient.len());
    Isa::best().run(Back(x, gradient));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{check, numbers};

    #[test]
    fn values_match_torch() {
        let mut y = [0.0; 4];
        gelu(&[-3.0, -0.5, 0.0, 2.0], &mut y);
        for (found, expected) in y.iter().zip([-0.004_049_7, -0.154_268_77, 0.0, 1.954_499_7]) {
            assert!((found - expected).abs() < 5e-7, "{y:?}");
        }
    }

    #[test]
    fn the_gradient_matches_finite_differences() {
        let x = numbers(37, 1);
        check(&x, 1e-2, 1e-3, |x, weights| {
            let mut y = vec![0.0; x.len()];
            gelu(x, &mut y);
            let mut gradient = weights[..x.len()].to_vec();
            gelu_back(x, &mut gradient);
            (y, gradient)
        });
    }
}
