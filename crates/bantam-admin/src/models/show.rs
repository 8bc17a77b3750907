//! Which models there are, and what each is.

use std::path::PathBuf;

use bantam_jobs::FailureReason;
use bantam_store::{Entry, Measurement, ModelDescription, ModelKind, Origin, Store, StoreError, StoredFile};
use bantam_types::with_causes;
use serde::Serialize;

use super::find::{FindModelError, find_model};
use crate::error::UseCaseError;
use crate::text::{bytes_text, parameters_text};

/// A model of the store, in a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelSummary {
    /// Its name, with its tag.
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
}

impl ModelSummary {
    pub(crate) fn of(entry: &Entry) -> Self {
        let manifest = &entry.manifest;
        Self {
            name: entry.name.to_string(),
            digest: manifest.digest().to_string(),
            bytes: manifest.bytes(),
            path: entry.path.clone(),
            added_s: manifest.added_s,
            about: manifest.about.clone(),
            origin: manifest.origin.clone(),
        }
    }
}

/// Everything that has a name in the store.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelList {
    /// The models, by name.
    pub models: Vec<ModelSummary>,
    /// Names whose models cannot be read.
    pub damaged: Vec<DamagedModel>,
    /// Bytes of downloads that broke off.
    pub unfinished_bytes: u64,
    /// The store's folder.
    pub store: PathBuf,
}

/// A name whose model cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DamagedModel {
    /// The name.
    pub name: String,
    /// What is wrong.
    pub reason: String,
}

/// A model of the store, with all that is known of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModelDetails {
    /// Its name, with its tag.
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
    /// Its files.
    pub files: Vec<StoredFile>,
    /// How fast it ran on this machine, oldest measurement first.
    pub measured: Vec<Measurement>,
}

impl ModelDetails {
    /// Returns what is known of the model as facts for people, each with its name.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let Self { about, .. } = self;
        let mut facts = vec![
            ("name", self.name.clone()),
            ("kind", format!("{} ({})", about.kind.noun(), about.architecture)),
            ("parameters", parameters_text(about.parameters)),
            ("quantisation", about.quantisation.clone()),
            ("size", bytes_text(self.bytes)),
            ("context", format!("{} tokens", about.context_tokens)),
        ];
        if about.kind == ModelKind::Decoder {
            let template =
                if about.has_template { "its own" } else { "none: messages are joined as they are" };
            facts.push(("chat template", template.to_owned()));
        }
        facts.extend([
            ("from", self.origin.to_string()),
            ("digest", self.digest.clone()),
            ("path", self.path.display().to_string()),
        ]);
        facts.extend(self.measured.last().map(|last| {
            let (prefill, decode) = (last.prefill_tokens_per_s, last.decode_tokens_per_s);
            let speed = format!("{decode:.0} tokens/s, prompts {prefill:.0} tokens/s");
            ("measured", format!("{speed}, {} threads ({})", last.threads, last.by))
        }));
        let files = self.files.iter();
        facts.extend(files.map(|file| ("file", format!("{}  {}", file.path, bytes_text(file.bytes)))));
        facts
    }
}

/// Why the models cannot be listed.
#[derive(Debug, thiserror::Error)]
#[error("cannot list the models")]
pub struct ListModelsError(#[from] StoreError);

impl UseCaseError for ListModelsError {
    fn reason(&self) -> FailureReason {
        FailureReason::Failed
    }

    fn hint(&self) -> Option<String> {
        Some("check that the store's folder may be read".to_owned())
    }
}

/// Returns everything that has a name in the store.
///
/// # Errors
/// When the store cannot be read.
pub fn list_models(store: &Store) -> Result<ModelList, ListModelsError> {
    let listing = store.list()?;
    let damaged = listing.damaged.iter();
    Ok(ModelList {
        models: listing.models.iter().map(ModelSummary::of).collect(),
        damaged: damaged
            .map(|(name, error)| DamagedModel { name: name.to_string(), reason: with_causes(error) })
            .collect(),
        unfinished_bytes: store.unfinished_bytes(),
        store: store.root().to_owned(),
    })
}

/// Returns all that is known of a model.
///
/// # Errors
/// When there is no such model.
pub fn show_model(store: &Store, text: &str) -> Result<ModelDetails, FindModelError> {
    let entry = find_model(store, text)?;
    let ModelSummary { name, digest, bytes, path, added_s, about, origin } = ModelSummary::of(&entry);
    let (files, measured) = (entry.manifest.files.clone(), store.measurements(&entry));
    Ok(ModelDetails { name, digest, bytes, path, added_s, about, origin, files, measured })
}
