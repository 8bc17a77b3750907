//! Models that get a name: imported from files, or copied.

use std::path::{Path, PathBuf};

use bantam_jobs::{FailureReason, JobContext, JobProgress};
use bantam_store::{
    Added, BundleError, ImportError, InspectError, ModelDescription, ModelName, Origin, ResolveError, Store,
    is_bundle,
};
use serde::{Deserialize, Serialize};

use super::find::{FindModelError, model_name};
use super::show::ModelSummary;
use crate::error::UseCaseError;
use crate::text::bytes_text;

/// A model that got a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AddedModel {
    /// The name, with its tag.
    pub name: String,
    /// Names all its files together.
    pub digest: String,
    /// Bytes of all its files.
    pub bytes: u64,
    /// What an engine opens.
    pub path: PathBuf,
    /// When it entered the store, in seconds since 1970.
    pub added_s: u64,
    /// What it is.
    pub about: ModelDescription,
    /// Where it came from.
    pub origin: Origin,
    /// Whether the store had all of it already.
    pub was_there: bool,
    /// Whether the name stood for another model before.
    pub has_replaced: bool,
}

impl AddedModel {
    /// Returns in words what the model is, and how it got its name.
    pub fn summary(&self) -> String {
        let state = match (self.was_there, self.has_replaced) {
            (true, _) => "was there already",
            (_, true) => "takes the place of what had its name",
            _ => "is ready",
        };
        let Self { name, about, bytes, .. } = self;
        let size = bytes_text(*bytes);
        format!("{name}  {}, {}, {size}: {state}", about.architecture, about.quantisation)
    }

    pub(crate) fn of(added: &Added) -> Self {
        let ModelSummary { name, digest, bytes, path, added_s, about, origin } =
            ModelSummary::of(&added.entry);
        let (was_there, has_replaced) = (added.was_there, added.has_replaced);
        Self { name, digest, bytes, path, added_s, about, origin, was_there, has_replaced }
    }
}

/// Why a model did not get a name. The store is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddModelError {
    /// The name cannot be used.
    #[error(transparent)]
    Name(#[from] FindModelError),
    /// No name can be made from the file's.
    #[error("cannot make a model's name from {}", .path.display())]
    FileName {
        /// The file.
        path: PathBuf,
    },
    /// A bundle was to get a name, and has names of its own.
    #[error("a bundle already names its models")]
    BundleName,
    /// The file cannot be imported.
    #[error("cannot import {}", .path.display())]
    Import {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<ImportError>,
    },
    /// The bundle cannot be imported.
    #[error("cannot import {}", .path.display())]
    Bundle {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<BundleError>,
    },
    /// The model cannot get a second name.
    #[error("cannot copy the model")]
    Copy(#[source] Box<ImportError>),
}

impl UseCaseError for AddModelError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Name(error) => error.reason(),
            Self::FileName { .. } | Self::BundleName => FailureReason::Invalid,
            Self::Import { source, .. } | Self::Copy(source) => reason_of_import(source),
            Self::Bundle { source, .. } => match &**source {
                BundleError::Import { source: ImportError::Exists { .. }, .. } => FailureReason::Invalid,
                _ => FailureReason::Failed,
            },
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Name(error) => return error.hint(),
            Self::FileName { .. } => "say what to call it",
            Self::BundleName => "import it without a name, and copy the model to the name you want",
            Self::Import { source, .. } | Self::Copy(source) => return Some(source.hint()),
            Self::Bundle { source, .. } => match &**source {
                BundleError::Import { source, .. } => return Some(source.hint()),
                BundleError::Damaged { .. } | BundleError::Hash { .. } => {
                    "copy the bundle again, or export it again"
                }
                _ => "check that the bundle may be read, and that the disk has room",
            },
        };
        Some(text.to_owned())
    }
}

pub(crate) fn reason_of_import(error: &ImportError) -> FailureReason {
    match error {
        ImportError::Resolve(ResolveError::Store(_)) => FailureReason::Failed,
        ImportError::Resolve(_) | ImportError::Inspect(InspectError::Missing { .. }) => {
            FailureReason::NotFound
        }
        ImportError::Name(_) | ImportError::Exists { .. } => FailureReason::Invalid,
        _ => FailureReason::Failed,
    }
}

/// Takes in a model from a GGUF file or a folder, or all models of a bundle. Without a name, a model is called after its
/// file. Reports bytes as progress.
///
/// # Errors
/// When a model could not run here, or its name stands for another model, unless it `replaces` that one.
pub fn import_model(
    store: &Store,
    path: &Path,
    name: Option<&str>,
    replaces: bool,
    context: &JobContext,
) -> Result<Vec<AddedModel>, AddModelError> {
    let mut progress = Bytes::new(context, size(path));
    if is_bundle(path) {
        if name.is_some() {
            return Err(AddModelError::BundleName);
        }
        let added = store
            .import_bundle(path, replaces, &mut |bytes| progress.advance(bytes))
            .map_err(|error| AddModelError::Bundle { path: path.to_owned(), source: Box::new(error) })?;
        return Ok(added.iter().map(AddedModel::of).collect());
    }
    let name = match name {
        Some(text) => model_name(text)?,
        None => name_of(path)?,
    };
    let added = store
        .import(path, &name, replaces, &mut |bytes| progress.advance(bytes))
        .map_err(|error| AddModelError::Import { path: path.to_owned(), source: Box::new(error) })?;
    Ok(vec![AddedModel::of(&added)])
}

/// Gives a model a second name.
///
/// # Errors
/// When there is no such model, or the new name stands for another one.
pub fn copy_model(store: &Store, from: &str, to: &str) -> Result<AddedModel, AddModelError> {
    let copied = store.copy(&model_name(from)?, &model_name(to)?);
    let added = copied.map_err(|error| AddModelError::Copy(Box::new(error)))?;
    Ok(AddedModel::of(&added))
}

/// Bytes that are copied, as a job's progress.
pub(crate) struct Bytes<'c> {
    context: &'c JobContext,
    progress: JobProgress,
}

impl<'c> Bytes<'c> {
    pub(crate) fn new(context: &'c JobContext, total: u64) -> Self {
        let progress = JobProgress { total: Some(total), unit: "bytes".to_owned(), ..JobProgress::default() };
        context.progress(progress.clone());
        Self { context, progress }
    }

    pub(crate) fn advance(&mut self, bytes: u64) {
        self.progress.done += bytes;
        self.context.progress(self.progress.clone());
    }
}

/// Makes a model's name of a file's.
fn name_of(path: &Path) -> Result<ModelName, AddModelError> {
    let whole = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = whole.strip_suffix(".gguf").unwrap_or(&whole);
    let letters = |letter: char| {
        if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '-' }
    };
    let made: String = stem.chars().map(letters).collect();
    made.trim_matches(['.', '-']).parse().map_err(|_| AddModelError::FileName { path: path.to_owned() })
}

fn size(path: &Path) -> u64 {
    let Ok(about) = std::fs::metadata(path) else { return 0 };
    if !about.is_dir() {
        return about.len();
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .filter(std::fs::Metadata::is_file)
        .map(|file| file.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_s_name_becomes_a_model_s() {
        for (path, expected) in [("/a/Qwen3-0.6B-Q8_0.gguf", "Qwen3-0.6B-Q8_0"), ("x y(1).gguf", "x-y-1")] {
            assert_eq!(name_of(Path::new(path)).unwrap().to_string(), expected);
        }
        assert!(name_of(Path::new("/")).is_err());
    }
}
