//! A model from a file or folder of the user's.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::about::{InspectError, PickleError, inspect, refuse_pickle};
use crate::change::{Added, Stage};
use crate::error::StoreError;
use crate::files;
use crate::manifest::{Origin, StoredFile};
use crate::name::{ModelName, ParseNameError};
use crate::space::{RESERVE_BYTES, free_bytes};
use crate::store::{ResolveError, Store};

/// Files of a folder that are parts of a model; others stay where they are.
pub(crate) const PARTS: [&str; 15] = [
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

/// Why a model did not enter the store, which is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// It could not run here.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// The name stands for another model.
    #[error("there is another model `{name}` already")]
    Exists {
        /// The name.
        name: Box<ModelName>,
    },
    /// Something removed it the moment it had entered.
    #[error("the model `{name}` was removed while it was added")]
    Lost {
        /// The name.
        name: Box<ModelName>,
    },
    /// The disk has no room for it.
    #[error("the model has {needed} bytes and the disk of {} has {free} free", .root.display())]
    NoRoom {
        /// Bytes of the model and a reserve.
        needed: u64,
        /// Bytes that are free.
        free: u64,
        /// The store.
        root: PathBuf,
    },
    /// A file could not be read.
    #[error("read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A name that is not valid.
    #[error(transparent)]
    Name(#[from] ParseNameError),
    /// The model to be copied does not exist.
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
    /// Returns what to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Inspect(error) => error.hint().to_owned(),
            Self::Exists { name } => {
                format!("choose another name, or remove `{name}` first")
            }
            Self::Lost { .. } => "do it again".to_owned(),
            Self::NoRoom { needed, free, .. } => format!(
                "free {} MB, or keep models on another disk: store.path",
                needed.saturating_sub(*free).div_ceil(1_000_000)
            ),
            Self::Read { .. } => "check that the file may be read".to_owned(),
            Self::Name(_) => "write NAME or NAME:TAG".to_owned(),
            Self::Resolve(error) => error.hint(),
            Self::Store(error) if error.is_full() => {
                "free some space, or keep models on another disk: store.path".to_owned()
            }
            Self::Store(_) => "check that the store's folder may be written to".to_owned(),
        }
    }
}

impl Store {
    /// Copies a GGUF file, or the parts of a model in a folder, into the store under a name; the user's files stay as
    /// they are. `advance` is told of bytes as they are copied.
    ///
    /// # Errors
    /// If the model could not run here, and then the store is as it was; also if the name stands for another model,
    /// unless it `replaces` that one.
    pub fn import(
        &self,
        path: &Path,
        name: &ModelName,
        replaces: bool,
        advance: &mut dyn FnMut(u64),
    ) -> Result<Added, ImportError> {
        // Checked where it lies, so that nothing is copied that is refused.
        inspect(path)?;
        let parts = parts(path)?;
        let needed: u64 = parts.iter().map(|part| fs::metadata(&part.1).map_or(0, |file| file.len())).sum();
        self.check_room(needed)?;
        let stage = self.stage()?;
        let mut files = Vec::new();
        for (within, source) in parts {
            files.push(stage.copy_in(&within, &source, advance)?);
        }
        let whole = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.admit(&stage, files, name, Origin::File { name: whole }, replaces)
    }

    /// Checks what lies in a stage, as what it will be, and gives it a name.
    pub(crate) fn admit(
        &self,
        stage: &Stage,
        files: Vec<StoredFile>,
        name: &ModelName,
        origin: Origin,
        replaces: bool,
    ) -> Result<Added, ImportError> {
        let path = match &*files {
            [only] => stage.model().join(&only.path),
            _ => stage.model(),
        };
        // What was copied is what is checked: the file may have changed since.
        let about = inspect(&path)?;
        self.publish(stage, name, (files, about, origin), replaces)
    }

    /// Refuses what the disk has no room for.
    pub(crate) fn check_room(&self, bytes: u64) -> Result<(), ImportError> {
        let needed = bytes.saturating_add(RESERVE_BYTES);
        // A system that does not tell says so when it is full.
        let free = free_bytes(&self.root).unwrap_or(u64::MAX);
        if free < needed {
            return Err(ImportError::NoRoom { needed, free, root: self.root.clone() });
        }
        Ok(())
    }
}

impl Stage {
    /// Copies a file in, as `within` of the model.
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

/// Returns the files of a model with their names within it.
fn parts(path: &Path) -> Result<Vec<(String, PathBuf)>, ImportError> {
    if !path.is_dir() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // A model's file keeps its name, as far as every system can.
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
        // Only pickles: `inspect` has refused the folder already, unless something changed meanwhile.
        refuse_pickle("pytorch_model.bin")?;
    }
    names.extend(PARTS.iter().filter(|part| path.join(part).is_file()).map(|part| (*part).to_owned()));
    names.sort();
    Ok(names.into_iter().map(|name| (name.clone(), path.join(name))).collect())
}
