//! Settings for training a linear student.

use serde::{Deserialize, Serialize};

/// Settings of one training run; [`LinearConfig::recommended`] returns validated values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinearConfig {
    /// Inverse regularisation strength (scikit-learn's `C`): higher values fit the training rows more closely.
    pub cost: f32,
    /// Weight of the word n-grams.
    pub word_weight: f32,
    /// Weight of the character n-grams.
    pub char_weight: f32,
    /// The fewest rows that must contain an n-gram; rarer ones are ignored.
    pub document_rows_min: u32,
    /// The most n-grams kept, the most frequent first. Bounds the student's size: each costs 16 bytes plus one byte per
    /// label.
    pub features_max: usize,
    /// Number of cross-validation folds; calibration and the report use the held-out predictions.
    pub folds: usize,
    /// The most passes over the rows per model.
    pub passes_max: usize,
    /// Fitting stops when a pass changes a row's probabilities by less than this, summed over labels, on average.
    pub tolerance: f32,
    /// The label that means out of scope, if rows carry it.
    pub out_of_scope_label: String,
    /// Share of correctly labelled in-scope rows that the out-of-scope threshold may flag.
    pub out_of_scope_share: f64,
    /// Decides the order of rows and which row is in which fold.
    pub seed: u64,
    /// The most threads. Any number gives the same student, byte for byte, so it is not recorded.
    #[serde(skip, default = "one")]
    pub threads: usize,
}

impl LinearConfig {
    /// Returns settings validated on intent data with 7 to 151 labels.
    pub fn recommended() -> Self {
        Self {
            cost: 12.0,
            word_weight: 1.0,
            char_weight: 1.0,
            document_rows_min: 2,
            features_max: 200_000,
            folds: 5,
            passes_max: 100,
            tolerance: 0.005,
            out_of_scope_label: "oos".to_owned(),
            out_of_scope_share: 0.03,
            seed: 7,
            threads: 2,
        }
    }

    /// Returns the name and allowed range of the first invalid setting.
    pub(crate) fn fault(&self) -> Option<(&'static str, &'static str)> {
        let positive = |value: f32| value.is_finite() && value > 0.0;
        let checks = [
            (positive(self.cost) && self.cost <= 1e6, "cost", "above 0 and at most 1e6"),
            (
                positive(self.word_weight) && self.word_weight <= 100.0,
                "word_weight",
                "above 0 and at most 100",
            ),
            (
                positive(self.char_weight) && self.char_weight <= 100.0,
                "char_weight",
                "above 0 and at most 100",
            ),
            (self.document_rows_min >= 1, "document_rows_min", "at least 1"),
            ((1..=FEATURES_MAX).contains(&self.features_max), "features_max", "from 1 to 4,000,000"),
            ((2..=20).contains(&self.folds), "folds", "from 2 to 20"),
            ((1..=10_000).contains(&self.passes_max), "passes_max", "from 1 to 10,000"),
            (self.tolerance > 0.0 && self.tolerance < 1.0, "tolerance", "above 0 and below 1"),
            ((0.0..1.0).contains(&self.out_of_scope_share), "out_of_scope_share", "at least 0 and below 1"),
            ((1..=256).contains(&self.threads), "threads", "from 1 to 256"),
        ];
        checks.into_iter().find(|(fine, _, _)| !fine).map(|(_, name, range)| (name, range))
    }
}

/// The most n-grams that a student can hold.
pub(crate) const FEATURES_MAX: usize = 4_000_000;

fn one() -> usize {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recommended_settings_are_valid() {
        assert_eq!(LinearConfig::recommended().fault(), None);
    }

    #[test]
    fn names_an_invalid_setting() {
        let check = |change: fn(&mut LinearConfig), name| {
            let mut config = LinearConfig::recommended();
            change(&mut config);
            assert_eq!(config.fault().map(|(name, _)| name), Some(name));
        };
        check(|config| config.cost = f32::NAN, "cost");
        check(|config| config.folds = 1, "folds");
        check(|config| config.threads = 0, "threads");
        check(|config| config.tolerance = f32::NAN, "tolerance");
    }
}
