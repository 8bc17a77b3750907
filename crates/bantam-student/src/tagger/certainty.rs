//! From what is known of each value to one number for a whole answer.
//!
//! An answer is right when all of it is. How likely that is comes from a logistic regression over what the lattice says
//! of the values and of the words between them, fitted on rows that the student had not seen. More evidence for a value
//! never makes an answer less sure: those weights are not negative.

use serde::{Deserialize, Serialize};

use crate::linear::calibrate::{Outcome, coverage};

/// What is known of an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Evidence {
    /// Values found.
    pub(crate) values: usize,
    /// The probability of the least sure value; 1 without values.
    pub(crate) least: f32,
    /// The mean probability of the values; 1 without values.
    pub(crate) mean: f32,
    /// The probability that the least sure word outside of all values belongs there.
    pub(crate) outside: f32,
    /// The probability of the whole sequence of tags.
    pub(crate) whole: f32,
    /// The share of two readings, of words and of their encoder, that find the same alone; 1 where there is but one.
    pub(crate) agreement: f32,
    /// Words read.
    pub(crate) words: usize,
    /// The share of the words that training never saw.
    pub(crate) unknown: f32,
}

const COUNT: usize = 8;
/// How many of the numbers, from the first, speak for an answer; the last one speaks against.
const FOR: usize = 5;
/// Log-odds beyond this say no more.
const ODDS_MAX: f32 = 8.0;
const ROUNDS: usize = 1500;
/// What keeps weights small where rows are few.
const PENALTY: f64 = 1.0;
/// Numbers that hardly differ over the rows count as if they differed by this much.
const SPREAD_MIN: f64 = 0.1;
/// How far a strange row is from the mean, in deviations.
const STRANGE: f64 = 3.0;

impl Evidence {
    fn numbers(&self) -> [f64; COUNT] {
        let odds = |share: f32| {
            let share = f64::from(share.clamp(1e-6, 1.0 - 1e-6));
            (share / (1.0 - share)).ln().clamp(f64::from(-ODDS_MAX), f64::from(ODDS_MAX))
        };
        let count = |count: usize| (1.0 + count as f64).ln();
        [
            odds(self.whole),
            odds(self.least),
            odds(self.mean),
            odds(self.outside),
            f64::from(self.agreement),
            count(self.values),
            count(self.words),
            f64::from(self.unknown),
        ]
    }
}

/// How evidence becomes a confidence, and how well that ranks answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Certainty {
    /// A weight for each number of the evidence.
    weights: Vec<f64>,
    bias: f64,
    /// The share of held-out rows whose answer is right as a whole.
    pub held_out_exact: f64,
    /// The chance that a right answer is surer than a wrong one, on held-out rows that fitted nothing.
    pub held_out_auc: f64,
    /// The largest share of held-out rows that could be accepted, most confident first, with 2 % of them wrong.
    pub held_out_accepted_at_2_percent_error: f64,
}

impl Certainty {
    /// Fits on what was found on held-out rows, and whether it was right; None without rows.
    pub(crate) fn fit(rows: &[(Evidence, bool)]) -> Option<Self> {
        if rows.is_empty() {
            return None;
        }
        // Each half is judged by what the other taught.
        let half = |odd: usize| rows.iter().skip(odd).step_by(2).copied().collect::<Vec<_>>();
        let halves = [half(0), half(1)];
        let mut judged: Vec<(f32, bool)> = Vec::new();
        for (taught, asked) in [(&halves[0], &halves[1]), (&halves[1], &halves[0])] {
            let (weights, bias) = solve(taught);
            judged.extend(asked.iter().map(|(found, right)| (probability(&weights, bias, found), *right)));
        }
        judged.sort_by(|a, b| b.0.total_cmp(&a.0));
        let outcome = |(probability, right): &(f32, bool)| Outcome {
            right: *right,
            target: 0,
            probability: *probability,
            in_scope: *probability,
        };
        let outcomes: Vec<Outcome> = judged.iter().map(outcome).collect();
        let (weights, bias) = solve(rows);
        Some(Self {
            weights: weights.to_vec(),
            bias,
            held_out_exact: rows.iter().filter(|(_, right)| *right).count() as f64 / rows.len() as f64,
            held_out_auc: auc(&judged),
            held_out_accepted_at_2_percent_error: coverage(&outcomes, 0.02),
        })
    }

    /// Returns how likely an answer is right as a whole.
    pub(crate) fn of(&self, evidence: &Evidence) -> f32 {
        let mut weights = [0.0; COUNT];
        weights.iter_mut().zip(&self.weights).for_each(|(into, from)| *into = *from);
        probability(&weights, self.bias, evidence)
    }

    /// Returns whether this is what [`Self::fit`] can have found.
    pub(crate) fn is_sound(&self) -> bool {
        let is_small = |number: &f64| number.abs() < 1e6;
        self.weights.len() == COUNT && self.weights.iter().all(is_small) && is_small(&self.bias)
    }
}

fn probability(weights: &[f64; COUNT], bias: f64, evidence: &Evidence) -> f32 {
    let odds =
        bias + weights.iter().zip(evidence.numbers()).map(|(weight, number)| weight * number).sum::<f64>();
    (1.0 / (1.0 + (-odds).exp())) as f32
}

