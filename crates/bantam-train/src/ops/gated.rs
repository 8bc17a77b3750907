//! A gate through SiLU (<https://arxiv.org/abs/2002.05202>): `silu(gate) · up`.

use bantam_kernels::{Isa, Loops};

use super::exp;

/// Writes the product for rows that hold `width` gates and then as many numbers that go through them.
///
/// # Panics
/// If the lengths do not fit.
pub fn silu_gate(both: &[f32], width: usize, y: &mut [f32]) {
    struct Forward<'a>(&'a [f32], usize, &'a mut [f32]);
    impl Loops for Forward<'_> {
        type Output = ();

        #[inline(always)]
        fn run(self) {
            for (both, y) in self.0.chunks_exact(2 * self.1).zip(self.2.chunks_exact_mut(self.1)) {
                let (gates, ups) = both.split_at(self.1);
                for ((gate, up), y) in gates.iter().zip(ups).zip(y) {
                    *y = gate / (1.0 + exp(-gate)) * up;
                }
            }
        }
    }
    assert!(width > 0 && both.len() == 2 * y.len() && y.len().is_multiple_of(width));
    Isa::best().run(Forward(both, width, y));
}

/// Writes the gradient of gates and ups, given that of the product.
///
/// # Panics
/// If the lengths do not fit.
pub fn silu_gate_back(both: &[f32], width: usize, of_product: &[f32], of_both: &mut [f32]) {
    struct Back<'a>(&'a [f32], usize, &'a [f32], &'a mut [f32]);
    impl Loops for Back<'_> {
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
                    let share = 1.0 / (1.0 + exp(-gate));
                    *of_up = of * gate * share;
                    *of_gate = of * up * share * (1.0 + gate * (1.0 - share));
                }
            }
        }
    }
    assert!(width > 0 && both.len() == 2 * of_product.len() && both.len() == of_both.len());
    Isa::best().run(Back(both, width, of_product, of_both));
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
    fn the_gradient_is_the_slope() {
        check(&numbers(28, 1), 1e-2, 2e-3, |both, weights| {
            let (mut y, mut of_both) = (vec![0.0; 14], vec![7.0; 28]);
            silu_gate(both, 7, &mut y);
            silu_gate_back(both, 7, &weights[..14], &mut of_both);
            (y, of_both)
        });
    }
}
