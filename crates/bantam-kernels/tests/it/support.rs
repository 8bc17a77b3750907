//! Seeded random numbers and comparison helpers.

use bantam_kernels::{Isa, Pool};

/// A xorshift generator.
pub(crate) struct Seeded(u64);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Returns a number in `0..below`.
    pub(crate) fn below(&mut self, below: usize) -> usize {
        (self.next() >> 11) as usize % below
    }

    /// Returns a number in -1.0..1.0.
    pub(crate) fn number(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }

    pub(crate) fn numbers(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.number()).collect()
    }
}

/// Pools for every instruction set, with one thread and with more threads than cores.
pub(crate) fn pools() -> Vec<Pool> {
    Isa::available().into_iter().flat_map(|isa| [1, 3].map(|threads| Pool::with_isa(threads, isa))).collect()
}

/// Rows, inputs and outputs of products: tiny, odd, and around the sizes of tiles and panels.
pub(crate) fn shapes() -> Vec<(usize, usize, usize)> {
    let mut shapes =
        vec![(1, 1, 1), (1, 4, 16), (12, 384, 96), (13, 64, 33), (97, 7, 31), (5, 130, 17), (193, 36, 64)];
    let mut seeded = Seeded::new(7);
    shapes.extend((0..12).map(|_| (1 + seeded.below(40), 1 + seeded.below(90), 1 + seeded.below(80))));
    shapes
}

/// Asserts that values differ by at most `tolerance`.
#[track_caller]
pub(crate) fn assert_close(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = (f64::from(*found) - expected).abs();
        assert!(difference <= tolerance, "{what}: at {index} {found} is not {expected}");
    }
}

/// The error function in f64, from its series and its continued fraction.
pub(crate) fn erf(x: f64) -> f64 {
    if x.abs() < 2.5 {
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while term.abs() > 1e-17 {
            n += 1.0;
            term *= -x * x / n;
            sum += term / (2.0 * n + 1.0);
        }
        return sum * std::f64::consts::FRAC_2_SQRT_PI;
    }
    let mut fraction = x.abs();
    for k in (1..60).rev() {
        fraction = x.abs() + f64::from(k) / 2.0 / fraction;
    }
    let tail = (-x * x).exp() / fraction / std::f64::consts::PI.sqrt();
    x.signum() * (1.0 - tail)
}

pub(crate) fn gelu(x: f64) -> f64 {
    x / 2.0 * (1.0 + erf(x / std::f64::consts::SQRT_2))
}
