//! Calibrates the confidence of a whole answer.
//!
//! An answer is right if all of it is. A logistic regression estimates the probability from the lattice's probabilities
//! of the values and of the words between them; it is fitted on held-out rows. More evidence for a value never lowers
//! the confidence, because those weights are not negative.

use serde::{Deserialize, Serialize};

use crate::fusion::{Fusion, Sign, odds};
use crate::linear::calibrate::{Outcome, coverage};

/// The features of an answer that its confidence is computed from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Evidence {
    /// Values found.
    pub(crate) values: usize,
    /// The lowest probability of a value; 1 without values.
    pub(crate) least: f32,
    /// The mean probability of the values; 1 without values.
    pub(crate) mean: f32,
    /// The lowest probability of a word outside of all values that it belongs there.
    pub(crate) outside: f32,
    /// The probability of the whole sequence of tags.
    pub(crate) whole: f32,
    /// The share of the two models (word chain and encoder) that find the same path alone; 1 if there is only one
    /// model.
    pub(crate) agreement: f32,
    /// Words read.
    pub(crate) words: usize,
    /// The share of words that training never saw.
    pub(crate) unknown: f32,
}

/// The sign of each feature's weight.
const SIGNS: [Sign; 8] = [
    Sign::Positive,
    Sign::Positive,
    Sign::Positive,
    Sign::Positive,
    Sign::Positive,
    Sign::Any,
    Sign::Any,
    Sign::Negative,
];

impl Evidence {
    fn numbers(&self) -> Vec<f64> {
        let count = |count: usize| (1.0 + count as f64).ln();
        vec![
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

/// The calibration of whole answers, and how well it ranks them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Certainty {
    #[serde(flatten)]
    fusion: Fusion,
    /// The share of held-out rows whose whole answer is right.
    pub held_out_exact: f64,
    /// The area under the ROC curve of the confidence, cross-fitted on held-out rows.
    pub held_out_auc: f64,
    /// The largest share of held-out rows that could be accepted, most confident first, with 2 % of them wrong.
    pub held_out_accepted_at_2_percent_error: f64,
}

impl Certainty {
    /// Fits on the evidence of held-out rows, and whether each answer was right; returns `None` without rows.
    pub(crate) fn fit(rows: &[(Evidence, bool)]) -> Option<Self> {
        if rows.is_empty() {
            return None;
        }
        // Each half is scored by a model fitted on the other half.
        let half = |odd: usize| rows.iter().skip(odd).step_by(2).copied().collect::<Vec<_>>();
        let halves = [half(0), half(1)];
        let mut scored: Vec<(f32, bool)> = Vec::new();
        for (training, test) in [(&halves[0], &halves[1]), (&halves[1], &halves[0])] {
            let fusion = solve(training);
            let score =
                |(evidence, right): &(Evidence, bool)| (fusion.probability(&evidence.numbers()), *right);
            scored.extend(test.iter().map(score));
        }
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        let outcome = |(probability, right): &(f32, bool)| Outcome {
            right: *right,
            target: 0,
            probability: *probability,
            in_scope: *probability,
        };
        let outcomes: Vec<Outcome> = scored.iter().map(outcome).collect();
        Some(Self {
            fusion: solve(rows),
            held_out_exact: rows.iter().filter(|(_, right)| *right).count() as f64 / rows.len() as f64,
            held_out_auc: auc(&scored),
            held_out_accepted_at_2_percent_error: coverage(&outcomes, 0.02),
        })
    }

    /// Returns the probability that a whole answer is right.
    pub(crate) fn of(&self, evidence: &Evidence) -> f32 {
        self.fusion.probability(&evidence.numbers())
    }

    /// Returns whether [`Self::fit`] can have produced this.
    pub(crate) fn is_sound(&self) -> bool {
        self.fusion.is_sound(SIGNS.len())
    }
}

fn solve(rows: &[(Evidence, bool)]) -> Fusion {
    let rows: Vec<(Vec<f64>, bool)> =
        rows.iter().map(|(evidence, right)| (evidence.numbers(), *right)).collect();
    Fusion::fit(&rows, &SIGNS)
}

/// Returns the area under the ROC curve of rows sorted from the most confident; ties count half.
fn auc(sorted: &[(f32, bool)]) -> f64 {
    let (mut right_before, mut pairs, mut wrong) = (0.0, 0.0, 0.0);
    for ties in sorted.chunk_by(|a, b| a.0 == b.0) {
        let right = ties.iter().filter(|(_, right)| *right).count() as f64;
        let wrong_ties = ties.len() as f64 - right;
        pairs += wrong_ties * (right_before + right / 2.0);
        right_before += right;
        wrong += wrong_ties;
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
    fn confident_values_make_confident_answers_and_the_ranking_is_measured() {
        let certainty = Certainty::fit(&rows()).unwrap();
        let of = |least| certainty.of(&evidence(least, 0.9));
        assert!(of(0.95) > 0.8 && of(0.1) < 0.3, "{} {}", of(0.95), of(0.1));
        assert!((1..20).all(|step| of(step as f32 / 20.0) >= of((step - 1) as f32 / 20.0)));
        assert!(certainty.held_out_auc > 0.75 && certainty.is_sound());
    }

    #[test]
    fn a_few_rows_that_are_all_right_do_not_prove_certainty() {
        let of = |rows: usize| {
            let rows = vec![(evidence(0.9, 0.9), true); rows];
            Certainty::fit(&rows).unwrap().of(&evidence(0.9, 0.9))
        };
        assert!(of(10) < 0.95 && of(2000) > 0.98, "{} {}", of(10), of(2000));
        assert!(Certainty::fit(&[]).is_none());
    }

    #[test]
    fn the_area_counts_pairs_and_ties() {
        assert_eq!(auc(&[(0.9, true), (0.5, true), (0.5, false)]), 0.75);
        assert_eq!(auc(&[(0.9, true)]), 0.5);
    }
}
