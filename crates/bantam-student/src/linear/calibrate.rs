//! Calibrates probabilities on held-out logits.

use super::exponential::exp;

/// The logits and right classes of held-out rows. Rows that could not be held out, because all others had the same
/// text, are missing.
#[derive(Debug, Default)]
pub(crate) struct HeldOut {
    /// Rows of `classes` numbers each.
    pub(crate) logits: Vec<f32>,
    pub(crate) targets: Vec<u32>,
    pub(crate) classes: usize,
}

/// One held-out row after calibration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) right: bool,
    pub(crate) target: u32,
    /// The probability of the predicted class.
    pub(crate) probability: f32,
    /// The highest probability of an in-scope class.
    pub(crate) in_scope: f32,
}

const TEMPERATURE_MIN: f64 = 0.02;
const TEMPERATURE_MAX: f64 = 50.0;
/// A label with a higher probability than this is never treated as out of scope.
const SCOPE_THRESHOLD_MAX: f32 = 0.9;
const SEARCH_STEPS: usize = 40;
const ECE_BINS: usize = 15;

impl HeldOut {
    fn rows(&self) -> impl Iterator<Item = (&[f32], u32)> {
        self.logits.chunks_exact(self.classes).zip(self.targets.iter().copied())
    }

    /// Returns the mean negative log-likelihood of the right label at a temperature.
    pub(crate) fn loss(&self, temperature: f32) -> f64 {
        self.smoothed_loss(f64::from(temperature), 0.0)
    }

    /// Returns the loss with label smoothing: a share of every row's label is spread evenly over all labels.
    fn smoothed_loss(&self, temperature: f64, smoothing: f32) -> f64 {
        let inverse = (1.0 / temperature) as f32;
        let even = smoothing / self.classes.max(1) as f32;
        let total: f64 = self
            .rows()
            .map(|(logits, target)| {
                let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let (mut sum, mut distance) = (0.0, 0.0);
                for logit in logits {
                    sum += exp((logit - highest) * inverse);
                    distance += highest - logit;
                }
                let gold = (1.0 - smoothing) * (highest - logits[target as usize]) + even * distance;
                f64::from(sum.ln() + gold * inverse)
            })
            .sum();
        total / self.targets.len().max(1) as f64
    }

    /// Returns the temperature with the least loss, by golden-section search over its logarithm (the loss is convex in
    /// the inverse temperature, so there is one minimum).
    ///
    /// Uses label smoothing with the weight of about one row, because a few rows that are all right do not prove
    /// certainty; thousands of rows are hardly affected. Returns 1 if no temperature is better.
    pub(crate) fn best_temperature(&self) -> f32 {
        let smoothing = 1.0 / (self.targets.len() as f32 + 2.0);
        let loss = |logarithm: f64| self.smoothed_loss(logarithm.exp(), smoothing);
        let best = least(TEMPERATURE_MIN.ln(), TEMPERATURE_MAX.ln(), SEARCH_STEPS, loss);
        if loss(best) < loss(0.0) - 1e-9 { best.exp() as f32 } else { 1.0 }
    }

    /// Returns every row's outcome at a temperature.
    pub(crate) fn outcomes(&self, temperature: f32, out_of_scope: Option<u32>) -> Vec<Outcome> {
        self.rows().map(|(logits, target)| outcome(logits, target, temperature, out_of_scope)).collect()
    }
}

/// Returns where a loss with one minimum between `low` and `high` is least, by golden-section search.
pub(crate) fn least(mut low: f64, mut high: f64, steps: usize, mut loss: impl FnMut(f64) -> f64) -> f64 {
    let ratio = (5.0f64.sqrt() - 1.0) / 2.0;
    let mut left = high - ratio * (high - low);
    let mut right = low + ratio * (high - low);
    let (mut loss_left, mut loss_right) = (loss(left), loss(right));
    for _ in 0..steps {
        if loss_left <= loss_right {
            (high, right, loss_right) = (right, left, loss_left);
            left = high - ratio * (high - low);
            loss_left = loss(left);
        } else {
            (low, left, loss_left) = (left, right, loss_right);
            right = low + ratio * (high - low);
            loss_right = loss(right);
        }
    }
    (low + high) / 2.0
}

fn outcome(logits: &[f32], target: u32, temperature: f32, out_of_scope: Option<u32>) -> Outcome {
    let mut best = 0;
    let mut best_in_scope = f32::NEG_INFINITY;
    for (class, &logit) in logits.iter().enumerate() {
        if logit > logits[best] {
            best = class;
        }
        if Some(class as u32) != out_of_scope {
            best_in_scope = best_in_scope.max(logit);
        }
    }
    let sum: f32 = logits.iter().map(|logit| exp((logit - logits[best]) / temperature)).sum();
    Outcome {
        right: best as u32 == target,
        target,
        probability: 1.0 / sum,
        in_scope: exp((best_in_scope - logits[best]) / temperature) / sum,
    }
}

