//! Models that lose their names, or go to another machine.

use std::path::{Path, PathBuf};

use bantam_jobs::{FailureReason, JobContext};
use bantam_store::{BundleError, Entry, Store, StoreError};
use serde::{Deserialize, Serialize};

use super::add::Bytes;
use super::find::{FindModelError, model_name};
use crate::error::UseCaseError;

/// Models that were removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RemovedModels {
    /// The models.
    pub removed: Vec<RemovedModel>,
    /// Bytes of downloads that had broken off and were deleted.
    pub unfinished_bytes: u64,
}

/// A model that was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RemovedModel {
    /// Its name.
    pub name: String,
    /// Bytes that nothing needs any more and that were deleted.
    pub freed_bytes: u64,
}

/// Removes models by their names, each before the next; `told` hears of each. Downloads that broke off are deleted too
/// where `unfinished` says so.
///
/// # Errors
/// When there is no such model. Those before it are removed.
pub fn remove_models(
    store: &Store,
    names: &[String],
    unfinished: bool,
    told: &mut dyn FnMut(&RemovedModel),
) -> Result<RemovedModels, FindModelError> {
    let names = names.iter().map(|text| model_name(text)).collect::<Result<Vec<_>, _>>()?;
    let mut all = RemovedModels::default();
    for name in &names {
        let gone = store.remove(name)?;
        let gone = RemovedModel { name: gone.name.to_string(), freed_bytes: gone.freed_bytes };
        told(&gone);
        all.removed.push(gone);
    }
    if unfinished {
        all.unfinished_bytes =
            store.remove_unfinished().map_err(|error: StoreError| FindModelError::Resolve(error.into()))?;
    }
    Ok(all)
}

/// A bundle that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportedBundle {
    /// The file.
    pub bundle: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// The models in it.
    pub models: Vec<String>,
}

/// Why a bundle was not written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", .path.display())]
pub struct ExportModelsError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: Box<BundleError>,
}

impl UseCaseError for ExportModelsError {
    fn reason(&self) -> FailureReason {
        FailureReason::Failed
    }

    fn hint(&self) -> Option<String> {
        Some("check the path, and that its disk has room".to_owned())
    }
}

/// Writes models to one file, which is whole or not there. Reports bytes as progress.
///
/// # Errors
/// When the file cannot be written, or a model cannot be read.
pub fn export_models(
    store: &Store,
    entries: &[Entry],
    target: &Path,
    context: &JobContext,
) -> Result<ExportedBundle, ExportModelsError> {
    let mut progress = Bytes::new(context, entries.iter().map(|entry| entry.manifest.bytes()).sum());
    store
        .export(entries, target, &mut |bytes| progress.advance(bytes))
        .map_err(|error| ExportModelsError { path: target.to_owned(), source: Box::new(error) })?;
    Ok(ExportedBundle {
        bundle: target.to_owned(),
        bytes: std::fs::metadata(target).map_or(0, |file| file.len()),
        models: entries.iter().map(|entry| entry.name.to_string()).collect(),
    })
}
