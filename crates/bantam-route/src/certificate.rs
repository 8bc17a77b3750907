//! Certificates: the confidence above which a student may answer alone, and the error bound this gives.
//!
//! The method is fixed-sequence testing (Bauer 1991; as risk control for predictors: Angelopoulos et al.,
//! *Learn then Test*, 2021). Thresholds are tested from strict to loose over a grid that is fixed before any
//! label is seen. At each one the null hypothesis is "the error on accepted items is above α"; it is
//! rejected when P(Bin(n, α) ≤ errors) ≤ δ. Testing stops at the first null hypothesis that is not
//! rejected, so the chance that *any* rejected one was true, and so that the certified threshold's error is
//! above α, is at most δ. The bound is on the error *on accepted items*, for traffic exchangeable with the
//! evidence.

use bantam_types::TaskName;
use serde::{Deserialize, Serialize};

/// The format version that this code writes.
pub const CERTIFICATE_VERSION: u32 = 1;

/// A proved threshold, the bound it guarantees, and everything the proof depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The format's version.
    pub version: u32,
    /// The task that it is for.
    pub task: TaskName,
    /// SHA-256 of the student in hex; the certificate is void for any other student.
    pub student_sha256: String,
    /// SHA-256 of the evidence, in hex.
    pub evidence_sha256: String,
    /// The source of the true answers in the evidence: `labels` or a teacher's name.
    pub truth: String,
    /// Answers with at least this probability may be returned without a second opinion.
    pub threshold: f32,
    /// The bound: at most this share of accepted answers is wrong.
    pub error_max: f64,
    /// The confidence level of the bound.
    pub confidence: f64,
    /// Rows of evidence.
    pub rows: u64,
    /// Rows accepted at the threshold.
    pub accepted: u64,
    /// Accepted rows that were wrong.
    pub errors: u64,
    /// When it was proved, `YYYY-MM-DDTHH:MM:SSZ`.
    pub proved_at: String,
}

impl Certificate {
    /// Returns whether the certificate is for exactly this task and student, in a supported version.
    pub fn holds_for(&self, task: &TaskName, student_sha256: &str) -> bool {
        self.version == CERTIFICATE_VERSION && self.task == *task && self.student_sha256 == student_sha256
    }
}

/// One row of evidence: the student's probability, if it answered, and whether its answer was right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evidence {
    /// The calibrated probability; `None` when the student would not have answered at any threshold.
    pub probability: Option<f32>,
    /// Whether its answer was right.
    pub correct: bool,
}

/// What the evidence proves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Certification {
    /// A threshold passes.
    Certified {
        /// Answers with at least this probability are accepted.
        threshold: f32,
        /// Rows accepted at it.
        accepted: u64,
        /// Accepted rows that were wrong.
        errors: u64,
    },
    /// No threshold passes.
    NotCertifiable {
        /// How many more rows are needed if the student keeps its error rate at the strictest threshold
        /// tried; `None` if that rate is not below the bound, so that no number of rows would be enough.
        missing: Option<u64>,
        /// Rows accepted at the strictest threshold tried.
        accepted: u64,
        /// Accepted rows that were wrong.
        errors: u64,
    },
}

/// Tests thresholds from strict to loose and returns the last that passes.
///
/// `error_max` is α and `1 - confidence` is δ, both in (0, 1). Testing starts at the first threshold of the
/// grid that accepts enough rows to pass with [`FORGIVEN_AT_START`] errors, or with as many as half of the
/// evidence can forgive. The start depends on counts alone, so labels cannot bias it. Starting where no
/// error is forgiven would let one unlucky row end the test.
pub fn certify(evidence: &[Evidence], error_max: f64, confidence: f64) -> Certification {
    let delta = 1.0 - confidence;
    let mut rows: Vec<(f32, bool)> =
        evidence.iter().filter_map(|row| Some((row.probability?, row.correct))).collect();
    rows.sort_by(|left, right| right.0.total_cmp(&left.0));
    let available = rows.len() as u64;
    let mut starts = (0..=FORGIVEN_AT_START).rev().map(|errors| rows_needed(errors, error_max, delta));
    let start =
        starts.find(|start| 2 * start <= available).unwrap_or_else(|| rows_needed(0, error_max, delta));
    let (mut accepted, mut errors) = (0_u64, 0_u64);
    let mut best = None;
    let mut rows = rows.into_iter().peekable();
    for threshold in threshold_grid() {
        while let Some((_, correct)) = rows.next_if(|(probability, _)| *probability >= threshold) {
            accepted += 1;
            errors += u64::from(!correct);
        }
        if accepted < start {
            continue;
        }
        if binomial_cdf(errors, accepted, error_max) > delta {
            break;
        }
        best = Some(Certification::Certified { threshold, accepted, errors });
    }
    best.unwrap_or_else(|| Certification::NotCertifiable {
        missing: missing_rows(evidence.len() as u64, accepted, errors, start, error_max, delta),
        accepted,
        errors,
    })
}

