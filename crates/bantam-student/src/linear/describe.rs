//! The description in a linear student's file.

use serde::{Deserialize, Serialize};

use super::config::LinearConfig;
use crate::seen::SeenTexts;

/// Where a student comes from, and its results on held-out rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// Program and version that trained it.
    pub created_by: String,
    /// Every label it can answer with, in byte order.
    pub labels: Vec<String>,
    /// The settings it was trained with.
    pub config: LinearConfig,
    /// What training measured.
    pub report: TrainingReport,
    /// SHA-256 of the training rows, in order, as hexadecimal digits.
    pub data_hash: String,
    /// Hashes of the training texts, so that they are not used for certification by mistake.
    pub seen: SeenTexts,
}

/// What training measured. The `held_out_` figures come from cross-validation, so they are slightly pessimistic
/// estimates of the results on new texts like these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingReport {
    /// Rows trained on.
    pub rows: u64,
    /// Number of labels.
    pub labels: u64,
    /// N-grams kept.
    pub features: u64,
    /// Share of rows labelled correctly.
    pub held_out_accuracy: f64,
    /// Expected calibration error over 15 bins.
    pub held_out_calibration_error: f64,
    /// Share of rows, most confident first, that could be accepted with 2 % of them wrong.
    pub held_out_accepted_at_2_percent_error: f64,
    /// Mean negative log-likelihood of the right label, in nats.
    pub held_out_loss: f64,
    /// Logits are divided by this.
    pub temperature: f32,
    /// A text whose best in-scope label has a lower probability is out of scope.
    pub scope_threshold: f32,
    /// Passes over the rows for the final model.
    pub passes: u64,
    /// Whether the final model reached its tolerance within the allowed passes.
    pub converged: bool,
}