/// Returns the share of rows whose label is right.
pub(crate) fn accuracy(outcomes: &[Outcome]) -> f64 {
    outcomes.iter().filter(|outcome| outcome.right).count() as f64 / outcomes.len().max(1) as f64
}

/// Returns the expected calibration error: the mean distance between confidence and accuracy over 15 bins of equal
/// width.
pub(crate) fn calibration_error(outcomes: &[Outcome]) -> f64 {
    let mut bins = [(0.0f64, 0.0f64); ECE_BINS];
    for outcome in outcomes {
        let bin = ((outcome.probability * ECE_BINS as f32) as usize).min(ECE_BINS - 1);
        bins[bin].0 += f64::from(u8::from(outcome.right));
        bins[bin].1 += f64::from(outcome.probability);
    }
    bins.iter().map(|(right, confidence)| (right - confidence).abs()).sum::<f64>()
        / outcomes.len().max(1) as f64
}

/// Returns the largest share of rows, most confident first, that can be accepted with at most `error` of them wrong.
pub(crate) fn coverage(outcomes: &[Outcome], error: f64) -> f64 {
    let mut ranked: Vec<&Outcome> = outcomes.iter().collect();
    ranked.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    let (mut wrong, mut accepted) = (0usize, 0usize);
    for (position, outcome) in ranked.iter().enumerate() {
        wrong += usize::from(!outcome.right);
        if wrong as f64 <= error * (position + 1) as f64 {
            accepted = position + 1;
        }
    }
    accepted as f64 / outcomes.len().max(1) as f64
}

/// Returns the in-scope probability below which a text counts as out of scope, chosen so that at most `share` of the
/// correctly labelled in-scope rows fall below it. It is capped at [`SCOPE_THRESHOLD_MAX`], which a student that is
/// confident about all of its rows would otherwise exceed.
pub(crate) fn scope_threshold(outcomes: &[Outcome], out_of_scope: Option<u32>, share: f64) -> f32 {
    let mut known: Vec<f32> = outcomes
        .iter()
        .filter(|outcome| outcome.right && Some(outcome.target) != out_of_scope)
        .map(|outcome| outcome.in_scope)
        .collect();
    known.sort_by(f32::total_cmp);
    known.get((known.len() as f64 * share) as usize).map_or(0.0, |lowest| lowest.min(SCOPE_THRESHOLD_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(right: bool, probability: f32) -> Outcome {
        Outcome { right, target: 0, probability, in_scope: probability }
    }

    #[test]
    fn temperature_undoes_overconfidence() {
        // Two classes; the prediction is right three times out of four, whatever the logits claim.
        let targets = (0..400).map(|row| u32::from(row % 4 == 0)).collect();
        let held_out = HeldOut { logits: [8.0, 0.0].repeat(400), targets, classes: 2 };
        let temperature = held_out.best_temperature();
        let outcomes = held_out.outcomes(temperature, None);
        assert!((outcomes[0].probability - 0.75).abs() < 0.005, "{temperature}");
        assert!(calibration_error(&outcomes) < 0.005);
        assert!(calibration_error(&held_out.outcomes(1.0, None)) > 0.2);
    }

    #[test]
    fn a_few_rows_that_are_all_right_do_not_prove_certainty() {
        let highest = |rows: usize| {
            let held_out = HeldOut { logits: [1.0, 0.0].repeat(rows), targets: vec![0; rows], classes: 2 };
            held_out.outcomes(held_out.best_temperature(), None)[0].probability
        };
        assert!(highest(10) < 0.97 && highest(10_000) > 0.999);
    }

    #[test]
    fn temperature_is_one_if_no_other_is_better() {
        assert_eq!(HeldOut { classes: 2, ..HeldOut::default() }.best_temperature(), 1.0);
        assert_eq!(HeldOut { logits: vec![3.0; 4], targets: vec![0, 1], classes: 2 }.best_temperature(), 1.0);
    }

    #[test]
    fn coverage_accepts_the_most_confident_rows_first() {
        let mut outcomes: Vec<Outcome> =
            (0..98).map(|row| outcome(true, 0.9 - row as f32 / 1000.0)).collect();
        outcomes.push(outcome(false, 0.5));
        outcomes.push(outcome(false, 0.4));
        assert_eq!(coverage(&outcomes, 0.0), 0.98);
        assert_eq!(coverage(&outcomes, 0.02), 1.0);
        assert_eq!(coverage(&[], 0.02), 0.0);
    }

    #[test]
    fn threshold_flags_at_most_the_given_share() {
        let outcomes: Vec<Outcome> = (0..100).map(|row| outcome(true, row as f32 / 100.0)).collect();
        let threshold = scope_threshold(&outcomes, None, 0.05);
        assert_eq!(outcomes.iter().filter(|outcome| outcome.in_scope < threshold).count(), 5);
        assert_eq!(scope_threshold(&[], None, 0.05), 0.0);
    }
}