/// How many errors the strictest threshold tried forgives, if there is enough evidence.
pub const FORGIVEN_AT_START: u64 = 5;

/// Returns how many more rows of evidence are needed, or `None` if no number would be enough.
fn missing_rows(rows: u64, accepted: u64, errors: u64, start: u64, alpha: f64, delta: f64) -> Option<u64> {
    if accepted == 0 {
        return Some(start);
    }
    let rate = errors as f64 / accepted as f64;
    if errors > 0 && rate >= alpha * 0.9 {
        return None;
    }
    // At the observed error rate, how many accepted rows would pass?
    let mut needed = start.max(accepted);
    while binomial_cdf((rate * needed as f64).ceil() as u64, needed, alpha) > delta {
        needed = needed.saturating_mul(21).div_ceil(20) + 1;
        if needed > 100_000_000 {
            return None;
        }
    }
    let share = accepted as f64 / rows.max(1) as f64;
    Some(((needed.saturating_sub(accepted)) as f64 / share).ceil().max(1.0) as u64)
}

/// Returns the thresholds from strict to loose: steps of 0.1 in log-odds from 0.99999 down to 0.05.
fn threshold_grid() -> impl Iterator<Item = f32> {
    const STRICTEST: f64 = 11.5;
    const STEPS: u32 = 145;
    (0..=STEPS).map(|step| (1.0 / (1.0 + (-(STRICTEST - 0.1 * f64::from(step))).exp())) as f32)
}

