//! Layer norm with frozen gain and bias, fused with a preceding addition.

use bantam_kernels::{Isa, Loops};

use super::numbers::{fit, sum};

/// A layer norm with frozen gain and bias.
#[derive(Clone, Debug)]
pub struct Norm {
    gain: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f32,
}

/// What the backward pass needs.
#[derive(Clone, Debug, Default)]
pub struct NormSaved {
    /// The rows, normalised to mean 0 and variance 1.
    normal: Vec<f32>,
    /// Each row's scale factor.
    factors: Vec<f32>,
}

impl Norm {
    /// Returns a norm over rows as wide as `gain` and `bias`.
    ///
    /// # Panics
    /// If they are empty or differ in length.
    pub fn new(gain: Vec<f32>, bias: Vec<f32>, epsilon: f32) -> Self {
        assert!(!gain.is_empty() && gain.len() == bias.len(), "gain and bias have the same length");
        Self { gain, bias, epsilon }
    }

    /// Writes the norm of `x + addend` to `y`; an empty addend counts as zero.
    ///
    /// # Panics
    /// If the lengths do not match.
    pub fn forward(&self, x: &[f32], addend: &[f32], y: &mut [f32], saved: &mut NormSaved) {
        let width = self.gain.len();
        assert!(x.len() == y.len() && x.len().is_multiple_of(width) && [0, x.len()].contains(&addend.len()));
        let normal = fit(&mut saved.normal, x.len());
        let factors = fit(&mut saved.factors, x.len() / width);
        Isa::best().run(Forward { norm: self, x, addend, y, normal, factors });
    }

    /// Replaces the gradient of the outputs with that of `x`, which is also that of the addend.
    ///
    /// # Panics
    /// If `saved` has fewer rows.
    pub fn backward(&self, gradient: &mut [f32], saved: &NormSaved) {
        let width = self.gain.len();
        let normal = &saved.normal[..gradient.len()];
        let factors = &saved.factors[..gradient.len() / width];
        Isa::best().run(Back { gain: &self.gain, gradient, normal, factors });
    }
}

struct Forward<'f> {
    norm: &'f Norm,
    x: &'f [f32],
    addend: &'f [f32],
    y: &'f mut [f32],
    normal: &'f mut [f32],
    factors: &'f mut [f32],
}

impl Loops for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Norm { gain, bias, epsilon } = self.norm;
        let width = gain.len();
        let rows = self.y.chunks_exact_mut(width).zip(self.normal.chunks_exact_mut(width));
        for (index, ((y, normal), factor)) in rows.zip(self.factors).enumerate() {
            let x = &self.x[index * width..][..width];
            if self.addend.is_empty() {
                normal.copy_from_slice(x);
            } else {
                let addend = &self.addend[index * width..][..width];
                normal.iter_mut().zip(x).zip(addend).for_each(|((normal, x), addend)| *normal = x + addend);
            }
            let mean = sum(width, |column| normal[column]) / width as f32;
            normal.iter_mut().for_each(|number| *number -= mean);
            let variance = sum(width, |column| normal[column] * normal[column]) / width as f32;
            *factor = 1.0 / (variance + epsilon).sqrt();
            for (((y, normal), gain), bias) in y.iter_mut().zip(normal).zip(gain).zip(bias) {
                *normal *= *factor;
                *y = normal.mul_add(*gain, *bias);
            }
        }
    }
}

struct Back<'b> {
    gain: &'b [f32],
    gradient: &'b mut [f32],
    normal: &'b [f32],
    factors: &'b [f32],
}

impl Loops for Back<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let width = self.gain.len();
        let rows = self.gradient.chunks_exact_mut(width).zip(self.normal.chunks_exact(width));
        for ((gradient, normal), factor) in rows.zip(self.factors) {
            gradient.iter_mut().zip(self.gain).for_each(|(gradient, gain)| *gradient *= gain);
            let mean = sum(width, |column| gradient[column]) / width as f32;
            let along = sum(width, |column| gradient[column] * normal[column]) / width as f32;
            for (gradient, normal) in gradient.iter_mut().zip(normal) {
                *gradient = factor * (*gradient - mean - normal * along);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{check, numbers};

    fn norm(width: usize) -> Norm {
        Norm::new(numbers(width, 1), numbers(width, 2), 1e-5)
    }

    #[test]
    fn rows_are_normalised_then_scaled_and_shifted() {
        let norm = Norm::new(vec![2.0; 4], vec![1.0; 4], 0.0);
        let mut y = [0.0; 4];
        norm.forward(&[1.0, 2.0, 3.0, 4.0], &[1.0, 1.0, 1.0, 1.0], &mut y, &mut NormSaved::default());
        for (found, expected) in y.iter().zip([-1.683_281_6, 0.105_572_8, 1.894_427_2, 3.683_281_6]) {
            assert!((found - expected).abs() < 1e-5, "{y:?}");
        }
    }

    #[test]
    fn the_gradient_matches_finite_differences() {
        for width in [3, 18] {
            let norm = norm(width);
            check(&numbers(3 * width, 3), 1e-2, 5e-3, |x, weights| {
                let (mut y, mut saved) = (vec![0.0; x.len()], NormSaved::default());
                norm.forward(x, &numbers(x.len(), 4), &mut y, &mut saved);
                let mut gradient = weights[..x.len()].to_vec();
                norm.backward(&mut gradient, &saved);
                (y, gradient)
            });
        }
    }
}
