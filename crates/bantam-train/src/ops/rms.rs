//! Norm by the root of the mean of squares (<https://arxiv.org/abs/1910.07467>).

use std::ops::Range;

use bantam_kernels::{Isa, Loops};

use super::numbers::{fit, sum};

/// The factors of a norm's outputs.
#[derive(Clone, Debug)]
pub enum Gain {
    /// They are not trained.
    Frozen(Vec<f32>),
    /// They are, and lie there among the parameters.
    Trained(Range<usize>),
}

/// A norm that divides rows by the root of their mean square.
#[derive(Clone, Debug)]
pub struct RmsNorm {
    /// As many factors as a row has numbers; at least one.
    pub gain: Gain,
    /// What is added to the mean of squares.
    pub epsilon: f32,
}

/// Which numbers of rows are normalised: runs as long as the gain, side by side.
#[derive(Clone, Copy, Debug)]
pub struct Runs {
    /// Rows begin so many numbers apart.
    pub step: usize,
    /// Where in a row the first run begins.
    pub first: usize,
    /// Runs in a row, each normalised on its own.
    pub count: usize,
}

impl Runs {
    /// Whole rows of `width` numbers.
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

    /// Writes the norm of the runs of `x` to `y`; what is in no run is not written. `factors` keeps what the way back
    /// needs, a number for each run.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn forward(&self, parameters: &[f32], x: &[f32], y: &mut [f32], runs: Runs, factors: &mut Vec<f32>) {
        let gain = self.gain(parameters);
        assert!(x.len() == y.len() && x.len().is_multiple_of(runs.step) && runs.end(gain.len()) <= runs.step);
        let factors = fit(factors, x.len() / runs.step * runs.count);
        Isa::best().run(Forward { gain, epsilon: self.epsilon, x, y, runs, factors });
    }

    /// Turns the gradient of the outputs into that of `x`, in place, and adds that of the gain if it is trained.
    /// The arguments are those of [`Self::forward`].
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn backward(
        &self,
        parameters: &[f32],
        x: &[f32],
        of_rows: &mut [f32],
        runs: Runs,
        factors: &[f32],
        gradient: &mut [f32],
    ) {
        let gain = self.gain(parameters);
        assert!(x.len() == of_rows.len() && x.len().is_multiple_of(runs.step));
        let factors = &factors[..x.len() / runs.step * runs.count];
        let of_gain = match &self.gain {
            Gain::Frozen(_) => &mut [],
            Gain::Trained(range) => &mut gradient[range.clone()],
        };
        Isa::best().run(Back { gain, x, of_rows, runs, factors, of_gain });
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
    of_rows: &'b mut [f32],
    runs: Runs,
    factors: &'b [f32],
    of_gain: &'b mut [f32],
}

impl Loops for Back<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (width, Runs { step, first, count }) = (self.gain.len(), self.runs);
        let end = self.runs.end(width);
        let rows = self.x.chunks_exact(step).zip(self.of_rows.chunks_exact_mut(step));
        for ((x, of_row), factors) in rows.zip(self.factors.chunks_exact(count)) {
            let (x, of_row) = (&x[first..end], &mut of_row[first..end]);
            let runs = x.chunks_exact(width).zip(of_row.chunks_exact_mut(width));
            for ((x, of_run), factor) in runs.zip(factors) {
                for ((of_gain, x), of) in self.of_gain.iter_mut().zip(x).zip(of_run.iter()) {
                    *of_gain += x * factor * of;
                }
                of_run.iter_mut().zip(self.gain).for_each(|(of, gain)| *of *= gain);
                let along = sum(width, |column| of_run[column] * x[column]);
                let pull = along * factor * factor / width as f32;
                of_run.iter_mut().zip(x).for_each(|(of, x)| *of = factor * (*of - x * pull));
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
    fn gradients_of_rows_and_of_the_gain_are_the_slopes() {
        let within = Runs { step: 9, first: 2, count: 2 };
        for (width, runs) in [(5, Runs::rows(5)), (18, Runs::rows(18)), (3, within)] {
            let step = runs.step;
            let norm = RmsNorm { gain: Gain::Trained(0..width), epsilon: 1e-5 };
            check(&numbers(3 * step + width, 3), 1e-2, 5e-3, |both, weights| {
                let (x, gain) = both.split_at(3 * step);
                let (mut y, mut factors) = (vec![0.0; x.len()], Vec::new());
                norm.forward(gain, x, &mut y, runs, &mut factors);
                let mut of_x = weights[..x.len()].to_vec();
                let mut of_gain = vec![0.0; width];
                norm.backward(gain, x, &mut of_x, runs, &factors, &mut of_gain);
                for row in of_x.chunks_exact_mut(step) {
                    // What is not normalised is not written here, and its gradient is left as it was.
                    row[..runs.first].fill(0.0);
                    row[runs.end(width)..].fill(0.0);
                }
                (y, [of_x, of_gain].concat())
            });
        }
    }
}
