//! What can be set about training.

use serde::{Deserialize, Serialize};

/// Settings of one training run; [`LinearConfig::recommended`] holds values that were validated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinearConfig {
    /// Inverse regularisation strength (scikit-learn's `C`): higher follows the training rows more closely.
    pub cost: f32,
    /// Weight of the block of word n-grams against the other.
    pub word_weight: f32,
    /// Weight of the block of character n-grams against the other.
    pub char_weight: f32,
    /// Rows that must hold an n-gram for it to count; rarer ones are ignored.
    pub document_rows_min: u32,
    /// N-grams kept at most, the most frequent first. Bounds the student's size: each costs 16 bytes and one byte
    /// per label.
    pub features_max: usize,
    /// Parts the rows are cut into for held-out predictions; calibration and the report rest on those.
    pub folds: usize,
    /// Passes over the rows at most, per model.
    pub passes_max: usize,
    /// Fitting stops when a pass moves a row's probabilities by less than this, in sum, on average.
    pub tolerance: f32,
    /// The label that means "none of the others", if rows carry it.
    pub out_of_scope_label: String,
    /// Share of rightly labelled in-scope rows that the out-of-scope threshold may flag.
    pub out_of_scope_share: f64,
    /// Decides which row falls into which fold.
    pub seed: u64,
    /// Threads at most. Any number gives the same student, byte for byte, so it is not recorded.
    #[serde(skip, default = "one")]
    pub threads: usize,
}

impl LinearConfig {
    /// Settings that held up on intent data of 7 to 151 labels.
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

    /// The first setting that makes no sense, as its name and what it must be.
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

/// N-grams a student can hold.
pub(crate) const FEATURES_MAX: usize = 4_000_000;

fn one() -> usize {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recommended_settings_are_sound() {
        assert_eq!(LinearConfig::recommended().fault(), None);
    }

    #[test]
    fn names_the_setting_that_is_off() {
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
