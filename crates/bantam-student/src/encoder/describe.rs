//! The description in an encoder student's file.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::adapter::AdapterDescription;
use super::config::EncoderConfig;
use super::identity::BaseIdentity;
use crate::linear::TrainingReport;
use crate::seen::SeenTexts;

/// Where a student comes from, its base, and its results on held-out rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EncoderDescription {
    /// Program and version that trained it.
    pub created_by: String,
    /// The base, whose weights are not in the file.
    pub base: BaseIdentity,
    /// The base's path when the student was saved, relative to the folder of the student's file.
    pub base_path: PathBuf,
    /// The base's adapter, if the base was tuned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter: Option<Box<AdapterDescription>>,
    /// Every label it can answer with, in byte order.
    pub labels: Vec<String>,
    /// The settings it was trained with.
    pub config: EncoderConfig,
    /// What training measured.
    pub report: TrainingReport,
    /// SHA-256 of the training rows, in order, as hexadecimal digits.
    pub data_hash: String,
    /// Hashes of the training texts, so that they are not used for certification by mistake.
    pub seen: SeenTexts,
}
