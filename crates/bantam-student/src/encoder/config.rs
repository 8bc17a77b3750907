//! Settings for training an encoder student.

use serde::{Deserialize, Serialize};

use crate::linear::LinearConfig;

/// The features of an encoder student.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Features {
    /// The base's vector alone.
    Dense,
    /// The base's vector and the n-grams of a linear student.
    Joined,
}

/// Settings of one training run; [`EncoderConfig::recommended`] returns validated values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EncoderConfig {
    /// The features.
    pub features: Features,
    /// The root-mean-square length to which centred vectors are scaled, compared with the weights of the n-gram blocks.
    pub dense_weight: f32,
    /// The settings shared with a linear student.
    #[serde(flatten)]
    pub linear: LinearConfig,
}

impl EncoderConfig {
    /// Returns settings validated on intent data with 77 and 151 labels.
    pub fn recommended(features: Features) -> Self {
        let linear = LinearConfig { cost: 8.0, ..LinearConfig::recommended() };
        Self { features, dense_weight: 2.0, linear }
    }

    /// Returns the name and allowed range of the first invalid setting.
    pub(crate) fn fault(&self) -> Option<(&'static str, &'static str)> {
        let fine = self.dense_weight > 0.0 && self.dense_weight <= 100.0;
        if fine { None } else { Some(("dense_weight", "above 0 and at most 100")) }
    }
}
