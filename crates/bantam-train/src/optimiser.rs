//! AdamW and the clipping before it.

use bantam_kernels::{Isa, Loops};

use crate::layout::{Layout, Pace};

/// Settings of the optimiser.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// How much of the mean of gradients is kept at a step.
    pub beta_mean: f64,
    /// How much of the mean of their squares is kept.
    pub beta_square: f64,
    /// What is added to the divisor.
    pub epsilon: f64,
    /// Times the learning rate: the share that tensors which decay lose at a step.
    pub decay: f64,
}

impl Default for AdamW {
    /// As torch has it, without decay.
    fn default() -> Self {
        Self { beta_mean: 0.9, beta_square: 0.999, epsilon: 1e-8, decay: 0.0 }
    }
}

/// What the optimiser remembers of the gradients so far.
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

/// Learning rates of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Of adapters.
    pub adapter: f64,
    /// Of heads.
    pub head: f64,
}

impl AdamW {
    /// Takes step `step`, counted from 1, with the decoupled decay of Loshchilov and Hutter
    /// (<https://arxiv.org/abs/1711.05101>) in torch's order of operations.
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
            let rate = match parameter.pace {
                Pace::Adapter => rates.adapter,
                Pace::Head => rates.head,
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

/// Returns the length of a gradient, in 64 bits, summed in a fixed order.
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

/// Shortens a gradient to `longest` if it is longer, as torch's `clip_grad_norm_` does; returns its length before.
pub fn clip(gradient: &mut [f32], longest: f64) -> f64 {
    let length = norm(gradient);
    let factor = longest / (length + 1e-6);
    if factor < 1.0 {
        gradient.iter_mut().for_each(|number| *number *= factor as f32);
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_goes_by_the_rate_whatever_the_gradient_s_size() {
        let mut layout = Layout::default();
        layout.add("a".into(), [1, 2], true, Pace::Adapter);
        layout.add("b".into(), [1, 2], false, Pace::Head);
        let (mut parameters, mut moments) = (vec![1.0; 4], Moments::new(4));
        let optimiser = AdamW { decay: 0.1, ..AdamW::default() };
        let rates = Rates { adapter: 0.5, head: 0.25 };
        optimiser.step(&layout, (1, rates), &mut parameters, &mut moments, &[1e-3, -5.0, 7.0, 0.0]);
        for (found, expected) in parameters.iter().zip([0.45, 1.45, 0.75, 1.0]) {
            assert!((found - expected).abs() < 1e-4, "{parameters:?}");
        }
    }

    #[test]
    fn long_gradients_are_shortened_and_short_ones_are_not() {
        let mut gradient = vec![3.0; 16 + 9];
        assert!((clip(&mut gradient, 1.0) - 15.0).abs() < 1e-9);
        assert!((norm(&gradient) - 1.0).abs() < 1e-6);
        let before = gradient.clone();
        clip(&mut gradient, 2.0);
        assert_eq!(gradient, before);
    }
}
