//! Gates (<https://arxiv.org/abs/2002.05202>): `f(gate) · up`, with SiLU or GELU as `f`.

use std::marker::PhantomData;

use bantam_kernels::{Isa, Loops};

use super::activation::normal;
use super::exp;

/// What a gate goes through.
trait Gate {
    /// Returns the value at `x` and the slope there.
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

/// Writes the product for rows that hold `width` gates and then as many numbers that go through them, by SiLU.
///
/// # Panics
/// If the lengths do not fit.
pub fn silu_gate(both: &[f32], width: usize, y: &mut [f32]) {
    forward::<Silu>(both, width, y);
}

/// Writes the gradient of gates and ups, given that of the product of [`silu_gate`].
///
/// # Panics
/// If the lengths do not fit.
pub fn silu_gate_back(both: &[f32], width: usize, of_product: &[f32], of_both: &mut [f32]) {
    back::<Silu>(both, width, of_product, of_both);
}

/// The same as [`silu_gate`] by GELU.
///
/// # Panics
/// If the lengths do not fit.
pub fn gelu_gate(both: &[f32], width: usize, y: &mut [f32]) {
    forward::<Gelu>(both, width, y);
}

/// Writes the gradient of gates and ups, given that of the product of [`gelu_gate`].
///
/// # Panics
/// If the lengths do not fit.
pub fn gelu_gate_back(both: &[f32], width: usize, of_product: &[f32], of_both: &mut [f32]) {
    back::<Gelu>(both, width, of_product, of_both);
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

fn back<G: Gate>(both: &[f32], width: usize, of_product: &[f32], of_both: &mut [f32]) {
    struct Back<'a, G>(&'a [f32], usize, &'a [f32], &'a mut [f32], PhantomData<G>);
    impl<G: Gate> Loops for Back<'_, G> {
        type Output = ();

        #[inline(always)]
        fn run(self) {
            let width = self.1;
            let rows = self.0.chunks_exact(2 * width).zip(self.2.chunks_exact(width));
            for ((both, of), into) in rows.zip(self.3.chunks_exact_mut(2 * width)) {
                let (gates, ups) = both.split_at(width);
                let (of_gates, of_ups) = into.split_at_mut(width);
                for ((((gate, up), of), of_gate), of_up) in
                    gates.iter().zip(ups).zip(of).zip(of_gates).zip(of_ups)
                {
                    let (value, slope) = G::value_and_slope(*gate);
                    *of_up = of * value;
                    *of_gate = of * up * slope;
                }
            }
        }
    }
    assert!(width > 0 && both.len() == 2 * of_product.len() && both.len() == of_both.len());
    Isa::best().run(Back(both, width, of_product, of_both, PhantomData::<G>));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{check, numbers};

    #[test]
    fn values_are_those_of_torch() {
        let mut y = [0.0; 2];
        silu_gate(&[1.0, -2.0, 3.0, 0.5], 2, &mut y);
        // torch.nn.functional.silu(torch.tensor([1., -2.])) * torch.tensor([3., 0.5])
        assert!((y[0] - 2.193_175_8).abs() < 1e-6 && (y[1] + 0.119_202_93).abs() < 1e-6, "{y:?}");
    }

    #[test]
    fn a_gate_through_gelu_is_torch_s() {
        let mut y = [0.0; 2];
        gelu_gate(&[1.0, -2.0, 3.0, 0.5], 2, &mut y);
        // torch.nn.functional.gelu(torch.tensor([1., -2.])) * torch.tensor([3., 0.5])
        assert!((y[0] - 2.524_034_3).abs() < 1e-6 && (y[1] + 0.022_750_13).abs() < 1e-6, "{y:?}");
    }

    #[test]
    fn the_gradient_is_the_slope() {
        type Gates = [(fn(&[f32], usize, &mut [f32]), fn(&[f32], usize, &[f32], &mut [f32])); 2];
        let gates: Gates = [(silu_gate, silu_gate_back), (gelu_gate, gelu_gate_back)];
        for (gate, back) in gates {
            check(&numbers(28, 1), 1e-2, 2e-3, |both, weights| {
                let (mut y, mut of_both) = (vec![0.0; 14], vec![7.0; 28]);
                gate(both, 7, &mut y);
                back(both, 7, &weights[..14], &mut of_both);
                (y, of_both)
            });
        }
    }
}
