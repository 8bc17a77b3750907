//! Combines several features of an answer into one probability that it is right.

use serde::{Deserialize, Serialize};

/// Steps of gradient descent.
const ROUNDS: usize = 1500;
/// L2 regularisation, which keeps weights small if there are few rows.
const PENALTY: f64 = 1.0;
/// The smallest standard deviation that features are scaled by.
const SPREAD_MIN: f64 = 0.1;
/// How far the outlier pseudo-row is from the mean, in standard deviations.
const OUTLIER: f64 = 3.0;
/// Log-odds are clamped to this range.
const ODDS_MAX: f64 = 8.0;
/// Every fitted weight and bias is smaller than this.
const WEIGHT_MAX: f64 = 1e6;

/// The sign that the weight of a feature may have, whatever the rows say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// The larger the feature, the more probable a right answer: the weight is not negative.
    Positive,
    /// The rows decide.
    Any,
    /// The larger the feature, the more probable a wrong answer: the weight is not positive.
    Negative,
}

/// A logistic regression with constrained signs, so that no feature can count against its meaning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fusion {
    /// One weight for each feature.
    weights: Vec<f64>,
    bias: f64,
}

impl Fusion {
    /// Fits weights and bias by projected gradient descent on the logistic loss.
    ///
    /// Adds two pseudo-rows at the mean, one right and one wrong, because a few rows that are all right do not prove
    /// certainty. Adds a third one that is wrong and an outlier in every feature with a sign, because rows without
    /// mistakes say nothing about texts that are more unusual than they are.
    ///
    /// Every row has one feature per sign.
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
        let outlier: Vec<f64> = signs
            .iter()
            .map(|sign| match sign {
                Sign::Positive => -OUTLIER,
                Sign::Any => 0.0,
                Sign::Negative => OUTLIER,
            })
            .collect();
        let at_mean = vec![0.0; signs.len()];
        scaled.extend([(at_mean.clone(), 0.0), (at_mean, 1.0), (outlier, 0.0)]);
        let (weights, bias) = descend(&scaled, signs);
        let unscaled: Vec<f64> =
            weights.iter().zip(&spread).map(|(weight, spread)| weight / spread).collect();
        let shift: f64 = unscaled.iter().zip(&mean).map(|(weight, mean)| weight * mean).sum();
        Self { weights: unscaled, bias: bias - shift }
    }

    /// Returns the probability that an answer with these features is right.
    pub(crate) fn probability(&self, numbers: &[f64]) -> f32 {
        let odds =
            self.bias + self.weights.iter().zip(numbers).map(|(weight, number)| weight * number).sum::<f64>();
        (1.0 / (1.0 + (-odds).exp())) as f32
    }

    /// Returns whether [`Self::fit`] can have produced this for `count` features.
    pub(crate) fn is_sound(&self, count: usize) -> bool {
        let is_small = |number: &f64| number.abs() < WEIGHT_MAX;
        self.weights.len() == count && self.weights.iter().all(is_small) && is_small(&self.bias)
    }
}

/// Returns the clamped log-odds of a share.
pub(crate) fn odds(share: f32) -> f64 {
    let share = f64::from(share.clamp(1e-6, 1.0 - 1e-6));
    (share / (1.0 - share)).ln().clamp(-ODDS_MAX, ODDS_MAX)
}

/// Minimises the loss of scaled rows by gradient descent.
fn descend(rows: &[(Vec<f64>, f64)], signs: &[Sign]) -> (Vec<f64>, f64) {
    let count = signs.len();
    let outlier_square =
        rows.last().map_or(0.0, |(row, _)| row.iter().map(|number| number * number).sum::<f64>());
    // One over a bound on the curvature, so that no step overshoots.
    let rate = 1.0 / (0.25 * (rows.len() as f64 * (count + 1) as f64 + outlier_square) + PENALTY);
    let (mut weights, mut bias) = (vec![0.0; count], 0.0);
    let mut gradient = vec![0.0; count];
    for _ in 0..ROUNDS {
        gradient.fill(0.0);
        let mut bias_gradient = 0.0;
        for (row, right) in rows {
            let odds: f64 =
                bias + weights.iter().zip(row).map(|(weight, number)| weight * number).sum::<f64>();
            let error = 1.0 / (1.0 + (-odds).exp()) - right;
            gradient.iter_mut().zip(row).for_each(|(into, number)| *into += error * number);
            bias_gradient += error;
        }
        for ((weight, gradient), sign) in weights.iter_mut().zip(&gradient).zip(signs) {
            *weight -= rate * (gradient + PENALTY * *weight);
            *weight = match sign {
                Sign::Positive => weight.max(0.0),
                Sign::Any => *weight,
                Sign::Negative => weight.min(0.0),
            };
        }
        bias -= rate * bias_gradient;
    }
    (weights, bias)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns rows that are right if the first number is large and the second small (or the opposite, if `inverted`);
    /// the third number is noise.
    fn rows(inverted: bool) -> Vec<(Vec<f64>, bool)> {
        (0..200)
            .map(|row| {
                let (first, second) = (f64::from(row % 20) / 20.0, f64::from(row % 7) / 7.0);
                (vec![first, second, f64::from(row % 3)], (first + 0.2 > second) != inverted)
            })
            .collect()
    }

    #[test]
    fn a_feature_never_counts_against_its_sign() {
        let signs = [Sign::Positive, Sign::Negative, Sign::Any];
        let plain = Fusion::fit(&rows(false), &signs);
        assert!(plain.weights[0] > 0.5 && plain.weights[1] < -0.5, "{plain:?}");
        assert!(plain.probability(&[0.9, 0.1, 1.0]) > 0.8 && plain.probability(&[0.1, 0.9, 1.0]) < 0.2);
        let inverted = Fusion::fit(&rows(true), &signs);
        assert_eq!(inverted.weights[..2], [0.0, 0.0], "{inverted:?}");
        let free = Fusion::fit(&rows(true), &[Sign::Any; 3]);
        assert!(free.weights[0] < -0.5, "{free:?}");
        assert!(plain.is_sound(3) && !plain.is_sound(2));
    }

    #[test]
    fn odds_are_bounded_at_both_ends() {
        assert_eq!((odds(0.0), odds(0.5), odds(1.0)), (-ODDS_MAX, 0.0, ODDS_MAX));
    }
}
