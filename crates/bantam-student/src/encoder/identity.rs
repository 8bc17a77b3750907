//! Identifies the exact base that an encoder student was trained on.

use bantam_engine::{Pooling, Precision};
use serde::{Deserialize, Serialize};

/// How token states are pooled into one vector, as stored in a student's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BasePooling {
    /// The mean of all tokens.
    Mean,
    /// The first token.
    Cls,
}

/// The precision that the base computes in, as stored in a student's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BasePrecision {
    /// 32-bit floats, as trained.
    F32,
    /// 8-bit integers, which take a third of the time and a quarter of the memory.
    Int8,
}

/// Everything that a base's vectors depend on. A student's weights are meaningless for the vectors of another base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseIdentity {
    /// The model's own name, for display. Bases that differ only in their names are the same.
    pub name: String,
    /// SHA-256 of the weights.
    pub weights_sha256: String,
    /// SHA-256 of `config.json`.
    pub config_sha256: String,
    /// SHA-256 of `tokenizer.json`.
    pub tokenizer_sha256: String,
    /// How token states are pooled into one vector.
    pub pooling: BasePooling,
    /// The precision that it computes in.
    pub precision: BasePrecision,
    /// The most tokens of a text that are read, including the special ones.
    pub tokens_max: u32,
    /// The length of its vectors.
    pub width: u32,
}

impl BaseIdentity {
    /// Returns the first part in which `found` differs: its name, the expected hash and the found hash.
    pub(crate) fn difference<'a>(&'a self, found: &'a Self) -> Option<(&'static str, &'a str, &'a str)> {
        let parts = [
            ("weights", &self.weights_sha256, &found.weights_sha256),
            ("config.json", &self.config_sha256, &found.config_sha256),
            ("tokenizer.json", &self.tokenizer_sha256, &found.tokenizer_sha256),
        ];
        let different = parts.into_iter().find(|(_, expected, found)| expected != found);
        different.map(|(what, expected, found)| (what, expected.as_str(), found.as_str()))
    }

    /// Returns whether both bases give the same vector for every text.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        *self == Self { name: self.name.clone(), ..other.clone() }
    }
}

impl From<BasePooling> for Pooling {
    fn from(pooling: BasePooling) -> Self {
        match pooling {
            BasePooling::Mean => Self::Mean,
            BasePooling::Cls => Self::Cls,
        }
    }
}

impl From<BasePrecision> for Precision {
    fn from(precision: BasePrecision) -> Self {
        match precision {
            BasePrecision::F32 => Self::F32,
            BasePrecision::Int8 => Self::Int8,
        }
    }
}
