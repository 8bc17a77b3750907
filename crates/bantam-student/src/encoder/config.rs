//! What can be set about training an encoder student.

use serde::{Deserialize, Serialize};

use crate::linear::LinearConfig;

/// What an encoder student looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Features {
    /// The base's vector alone.
    Dense,
    /// The base's vector beside the n-grams of a linear student.
    Joined,
}

/// Settings of one training run; [`EncoderConfig::recommended`] holds values that were validated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EncoderConfig {
    /// What it looks at.
    pub features: Features,
    /// Length of the vectors, on average and from their mean, against blocks of n-grams of their weights' length.
    pub dense_weight: f32,
    /// What is set as for a linear student.
    #[serde(flatten)]
    pub linear: LinearConfig,
}

impl EncoderConfig {
    /// Settings that held up on intent data of 77 and 151 labels.
    pub fn recommended(features: Features) -> Self {
        let linear = LinearConfig { cost: 8.0, ..LinearConfig::recommended() };
        Self { features, dense_weight: 2.0, linear }
    }

    /// The first setting that makes no sense, as its name and what it must be.
    pub(crate) fn fault(&self) -> Option<(&'static str, &'static str)> {
        let fine = self.dense_weight > 0.0 && self.dense_weight <= 100.0;
        if fine { None } else { Some(("dense_weight", "above 0 and at most 100")) }
    }
}
