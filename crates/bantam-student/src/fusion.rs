//! From several signs of a right answer to one probability.

use serde::{Deserialize, Serialize};

const ROUNDS: usize = 1500;
/// What keeps weights small where rows are few.
const PENALTY: f64 = 1.0;
/// Numbers that hardly differ over the rows count as if they differed by this much.
const SPREAD_MIN: f64 = 0.1;
/// How far a strange row is from the mean, in deviations.
const STRANGE: f64 = 3.0;
/// Log-odds beyond this say no more.
const ODDS_MAX: f64 = 8.0;
/// No weight or bias that was fitted is larger.
const WEIGHT_MAX: f64 = 1e6;

/// What a number says of an answer, whatever the rows say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// The larger, the likelier it is right: its weight is not negative.
    For,
    /// The rows decide.
    Either,
    /// The larger, the likelier it is wrong.
    Against,
}

/// A logistic regression whose weights cannot turn a number against what it means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fusion {
    /// A weight for each number.
    weights: Vec<f64>,
    bias: f64,
}

impl Fusion {
    /// Returns weights and bias of the least loss by projected gradients, as if one row more were right and one wrong: a
    /// few rows that are all right do not prove certainty. Another one, unlike the others in all that has a sign, is wrong
    /// too: rows without a mistake say nothing of texts that are stranger than they are.
    ///
    /// Every row has as many numbers as there are signs.
    pub(crate) fn fit(rows: &[(Vec<f64>, bool)], signs: &[Sign]) -> Self {
        let count = rows.len().max(1) as f64;
        let column = |at: usize| rows.iter().map(move |(numbers, _)| numbers[at]);
        let mean: Vec<f64> = (0..signs.len()).map(|at| column(at).sum::<f64>() / count).collect();
        let spread: Vec<f64> = (0..signs.len())
            .map(|at| {
                let square = column(at).map(|number| (number - mean[at]).powi(2)).sum::<f64>() / count;
                square.sqrt().max(SPREAD_MIN)
            })
            .collect();
        let scale = |numbers: &[f64]| -> Vec<f64> {
            numbers
                .iter()
                .zip(mean.iter().zip(&spread))
                .map(|(number, (mean, spread))| (number - mean) / spread)
                .collect()
        };
        let mut scaled: Vec<(Vec<f64>, f64)> =
            rows.iter().map(|(numbers, right)| (scale(numbers), f64::from(u8::from(*right)))).collect();
        let strange: Vec<f64> = signs
            .iter()
            .map(|sign| match sign {
                Sign::For => -STRANGE,
                Sign::Either => 0.0,
                Sign::Against => STRANGE,
            })
            .collect();
        let usual = vec![0.0; signs.len()];
        scaled.extend([(usual.clone(), 0.0), (usual, 1.0), (strange, 0.0)]);
        let (weights, bias) = descend(&scaled, signs);
        let own: Vec<f64> = weights.iter().zip(&spread).map(|(weight, spread)| weight / spread).collect();
        let shift: f64 = own.iter().zip(&mean).map(|(weight, mean)| weight * mean).sum();
        Self { weights: own, bias: bias - shift }
    }

    /// Returns how likely an answer with these numbers is right.
    pub(crate) fn probability(&self, numbers: &[f64]) -> f32 {
        let odds =
            self.bias + self.weights.iter().zip(numbers).map(|(weight, number)| weight * number).sum::<f64>();
        (1.0 / (1.0 + (-odds).exp())) as f32
    }

    /// Returns whether this is what [`Self::fit`] can have found for so many numbers.
    pub(crate) fn is_sound(&self, count: usize) -> bool {
        let is_small = |number: &f64| number.abs() < WEIGHT_MAX;
        self.weights.len() == count && self.weights.iter().all(is_small) && is_small(&self.bias)
    }
}

/// Returns the log-odds of a share, up to a bound.
pub(crate) fn odds(share: f32) -> f64 {
    let share = f64::from(share.clamp(1e-6, 1.0 - 1e-6));
    (share / (1.0 - share)).ln().clamp(-ODDS_MAX, ODDS_MAX)
}

/// Goes down the loss of scaled rows.
fn descend(rows: &[(Vec<f64>, f64)], signs: &[Sign]) -> (Vec<f64>, f64) {
    let count = signs.len();
    let of_last = rows.last().map_or(0.0, |(row, _)| row.iter().map(|number| number * number).sum::<f64>());
    // The loss curves no more than this, so no step goes too far.
    let rate = 1.0 / (0.25 * (rows.len() as f64 * (count + 1) as f64 + of_last) + PENALTY);
    let (mut weights, mut bias) = (vec![0.0; count], 0.0);
    let mut gradient = vec![0.0; count];
    for _ in 0..ROUNDS {
        gradient.fill(0.0);
        let mut of_bias = 0.0;
        for (row, right) in rows {
            let odds: f64 =
                bias + weights.iter().zip(row).map(|(weight, number)| weight * number).sum::<f64>();
            let error = 1.0 / (1.0 + (-odds).exp()) - right;
            gradient.iter_mut().zip(row).for_each(|(into, number)| *into += error * number);
            of_bias += error;
        }
        for ((weight, gradient), sign) in weights.iter_mut().zip(&gradient).zip(signs) {
            *weight -= rate * (gradient + PENALTY * *weight);
            *weight = match sign {
                Sign::For => weight.max(0.0),
                Sign::Either => *weight,
                Sign::Against => weight.min(0.0),
            };
        }
        bias -= rate * of_bias;
    }
    (weights, bias)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows that are right where the first number is large and the second small; the third says nothing.
    fn rows(turned: bool) -> Vec<(Vec<f64>, bool)> {
        (0..200)
            .map(|row| {
                let (first, second) = (f64::from(row % 20) / 20.0, f64::from(row % 7) / 7.0);
                (vec![first, second, f64::from(row % 3)], (first + 0.2 > second) != turned)
            })
            .collect()
    }

    #[test]
    fn what_speaks_for_an_answer_never_counts_against_it() {
        let signs = [Sign::For, Sign::Against, Sign::Either];
        let plain = Fusion::fit(&rows(false), &signs);
        assert!(plain.weights[0] > 0.5 && plain.weights[1] < -0.5, "{plain:?}");
        assert!(plain.probability(&[0.9, 0.1, 1.0]) > 0.8 && plain.probability(&[0.1, 0.9, 1.0]) < 0.2);
        let turned = Fusion::fit(&rows(true), &signs);
        assert_eq!(turned.weights[..2], [0.0, 0.0], "{turned:?}");
        let free = Fusion::fit(&rows(true), &[Sign::Either; 3]);
        assert!(free.weights[0] < -0.5, "{free:?}");
        assert!(plain.is_sound(3) && !plain.is_sound(2));
    }

    #[test]
    fn odds_are_bounded_at_both_ends() {
        assert_eq!((odds(0.0), odds(0.5), odds(1.0)), (-ODDS_MAX, 0.0, ODDS_MAX));
    }
}
