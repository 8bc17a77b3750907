//! What an encoder student's file says about itself.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::adapter::AdapterDescription;
use super::config::EncoderConfig;
use super::identity::BaseIdentity;
use crate::linear::TrainingReport;
use crate::seen::SeenTexts;

/// Where a student comes from, on which base it stands, and how well it did on rows it had not seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EncoderDescription {
    /// Program and version that trained it.
    pub created_by: String,
    /// The base, whose weights are not in the file.
    pub base: BaseIdentity,
    /// Where the base lay when the student was saved, seen from the folder of the student's file.
    pub base_path: PathBuf,
    /// How the base was changed; nothing where it is as it was.
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
    /// Hashes of the training texts, so that nobody certifies on them by mistake.
    pub seen: SeenTexts,
}
