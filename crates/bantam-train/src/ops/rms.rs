//! RMS norm (<https://arxiv.org/abs/1910.07467>).

use std::ops::Range;

use bantam_kernels::{Isa, Loops};

use super::numbers::{fit, sum};

/// A norm's gain.
#[derive(Clone, Debug)]
pub enum Gain {
    /// Frozen.
    Frozen(Vec<f32>),
    /// Trained, in this range of the parameters.
    Trained(Range<usize>),
}

/// Divides rows by their root mean square.
#[derive(Clone, Debug)]
pub struct RmsNorm {
    /// One factor per number of a run; at least one.
    pub gain: Gain,
    /// Added to the mean square.
    pub epsilon: f32,
}

/// Which parts of each row are normalised: consecutive runs, each as long as the gain.
#[derive(Clone, Copy, Debug)]
pub struct Runs {
    /// Row width.
    pub step: usize,
    /// Start of the first run in a row.
    pub first: usize,
    /// Number of runs in a row, each normalised separately.
    pub count: usize,
}

impl Runs {
    /// Returns runs that cover whole rows of `width` numbers.
    pub fn rows(width: usize) -> Self {
        Self { step: width, first: 0, count: 1 }
    }

    fn end(self, width: usize) -> usize {
        self.first + self.count * width
    }
}

impl RmsNorm {
    fn gain<'g>(&'g self, parameters: &'g [f32]) -> &'g [f32] {
        match &self.gain {
            Gain::Frozen(gain) => gain,
            Gain::Trained(range) => &parameters[range.clone()],
        }
    }

    /// Writes the norm of the runs of `x` to `y` and leaves the rest of `y` alone. `factors` keeps what the backward
    /// pass needs, one number per run.
    ///
    /// # Panics
    /// If the lengths do not match.
    pub fn forward(&self, parameters: &[f32], x: &[f32], y: &mut [f32], runs: Runs, factors: &mut Vec<f32>) {
        let gain = self.gain(parameters);
        assert!(x.len() == y.len() && x.len().is_multiple_of(runs.step) && runs.end(gain.len()) <= runs.step);
        let factors = fit(factors, x.len() / runs.step * runs.count);
        Isa::best().run(Forward { gain, epsilon: self.epsilon, x, y, runs, factors });
    }

    /// Replaces the gradient of the outputs with that of `x`, and adds that of the gain if it is trained. The other
    /// arguments are those of [`Self::forward`].
    ///
    /// # Panics
    /// If the lengths do not match.
    pub fn backward(
        &self,
        parameters: &[f32],
        x: &[f32],
        grad_rows: &mut [f32],
        runs: Runs,
        factors: &[f32],
        gradient: &mut [f32],
    ) {
        let gain = self.gain(parameters);
        assert!(x.len() == grad_rows.len() && x.len().is_multiple_of(runs.step));
        let factors = &factors[..x.len() / runs.step * runs.count];
        let grad_gain = match &self.gain {
            Gain::Frozen(_) => &mut [],
            Gain::Trained(range) => &mut gradient[range.clone()],
        };
        Isa::best().run(Back { gain, x, grad_rows, runs, factors, grad_gain });
    }
}

struct Forward<'f> {
    gain: &'f [f32],
    epsilon: f32,
    x: &'f [f32],
    y: &'f mut [f32],
    runs: Runs,
    factors: &'f mut [f32],
}

impl Loops for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (width, Runs { step, first, count }) = (self.gain.len(), self.runs);
        let end = self.runs.end(width);
        let rows = self.x.chunks_exact(step).zip(self.y.chunks_exact_mut(step));
        for ((x, y), factors) in rows.zip(self.factors.chunks_exact_mut(count)) {
            let (x, y) = (&x[first..end], &mut y[first..end]);
            let runs = x.chunks_exact(width).zip(y.chunks_exact_mut(width));
            for ((x, y), factor) in runs.zip(factors) {
                let square = sum(width, |column| x[column] * x[column]) / width as f32;
                *factor = 1.0 / (square + self.epsilon).sqrt();
                y.iter_mut().zip(x).zip(self.gain).for_each(|((y, x), gain)| *y = x * *factor * gain);
            }
        }
    }
}

struct Back<'b> {
    gain: &'b [f32],
    x: &'b [f32],
    grad_rows: &'b mut [f32],
    runs: Runs,
    factors: &'b [f32],
    grad_gain: &'b mut [f32],
}

impl Loops for Back<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (width, Runs { step, first, count }) = (self.gain.len(), self.runs);
        let end = self.runs.end(width);
        let rows = self.x.chunks_exact(step).zip(self.grad_rows.chunks_exact_mut(step));
        for ((x, grad_row), factors) in rows.zip(self.factors.chunks_exact(count)) {
            let (x, grad_row) = (&x[first..end], &mut grad_row[first..end]);
            let runs = x.chunks_exact(width).zip(grad_row.chunks_exact_mut(width));
            for ((x, grad_run), factor) in runs.zip(factors) {
                for ((grad_gain, x), grad) in self.grad_gain.iter_mut().zip(x).zip(grad_run.iter()) {
                    *grad_gain += x * factor * grad;
                }
                grad_run.iter_mut().zip(self.gain).for_each(|(grad, gain)| *grad *= gain);
                let along = sum(width, |column| grad_run[column] * x[column]);
                let pull = along * factor * factor / width as f32;
                grad_run.iter_mut().zip(x).for_each(|(grad, x)| *grad = factor * (*grad - x * pull));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::{check, numbers};

    #[test]
    fn rows_are_divided_by_their_root_mean_square() {
        let norm = RmsNorm { gain: Gain::Frozen(vec![1.0, 2.0]), epsilon: 0.0 };
        let mut y = [0.0; 2];
        norm.forward(&[], &[3.0, 4.0], &mut y, Runs::rows(2), &mut Vec::new());
        assert!((y[0] - 3.0 / 12.5_f32.sqrt()).abs() < 1e-6 && (y[1] - 8.0 / 12.5_f32.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn gradients_of_rows_and_gain_match_finite_differences() {
        let within = Runs { step: 9, first: 2, count: 2 };
        for (width, runs) in [(5, Runs::rows(5)), (18, Runs::rows(18)), (3, within)] {
            let step = runs.step;
            let norm = RmsNorm { gain: Gain::Trained(0..width), epsilon: 1e-5 };
            check(&numbers(3 * step + width, 3), 1e-2, 5e-3, |both, weights| {
                let (x, gain) = both.split_at(3 * step);
                let (mut y, mut factors) = (vec![0.0; x.len()], Vec::new());
                norm.forward(gain, x, &mut y, runs, &mut factors);
                let mut grad_x = weights[..x.len()].to_vec();
                let mut grad_gain = vec![0.0; width];
                norm.backward(gain, x, &mut grad_x, runs, &factors, &mut grad_gain);
                for row in grad_x.chunks_exact_mut(step) {
                    // Numbers outside the runs are not written, and neither is their gradient.
                    row[..runs.first].fill(0.0);
                    row[runs.end(width)..].fill(0.0);
                }
                (y, [grad_x, grad_gain].concat())
            });
        }
    }
}
