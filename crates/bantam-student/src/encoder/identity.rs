//! Which base an encoder student was trained on, to the byte.

use bantam_engine::{Pooling, Precision};
use serde::{Deserialize, Serialize};

/// How token states become one vector; what a student's file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BasePooling {
    /// The mean of all tokens.
    Mean,
    /// The first token.
    Cls,
}

/// What the base computes in; what a student's file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BasePrecision {
    /// As trained.
    F32,
    /// Bytes, at a third of the time and a quarter of the memory.
    Int8,
}

/// Everything about a base that its vectors depend on. A student's numbers mean nothing on vectors of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseIdentity {
    /// What the model calls itself, for people; two bases may differ in this alone and be the same.
    pub name: String,
    /// SHA-256 of the weights.
    pub weights_sha256: String,
    /// SHA-256 of `config.json`.
    pub config_sha256: String,
    /// SHA-256 of `tokenizer.json`.
    pub tokenizer_sha256: String,
    /// How token states become one vector.
    pub pooling: BasePooling,
    /// What it computes in.
    pub precision: BasePrecision,
    /// Tokens of a text that are read, the special ones included.
    pub tokens_max: u32,
    /// Numbers of a vector.
    pub width: u32,
}

impl BaseIdentity {
    /// The first part in which the base found is not the one meant: its name, what was meant, what was found.
    pub(crate) fn difference<'a>(&'a self, found: &'a Self) -> Option<(&'static str, &'a str, &'a str)> {
        let parts = [
            ("weights", &self.weights_sha256, &found.weights_sha256),
            ("config.json", &self.config_sha256, &found.config_sha256),
            ("tokenizer.json", &self.tokenizer_sha256, &found.tokenizer_sha256),
        ];
        let different = parts.into_iter().find(|(_, meant, found)| meant != found);
        different.map(|(what, meant, found)| (what, meant.as_str(), found.as_str()))
    }

    /// Returns whether both give the same vector for every text.
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
