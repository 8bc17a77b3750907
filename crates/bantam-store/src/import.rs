//! Imports a model from a file or folder of the user.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::about::{InspectError, PickleError, inspect, refuse_pickle};
use crate::change::{Added, StagingFolder};
use crate::error::StoreError;
use crate::files;
use crate::manifest::{Origin, StoredFile};
use crate::name::{ModelName, ParseNameError};
use crate::space::{RESERVE_BYTES, free_bytes};
use crate::store::{ResolveError, Store};

/// Files of a folder that belong to a model; others are ignored.
pub(crate) const MODEL_FILES: [&str; 15] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "vocab.txt",
    "model.safetensors.index.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
    "README.md",
];

/// Why a model did not enter the store. The store is unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The model cannot run here.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// The name stands for another model.
    #[error("another model is already named `{name}`")]
    Exists {
        /// The name.
        name: Box<ModelName>,
    },
    /// Another process removed the model right after it was added.
    #[error("the model `{name}` was removed while it was being added")]
    Lost {
        /// The name.
        name: Box<ModelName>,
    },
    /// The disk has not enough free space.
    #[error("the model needs {needed} bytes, but the disk of {} has only {free} free", .root.display())]
    NoRoom {
        /// Bytes of the model plus a reserve.
        needed: u64,
        /// Free bytes.
        free: u64,
        /// The store's folder.
        root: PathBuf,
    },
    /// A file could not be read.
    #[error("read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The name is not valid.
    #[error(transparent)]
    Name(#[from] ParseNameError),
    /// The model to copy could not be found.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The store could not be changed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<PickleError> for ImportError {
    fn from(error: PickleError) -> Self {
        InspectError::from(error).into()
    }
}

impl ImportError {
    /// Returns the next step for the user.
    pub fn hint(&self) -> String {
        match self {
            Self::Inspect(error) => error.hint().to_owned(),
            Self::Exists { name } => {
                format!("choose another name, or remove `{name}` first")
            }
            Self::Lost { .. } => "import it again".to_owned(),
            Self::NoRoom { needed, free, .. } => format!(
                "free {} MB, or set `store.path` to another disk",
                needed.saturating_sub(*free).div_ceil(1_000_000)
            ),
            Self::Read { .. } => "check the file's permissions".to_owned(),
            Self::Name(_) => "write NAME or NAME:TAG".to_owned(),
            Self::Resolve(error) => error.hint(),
            Self::Store(error) if error.is_full() => {
                "free some space, or set `store.path` to another disk".to_owned()
            }
            Self::Store(_) => "check that the store's folder is writable".to_owned(),
        }
    }
}

impl Store {
    /// Copies a GGUF file, or the model files of a folder, into the store under a name, and leaves the originals
    /// alone. Calls `advance` with the number of bytes of each write.
    ///
    /// # Errors
    /// If the model cannot run here, or the name stands for another model and `replaces` is not set. The store is
    /// unchanged then.
    pub fn import(
        &self,
        path: &Path,
        name: &ModelName,
        replaces: bool,
        advance: &mut dyn FnMut(u64),
    ) -> Result<Added, ImportError> {
        // Check the original first, so that nothing is copied only to be refused.
        inspect(path)?;
        let parts = model_files(path)?;
        let needed: u64 = parts.iter().map(|part| fs::metadata(&part.1).map_or(0, |file| file.len())).sum();
        self.check_room(needed)?;
        let staging = self.staging()?;
        let mut files = Vec::new();
        for (within, source) in parts {
            files.push(staging.copy_in(&within, &source, advance)?);
        }
        let whole = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.check_and_publish(&staging, files, name, Origin::File { name: whole }, replaces)
    }

    /// Checks the model in a staging folder and names it.
    pub(crate) fn check_and_publish(
        &self,
        staging: &StagingFolder,
        files: Vec<StoredFile>,
        name: &ModelName,
        origin: Origin,
        replaces: bool,
    ) -> Result<Added, ImportError> {
        let path = match &*files {
            [only] => staging.model().join(&only.path),
            _ => staging.model(),
        };
        // Check the copy too: the original may have changed since.
        let about = inspect(&path)?;
        self.publish(staging, name, (files, about, origin), replaces)
    }

    /// Refuses a model for which the disk has no room.
    pub(crate) fn check_room(&self, bytes: u64) -> Result<(), ImportError> {
        let needed = bytes.saturating_add(RESERVE_BYTES);
        // If the free space is unknown, a full disk shows up as a write error.
        let free = free_bytes(&self.root).unwrap_or(u64::MAX);
        if free < needed {
            return Err(ImportError::NoRoom { needed, free, root: self.root.clone() });
        }
        Ok(())
    }
}

impl StagingFolder {
    /// Copies a file to the path `within` of the model.
    pub(crate) fn copy_in(
        &self,
        within: &str,
        source: &Path,
        advance: &mut dyn FnMut(u64),
    ) -> Result<StoredFile, ImportError> {
        let unreadable = |error| ImportError::Read { path: source.to_owned(), source: error };
        let mut file = File::open(source).map_err(unreadable)?;
        let target = self.model().join(within);
        let (digest, bytes) =
            files::copy_hashed(&mut file, &target, advance).map_err(StoreError::at("write", &target))?;
        Ok(StoredFile { path: within.to_owned(), digest, bytes })
    }
}

/// Returns the files of a model with their paths within it.
fn model_files(path: &Path) -> Result<Vec<(String, PathBuf)>, ImportError> {
    if !path.is_dir() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Keep the file's name, except characters that some systems do not allow.
        let mut name: String = name
            .chars()
            .map(|letter| if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '_' })
            .collect();
        if name.starts_with('.') || !name.to_ascii_lowercase().ends_with(".gguf") {
            name = format!("model-{}.gguf", name.trim_start_matches('.'));
        }
        return Ok(vec![(name, path.to_owned())]);
    }
    let unreadable = |error| ImportError::Read { path: path.to_owned(), source: error };
    let mut names: Vec<String> = fs::read_dir(path)
        .map_err(unreadable)?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".safetensors"))
        .collect();
    if names.is_empty() {
        // Only pickles. `inspect` has already refused such a folder, unless it changed since.
        refuse_pickle("pytorch_model.bin")?;
    }
    names.extend(MODEL_FILES.iter().filter(|part| path.join(part).is_file()).map(|part| (*part).to_owned()));
    names.sort();
    Ok(names.into_iter().map(|name| (name.clone(), path.join(name))).collect())
}
