//! Gated linear units (<https://arxiv.org/abs/2002.05202>): `f(gate) · up`, with SiLU or GELU as `f`.

use std::marker::PhantomData;

use bantam_kernels::{Isa, Loops};

use super::activation::normal;
use super::exp;

/// The activation of a gate.
trait Gate {
    /// Returns the value and the derivative at `x`.
    fn value_and_slope(x: f32) -> (f32, f32);
}

struct Silu;

impl Gate for Silu {
    #[inline(always)]
    fn value_and_slope(x: f32) -> (f32, f32) {
        let share = 1.0 / (1.0 + exp(-x));
        (x * share, share * (1.0 + x * (1.0 - share)))
    }
}

struct Gelu;

impl Gate for Gelu {
    #[inline(always)]
    fn value_and_slope(x: f32) -> (f32, f32) {
        let (share, density) = normal(x);
        (x * share, x.mul_add(density, share))
    }
}

/// Writes `SiLU(gate) · up` for rows that hold `width` gates and then `width` ups.
///
/// # Panics
/// If the lengths do not match.
pub fn silu_gate(both: &[f32], width: usize, y: &mut [f32]) {
    forward::<Silu>(both, width, y);
}

/// Writes the gradient of gates and ups, given that of the output of [`silu_gate`].
///
/// # Panics
/// If the lengths do not match.
pub fn silu_gate_back(both: &[f32], width: usize, grad_product: &[f32], grad_both: &mut [f32]) {
    back::<Silu>(both, width, grad_product, grad_both);
}

/// Same as [`silu_gate`], with GELU.
///
/// # Panics
/// If the lengths do not match.
pub fn gelu_gate(both: &[f32], width: usize, y: &mut [f32]) {
    forward::<Gelu>(both, width, y);
}

/// Writes the gradient of gates and ups, given that of the output of [`gelu_gate`].
///
/// # Panics
/// If the lengths do not match.
pub fn gelu_gate_back(both: &[f32], width: usize, grad_product: &[f32], grad_both: &mut [f32]) {
    back::<Gelu>(both, width, grad_product, grad_both);
}

fn forward<G: Gate>(both: &[f32], width: usize, y: &mut [f32]) {
    struct Forward<'a, G>(&'a [f32], usize, &'a mut [f32], PhantomData<G>);
    impl<G: Gate> Loops for Forward<'_, G> {
        type Output = ();

        #[inline(always)]
        fn run(self) {
            for (both, y) in self.0.chunks_exact(2 * self.1).zip(self.2.chunks_exact_mut(self.1)) {
                let (gates, ups) = both.split_at(self.1);
                for ((gate, up), y) in gates.iter().zip(ups).zip(y) {
                    *y = G::value_and_slope(*gate).0 * up;
                }
            }
        }
    }
    assert!(width > 0 && both.len() == 2 * y.len() && y.len().is_multiple_of(width));
    Isa::best().run(Forward(both, width, y, PhantomData::<G>));
}

fn back<G: Gate>(both: &[f32], width: usize, grad_product: &[f32], grad_both: &mut [f32]) {
    struct Back<'a, G>(&'a [f32], usize, &'a [f32], &'a mut [f32], PhantomData<G>);
    impl<G: Gate> Loops for Back<'_, G> {
        type Output = ();

        #[inline(always)]
        fn run(self) {
            let width = self.1;
            let rows = self.0.chunks_exact(2 * width).zip(self.2.chunks_exact(width));
            for ((both, grad_row), into) in rows.zip(self.3.chunks_exact_mut(2 * width)) {
                let (gates, ups) = both.split_at(width);
                let (grad_gates, grad_ups) = into.split_at_mut(width);
                for ((((gate, up), grad), grad_gate), grad_up) in
                    gates.iter().zip(ups).zip(grad_row).zip(grad_gates).zip(grad_ups)
                {
                    let (value, slope) = G::value_and_slope(*gate);
                    *grad_up = grad * value;
                    *grad_gate = grad * up * slope;
                }
            }
        }
    }
    assert!(width > 0 && both.len() == 2 * grad_product.len() && both.len() == grad_both.len());
    Isa::best().run(Back(both, width, grad_product, grad_both, PhantomData::<G>));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{check, numbers};

    #[test]
    fn a_silu_gate_matches_torch() {
        let mut y = [0.0; 2];
        silu_gate(&[1.0, -2.0, 3.0, 0.5], 2, &mut y);
        // torch.nn.functional.silu(torch.tensor([1., -2.])) * torch.tensor([3., 0.5])
        assert!((y[0] - 2.193_175_8).abs() < 1e-6 && (y[1] + 0.119_202_93).abs() < 1e-6, "{y:?}");
    }

    #[test]
    fn a_gelu_gate_matches_torch() {
        let mut y = [0.0; 2];
        gelu_gate(&[1.0, -2.0, 3.0, 0.5], 2, &mut y);
        // torch.nn.functional.gelu(torch.tensor([1., -2.])) * torch.tensor([3., 0.5])
        assert!((y[0] - 2.524_034_3).abs() < 1e-6 && (y[1] + 0.022_750_13).abs() < 1e-6, "{y:?}");
    }

    #[test]
    fn the_gradient_matches_finite_differences() {
        type Gates = [(fn(&[f32], usize, &mut [f32]), fn(&[f32], usize, &[f32], &mut [f32])); 2];
        let gates: Gates = [(silu_gate, silu_gate_back), (gelu_gate, gelu_gate_back)];
        for (gate, back) in gates {
            check(&numbers(28, 1), 1e-2, 2e-3, |both, weights| {
                let (mut y, mut grad_both) = (vec![0.0; 14], vec![7.0; 28]);
                gate(both, 7, &mut y);
                back(both, 7, &weights[..14], &mut grad_both);
                (y, grad_both)
            });
        }
    }
}
