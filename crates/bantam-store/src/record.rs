//! How fast a model ran on this machine, as it was measured.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{StoreError, StoreErrorKind};
use crate::files;
use crate::store::{Entry, Store};

/// Measurements of one model that are kept.
const KEPT: usize = 16;

/// One measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    /// Seconds since 1970.
    pub at_s: u64,
    /// Threads that computed.
    pub threads: usize,
    /// Tokens of prompts a second.
    pub prefill_tokens_per_s: f64,
    /// Tokens of one answer a second.
    pub decode_tokens_per_s: f64,
    /// What measured it, such as `bench` or `run`.
    pub by: String,
}

impl Store {
    /// Keeps a measurement of a model; the oldest of many is dropped.
    pub fn record(&self, entry: &Entry, measurement: Measurement) -> Result<(), StoreError> {
        let path = self.record_path(entry);
        let mut all = self.measurements(entry);
        all.push(measurement);
        all.drain(..all.len().saturating_sub(KEPT));
        let json = serde_json::to_vec_pretty(&all).map_err(|error| StoreError {
            what: "write",
            path: path.clone(),
            kind: StoreErrorKind::Manifest(error),
        })?;
        files::write_whole(&path, &json).map_err(StoreError::at("write", &path))
    }

    /// Returns what was measured of a model, oldest first. A record that cannot be read is none: it is no part of
    /// the model.
    pub fn measurements(&self, entry: &Entry) -> Vec<Measurement> {
        let bytes = std::fs::read(self.record_path(entry)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    fn record_path(&self, entry: &Entry) -> PathBuf {
        self.root.join("measured").join(format!("{}.json", entry.manifest.digest()))
    }
}
