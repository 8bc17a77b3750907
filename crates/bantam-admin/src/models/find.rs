//! Which model is meant.

use std::path::{Path, PathBuf};

use bantam_jobs::FailureReason;
use bantam_store::{Entry, ModelName, ParseNameError, ResolveError, Store};

use crate::error::UseCaseError;

/// Why a model cannot be found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FindModelError {
    /// The text cannot be a model's name.
    #[error("cannot use the name")]
    Name(#[from] ParseNameError),
    /// It is a path, and nothing is there.
    #[error("there is no file or folder {}", .path.display())]
    NoFile {
        /// The path.
        path: PathBuf,
    },
    /// It is a file or folder, where a model of the store is needed.
    #[error("{} is not a model of the store", .path.display())]
    NotStored {
        /// The path.
        path: PathBuf,
    },
    /// The store has no such model.
    #[error("cannot use the model")]
    Resolve(#[from] ResolveError),
}

impl UseCaseError for FindModelError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Name(_) | Self::NotStored { .. } => FailureReason::Invalid,
            Self::Resolve(ResolveError::Store(_)) => FailureReason::Failed,
            Self::NoFile { .. } | Self::Resolve(_) => FailureReason::NotFound,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Name(_) => "write NAME, NAME:TAG or ORG/REPO:TAG".to_owned(),
            Self::NoFile { .. } => {
                "name a GGUF file, a folder with config.json, safetensors and tokenizer.json, or a model of the store"
                    .to_owned()
            }
            Self::NotStored { .. } => "import it into the store first".to_owned(),
            Self::Resolve(error) => error.hint(),
        })
    }
}

/// A model to open: one of the store, or a path.
#[derive(Clone, Debug)]
pub struct FoundModel {
    /// What the engine opens.
    pub path: PathBuf,
    /// The store's entry, if it is one of the store.
    pub entry: Option<Entry>,
}

/// Reads a model's name.
///
/// # Errors
/// When the text cannot be one.
pub fn model_name(text: &str) -> Result<ModelName, FindModelError> {
    Ok(text.parse()?)
}

/// Returns the model that the store has under a name.
///
/// # Errors
/// When the text is not a name, or there is no such model.
pub fn find_model(store: &Store, text: &str) -> Result<Entry, FindModelError> {
    Ok(store.resolve(&model_name(text)?)?)
}

/// Returns the model that a text means: a file or folder where it looks like a path, or else a model of the store.
///
/// # Errors
/// When there is nothing at the path, or no such model.
pub fn locate_model(store: &Store, text: &str) -> Result<FoundModel, FindModelError> {
    let path = Path::new(text);
    if is_path(text) && path.exists() {
        return Ok(FoundModel { path: path.to_owned(), entry: None });
    }
    match find_model(store, text) {
        Ok(entry) => Ok(FoundModel { path: entry.path.clone(), entry: Some(entry) }),
        Err(_) if is_path(text) => Err(FindModelError::NoFile { path: path.to_owned() }),
        Err(error) => Err(error),
    }
}

/// Returns the model that the store has under a name, where a file will not do.
///
/// # Errors
/// When the text is a path, or there is no such model.
pub fn stored_model(store: &Store, text: &str) -> Result<Entry, FindModelError> {
    let path = Path::new(text);
    match find_model(store, text) {
        Err(_) if is_path(text) && path.exists() => Err(FindModelError::NotStored { path: path.to_owned() }),
        Err(_) if is_path(text) => Err(FindModelError::NoFile { path: path.to_owned() }),
        found => found,
    }
}

/// Returns whether somebody who writes this means a path: it begins as paths do, ends as files of weights do, or has a
/// separator where no name of the hub has one.
fn is_path(text: &str) -> bool {
    let is_begun = text.starts_with(['.', '/', '~']);
    let lower = text.to_ascii_lowercase();
    let is_weights = [".gguf", ".safetensors"].iter().any(|ending| lower.ends_with(ending));
    is_begun || is_weights || (text.contains('/') && text.parse::<ModelName>().is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_separator_or_a_file_of_weights_is_a_path_and_a_hub_name_is_none() {
        for path in [
            "./x",
            "../x",
            "/x",
            "~/x",
            "x.gguf",
            "X.GGUF",
            "x.safetensors",
            "a/b/c",
            "models/tiny/x.gguf",
            "a b/c",
        ] {
            assert!(is_path(path), "{path}");
        }
        for name in ["tiny", "tiny:Q8_0", "org/repo", "org/repo:Q4_K_M", "org/repo@main"] {
            assert!(!is_path(name), "{name}");
        }
    }

    #[test]
    fn a_missing_file_is_said_to_be_missing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path());
        let error = locate_model(&store, "./gone.gguf").unwrap_err();
        assert_eq!(error.to_string(), "there is no file or folder ./gone.gguf");
        assert_eq!(error.reason(), FailureReason::NotFound);
        let error = locate_model(&store, "org/none").unwrap_err();
        assert!(matches!(error, FindModelError::Resolve(ResolveError::Missing { .. })), "{error}");
        assert!(matches!(locate_model(&store, "a b").unwrap_err(), FindModelError::Name(_)));
    }

    #[test]
    fn where_a_file_will_not_do_it_is_told_from_one_that_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path());
        let file = folder.path().join("tiny.gguf");
        std::fs::write(&file, "x").unwrap();
        let error = stored_model(&store, file.to_str().unwrap()).unwrap_err();
        assert!(matches!(error, FindModelError::NotStored { .. }), "{error}");
        assert_eq!(error.reason(), FailureReason::Invalid);
        assert!(matches!(stored_model(&store, "./gone.gguf"), Err(FindModelError::NoFile { .. })));
        assert!(matches!(stored_model(&store, "tiny"), Err(FindModelError::Resolve(_))));
    }
}
