//! Records how fast each model ran on this machine.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{StoreError, StoreErrorKind};
use crate::files;
use crate::store::{Entry, Store};

/// Measurements kept per model.
const MEASUREMENTS_KEPT: usize = 16;

/// One measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    /// Seconds since 1970.
    pub at_s: u64,
    /// Number of compute threads.
    pub threads: usize,
    /// Prompt tokens processed per second.
    pub prefill_tokens_per_s: f64,
    /// Tokens generated per second in one answer.
    pub decode_tokens_per_s: f64,
    /// The command that measured it, such as `bench` or `run`.
    pub by: String,
}

impl Store {
    /// Records a measurement of a model, and drops the oldest if there are too many.
    pub fn record(&self, entry: &Entry, measurement: Measurement) -> Result<(), StoreError> {
        let path = self.record_path(entry);
        let mut all = self.measurements(entry);
        all.push(measurement);
        all.drain(..all.len().saturating_sub(MEASUREMENTS_KEPT));
        let json = serde_json::to_vec_pretty(&all).map_err(|error| StoreError {
            what: "write",
            path: path.clone(),
            kind: StoreErrorKind::Manifest(error),
        })?;
        files::write_whole(&path, &json).map_err(StoreError::at("write", &path))
    }

    /// Returns the measurements of a model, oldest first. An unreadable record counts as empty: it is not part of the
    /// model.
    pub fn measurements(&self, entry: &Entry) -> Vec<Measurement> {
        let bytes = std::fs::read(self.record_path(entry)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    fn record_path(&self, entry: &Entry) -> PathBuf {
        self.root.join("measured").join(format!("{}.json", entry.manifest.digest()))
    }
}