/// Weights and bias of the least loss by projected gradients, as if one row more were right and one wrong: a few rows
/// that are all right do not prove certainty. Another one, unlike the others in all that speaks against an answer, is
/// wrong too: rows without a mistake say nothing of texts that are stranger than they are.
fn solve(rows: &[(Evidence, bool)]) -> ([f64; COUNT], f64) {
    let count = rows.len().max(1) as f64;
    let numbers: Vec<[f64; COUNT]> = rows.iter().map(|(evidence, _)| evidence.numbers()).collect();
    let column = |at: usize| numbers.iter().map(move |row| row[at]);
    let mean: [f64; COUNT] = std::array::from_fn(|at| column(at).sum::<f64>() / count);
    let spread: [f64; COUNT] = std::array::from_fn(|at| {
        let square = column(at).map(|number| (number - mean[at]).powi(2)).sum::<f64>() / count;
        square.sqrt().max(SPREAD_MIN)
    });
    let mut scaled: Vec<([f64; COUNT], f64)> = numbers
        .iter()
        .zip(rows)
        .map(|(row, (_, right))| {
            (std::array::from_fn(|at| (row[at] - mean[at]) / spread[at]), f64::from(u8::from(*right)))
        })
        .collect();
    let mut strange = [0.0; COUNT];
    strange[..FOR].fill(-STRANGE);
    strange[COUNT - 1] = STRANGE;
    scaled.extend([([0.0; COUNT], 0.0), ([0.0; COUNT], 1.0), (strange, 0.0)]);
    // The loss curves no more than this, so no step goes too far.
    let of_strange = strange.iter().map(|number| number * number).sum::<f64>();
    let rate = 1.0 / (0.25 * (scaled.len() as f64 * (COUNT + 1) as f64 + of_strange) + PENALTY);
    let (mut weights, mut bias) = ([0.0; COUNT], 0.0);
    for _ in 0..ROUNDS {
        let (mut gradient, mut of_bias) = ([0.0; COUNT], 0.0);
        for (row, right) in &scaled {
            let odds: f64 =
                bias + weights.iter().zip(row).map(|(weight, number)| weight * number).sum::<f64>();
            let error = 1.0 / (1.0 + (-odds).exp()) - right;
            gradient.iter_mut().zip(row).for_each(|(into, number)| *into += error * number);
            of_bias += error;
        }
        for (weight, gradient) in weights.iter_mut().zip(gradient) {
            *weight -= rate * (gradient + PENALTY * *weight);
        }
        bias -= rate * of_bias;
        weights[..FOR].iter_mut().for_each(|weight| *weight = weight.max(0.0));
        weights[COUNT - 1] = weights[COUNT - 1].min(0.0);
    }
    let own: [f64; COUNT] = std::array::from_fn(|at| weights[at] / spread[at]);
    let shift: f64 = own.iter().zip(mean).map(|(weight, mean)| weight * mean).sum();
    (own, bias - shift)
}

/// The chance that a right row stands before a wrong one, in rows sorted from the most confident; ties count half.
fn auc(sorted: &[(f32, bool)]) -> f64 {
    let (mut right_before, mut pairs, mut wrong) = (0.0, 0.0, 0.0);
    for ties in sorted.chunk_by(|a, b| a.0 == b.0) {
        let right = ties.iter().filter(|(_, right)| *right).count() as f64;
        let wrong_here = ties.len() as f64 - right;
        pairs += wrong_here * (right_before + right / 2.0);
        right_before += right;
        wrong += wrong_here;
    }
    if right_before * wrong > 0.0 { pairs / (right_before * wrong) } else { 0.5 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(least: f32, outside: f32) -> Evidence {
        Evidence {
            values: 2,
            least,
            mean: least,
            outside,
            whole: least * outside,
            agreement: 1.0,
            words: 9,
            unknown: 0.0,
        }
    }

    fn rows() -> Vec<(Evidence, bool)> {
        (0..400)
            .map(|row| {
                let least = (row % 20) as f32 / 20.0;
                (evidence(least, 0.9), (row / 20) as f32 / 20.0 < least)
            })
            .collect()
    }

    #[test]
    fn sure_values_make_sure_answers_and_the_ranking_is_measured() {
        let certainty = Certainty::fit(&rows()).unwrap();
        let of = |least| certainty.of(&evidence(least, 0.9));
        assert!(of(0.95) > 0.8 && of(0.1) < 0.3, "{} {}", of(0.95), of(0.1));
        assert!((1..20).all(|step| of(step as f32 / 20.0) >= of((step - 1) as f32 / 20.0)));
        assert!(certainty.held_out_auc > 0.75 && certainty.is_sound());
    }

    #[test]
    fn few_rows_all_right_do_not_prove_certainty() {
        let of = |rows: usize| {
            let rows = vec![(evidence(0.9, 0.9), true); rows];
            Certainty::fit(&rows).unwrap().of(&evidence(0.9, 0.9))
        };
        assert!(of(10) < 0.95 && of(2000) > 0.98, "{} {}", of(10), of(2000));
        assert!(Certainty::fit(&[]).is_none());
    }

    #[test]
    fn ranking_counts_pairs_and_ties() {
        assert_eq!(auc(&[(0.9, true), (0.5, true), (0.5, false)]), 0.75);
        assert_eq!(auc(&[(0.9, true)]), 0.5);
    }
}