/// Returns how many accepted rows are needed to pass with `errors` errors.
pub fn rows_needed(errors: u64, alpha: f64, delta: f64) -> u64 {
    let (mut low, mut high) = (errors + 1, errors + 2);
    while binomial_cdf(errors, high, alpha) > delta && high < 1 << 40 {
        low = high;
        high *= 2;
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if binomial_cdf(errors, middle, alpha) <= delta {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    high
}

/// Returns P(Bin(`trials`, `rate`) ≤ `successes`), summed in log space.
pub fn binomial_cdf(successes: u64, trials: u64, rate: f64) -> f64 {
    if successes >= trials {
        return 1.0;
    }
    let (log_rate, log_rest) = (rate.ln(), (-rate).ln_1p());
    let mut log_term = trials as f64 * log_rest;
    let mut terms = Vec::with_capacity(successes as usize + 1);
    terms.push(log_term);
    for k in 1..=successes {
        log_term += ((trials - k + 1) as f64 / k as f64).ln() + log_rate - log_rest;
        terms.push(log_term);
    }
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = terms.iter().map(|term| (term - largest).exp()).sum();
    (largest + sum.ln()).exp().min(1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_rows_needed_match_the_published_table() {
        // The table in the literature on risk control at δ = 5 %.
        for (alpha, expected) in [(0.05, [59, 93, 208]), (0.01, [299, 473, 1049])] {
            assert_eq!([0, 1, 5].map(|errors| rows_needed(errors, alpha, 0.05)), expected);
        }
    }

    #[test]
    fn the_binomial_tail_equals_the_sum_of_its_terms() {
        for (successes, trials, rate) in [(0, 10, 0.3_f64), (3, 10, 0.3), (9, 10, 0.5), (1, 2, 0.9)] {
            let direct: f64 = (0..=successes)
                .map(|k| {
                    let ways: f64 = (0..k).map(|i| (trials - i) as f64 / (i + 1) as f64).product();
                    ways * rate.powi(k as i32) * (1.0 - rate).powi((trials - k) as i32)
                })
                .sum();
            assert!((binomial_cdf(successes, trials, rate) - direct).abs() < 1e-12);
        }
        assert_eq!(binomial_cdf(5, 5, 0.1), 1.0);
        // Far tails stay finite.
        assert!(binomial_cdf(10, 1_000_000, 0.5) >= 0.0);
    }

    #[test]
    fn reports_how_many_rows_are_missing() {
        let row = Evidence { probability: Some(0.99), correct: true };
        let missing = |rows: usize| match certify(&vec![row; rows], 0.05, 0.95) {
            Certification::NotCertifiable { missing, .. } => missing,
            Certification::Certified { .. } => Some(0),
        };
        assert_eq!(missing(59), Some(0));
        assert_eq!(missing(58), Some(1));
        assert_eq!(missing(9), Some(50));
        assert_eq!(missing(0), Some(59));
    }

    #[test]
    fn no_number_of_rows_certifies_a_student_that_is_wrong_too_often() {
        let rows: Vec<Evidence> =
            (0..5000).map(|row| Evidence { probability: Some(0.99), correct: row % 20 != 0 }).collect();
        let Certification::NotCertifiable { missing: None, errors, .. } = certify(&rows, 0.02, 0.95) else {
            panic!("an error of 5 % was certified at 2 %");
        };
        assert_eq!(errors, 250);
    }

    /// A small uniform generator (SplitMix64); the simulation needs speed and a seed, not cryptography.
    struct Uniform(u64);

    impl Uniform {
        fn next(&mut self) -> f64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.0;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
        }
    }

    /// Returns the share of simulated certifications whose threshold has a true error above `alpha`.
    ///
    /// `error_at(p)` is the true error of an answer with probability `p`; scores are skewed uniform numbers.
    /// The true error above a threshold is integrated over the same law, so only the share is estimated.
    fn broken_share(
        seed: u64,
        rows: usize,
        alpha: f64,
        delta: f64,
        skew: f64,
        error_at: impl Fn(f64) -> f64,
    ) -> f64 {
        let mut uniform = Uniform(seed);
        let score = |uniform: f64| 1.0 - 0.95 * uniform.powf(skew);
        let grid: Vec<(f64, f64)> = (0..40_000)
            .map(|i| {
                let score = score((f64::from(i) + 0.5) / 40_000.0);
                (score, error_at(score))
            })
            .collect();
        let rounds = 600;
        let mut broken = 0;
        for _ in 0..rounds {
            let evidence: Vec<Evidence> = (0..rows)
                .map(|_| {
                    let score = score(uniform.next());
                    Evidence { probability: Some(score as f32), correct: uniform.next() >= error_at(score) }
                })
                .collect();
            if let Certification::Certified { threshold, .. } = certify(&evidence, alpha, 1.0 - delta) {
                let above = grid.iter().filter(|(score, _)| *score >= f64::from(threshold));
                let (sum, count) = above.fold((0.0, 0), |(sum, count), (_, error)| (sum + error, count + 1));
                broken += usize::from(sum / f64::from(count.max(1)) > alpha);
            }
        }
        broken as f64 / f64::from(rounds)
    }

    #[test]
    fn the_bound_holds_at_its_stated_rate_on_simulated_scores() {
        // Each law is a different student: calibrated, overconfident at the top, flat just above the bound,
        // and wrong most often where it is most confident. Three standard errors above 5 % is 7.7 % at 600
        // rounds.
        let (alpha, delta) = (0.05, 0.05);
        type Law = fn(f64) -> f64;
        let laws: [(&str, Law); 4] = [
            ("calibrated", |p| 1.0 - p),
            ("overconfident", |p| 0.02 + 0.5 * (1.0 - p)),
            ("flat above the bound", |_| 0.0501),
            ("worst at the top", |p| if p > 0.97 { 0.07 } else { 0.03 }),
        ];
        for (name, law) in laws {
            for (seed, rows, skew) in [(1, 300, 1.0), (2, 1000, 2.0), (3, 1000, 4.0)] {
                let share = broken_share(seed, rows, alpha, delta, skew, law);
                assert!(share <= delta + 3.0 * (delta * (1.0 - delta) / 600.0_f64).sqrt(), "{name}: {share}");
            }
        }
    }

    #[test]
    fn testing_without_the_correction_would_break_the_bound() {
        // The positive control: the loosest threshold whose plain error rate is at most α breaks the bound
        // far more often than δ, so the simulation above can tell a valid method from an invalid one.
        let mut uniform = Uniform(9);
        let mut broken = 0;
        for _ in 0..400 {
            let errors = (0..300).filter(|_| uniform.next() < 0.0501).count();
            broken += usize::from(errors as f64 / 300.0 <= 0.05);
        }
        assert!(broken > 100, "{broken}");
    }

    proptest! {
        #[test]
        fn what_is_certified_always_passes_its_own_test(
            rows in prop::collection::vec((0.0_f32..=1.0, prop::bool::weighted(0.97)), 0..600),
            alpha in 0.01_f64..0.3,
        ) {
            let evidence: Vec<Evidence> = rows
                .into_iter()
                .map(|(probability, correct)| Evidence { probability: Some(probability), correct })
                .collect();
            if let Certification::Certified { threshold, accepted, errors } = certify(&evidence, alpha, 0.95) {
                let above: Vec<_> = evidence.iter().filter(|row| row.probability >= Some(threshold)).collect();
                prop_assert_eq!(above.len() as u64, accepted);
                prop_assert_eq!(above.iter().filter(|row| !row.correct).count() as u64, errors);
                prop_assert!(binomial_cdf(errors, accepted, alpha) <= 0.05);
            }
        }
    }
}
