//! AdamW and gradient clipping.

use bantam_kernels::{Isa, Loops};

use crate::layout::{Layout, ParameterGroup};

/// Settings of the optimiser.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Decay rate of the gradients' running mean (β₁).
    pub beta_mean: f64,
    /// Decay rate of the squared gradients' running mean (β₂).
    pub beta_square: f64,
    /// Added to the divisor.
    pub epsilon: f64,
    /// Weight decay: per step, tensors lose this share of their value times the learning rate.
    pub decay: f64,
}

impl Default for AdamW {
    /// Torch's defaults, without weight decay.
    fn default() -> Self {
        Self { beta_mean: 0.9, beta_square: 0.999, epsilon: 1e-8, decay: 0.0 }
    }
}

/// The optimiser's state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moments {
    /// Running mean of the gradients.
    pub mean: Vec<f32>,
    /// Running mean of their squares.
    pub square: Vec<f32>,
}

impl Moments {
    /// Returns the moments before the first step.
    pub fn new(length: usize) -> Self {
        Self { mean: vec![0.0; length], square: vec![0.0; length] }
    }
}

/// The learning rates of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// For adapters.
    pub adapter: f64,
    /// For heads.
    pub head: f64,
}

impl AdamW {
    /// Takes step number `step`, from 1, with decoupled weight decay (<https://arxiv.org/abs/1711.05101>) and torch's
    /// order of operations.
    pub fn step(
        &self,
        layout: &Layout,
        (step, rates): (u64, Rates),
        parameters: &mut [f32],
        moments: &mut Moments,
        gradient: &[f32],
    ) {
        let isa = Isa::best();
        let power = step.min(1 << 30) as i32;
        let (first, second) = (1.0 - self.beta_mean.powi(power), (1.0 - self.beta_square.powi(power)).sqrt());
        for parameter in layout.parameters() {
            let rate = match parameter.group {
                ParameterGroup::Adapter => rates.adapter,
                ParameterGroup::Head => rates.head,
            };
            let range = parameter.range.clone();
            isa.run(Update {
                parameters: &mut parameters[range.clone()],
                mean: &mut moments.mean[range.clone()],
                square: &mut moments.square[range.clone()],
                gradient: &gradient[range],
                keep: if parameter.decays { (1.0 - rate * self.decay) as f32 } else { 1.0 },
                betas: [self.beta_mean as f32, self.beta_square as f32],
                stride: (rate / first) as f32,
                correction: second as f32,
                epsilon: self.epsilon as f32,
            });
        }
    }
}

struct Update<'u> {
    parameters: &'u mut [f32],
    mean: &'u mut [f32],
    square: &'u mut [f32],
    gradient: &'u [f32],
    keep: f32,
    betas: [f32; 2],
    stride: f32,
    correction: f32,
    epsilon: f32,
}

impl Loops for Update<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let [beta_mean, beta_square] = self.betas;
        let moments = self.mean.iter_mut().zip(self.square);
        for ((parameter, (mean, square)), gradient) in
            self.parameters.iter_mut().zip(moments).zip(self.gradient)
        {
            *mean += (gradient - *mean) * (1.0 - beta_mean);
            *square = *square * beta_square + gradient * gradient * (1.0 - beta_square);
            let divisor = square.sqrt() / self.correction + self.epsilon;
            *parameter = *parameter * self.keep - self.stride * (*mean / divisor);
        }
    }
}

/// Returns the Euclidean norm of a gradient, computed in f64 and in a fixed order.
pub fn norm(gradient: &[f32]) -> f64 {
    struct Squares<'s>(&'s [f32]);
    impl Loops for Squares<'_> {
        type Output = f64;

        #[inline(always)]
        fn run(self) -> f64 {
            let mut sums = [0.0_f64; 16];
            let (chunks, rest) = self.0.as_chunks::<16>();
            for chunk in chunks {
                sums.iter_mut()
                    .zip(chunk)
                    .for_each(|(sum, number)| *sum += f64::from(*number) * f64::from(*number));
            }
            sums.iter().sum::<f64>() + rest.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>()
        }
    }
    Isa::best().run(Squares(gradient)).sqrt()
}

/// Clips a gradient to the norm `norm_max`, as torch's `clip_grad_norm_` does, and returns its norm before clipping.
pub fn clip(gradient: &mut [f32], norm_max: f64) -> f64 {
    let length = norm(gradient);
    let factor = norm_max / (length + 1e-6);
    if factor < 1.0 {
        gradient.iter_mut().for_each(|number| *number *= factor as f32);
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_depends_on_the_learning_rate_and_not_on_the_gradient_s_size() {
        let mut layout = Layout::default();
        layout.add("a".into(), [1, 2], true, ParameterGroup::Adapter);
        layout.add("b".into(), [1, 2], false, ParameterGroup::Head);
        let (mut parameters, mut moments) = (vec![1.0; 4], Moments::new(4));
        let optimiser = AdamW { decay: 0.1, ..AdamW::default() };
        let rates = Rates { adapter: 0.5, head: 0.25 };
        optimiser.step(&layout, (1, rates), &mut parameters, &mut moments, &[1e-3, -5.0, 7.0, 0.0]);
        for (found, expected) in parameters.iter().zip([0.45, 1.45, 0.75, 1.0]) {
            assert!((found - expected).abs() < 1e-4, "{parameters:?}");
        }
    }

    #[test]
    fn gradients_are_clipped_only_above_the_limit() {
        let mut gradient = vec![3.0; 16 + 9];
        assert!((clip(&mut gradient, 1.0) - 15.0).abs() < 1e-9);
        assert!((norm(&gradient) - 1.0).abs() < 1e-6);
        let before = gradient.clone();
        clip(&mut gradient, 2.0);
        assert_eq!(gradient, before);
    }
}
