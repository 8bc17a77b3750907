//! What goes wrong with the store itself.

use std::io;
use std::path::{Path, PathBuf};

/// Why the store could not be read or changed.
#[derive(Debug, thiserror::Error)]
#[error("{what} {}", .path.display())]
pub struct StoreError {
    /// What was being done, such as "write".
    pub what: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong.
    #[source]
    pub kind: StoreErrorKind,
}

/// What is wrong with the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The disk is full, or a file may not become so large: by a limit of the user's, or of the file system.
    #[error("the disk is full, or takes no file of that size")]
    Full,
    /// What the system said.
    #[error(transparent)]
    Io(io::Error),
    /// A manifest that is damaged, or of a later version.
    #[error("it is no manifest that this version reads")]
    Manifest(#[source] serde_json::Error),
    /// Another process has been changing the store all the time.
    #[error("another process has been changing the store for {seconds} seconds")]
    Busy {
        /// How long it was waited for.
        seconds: u64,
    },
    /// A file that a manifest names and that is not there any more.
    #[error("a file of the model is gone from the store")]
    BlobGone,
}

impl From<io::Error> for StoreErrorKind {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full
            }
            _ => Self::Io(error),
        }
    }
}

impl StoreError {
    /// Returns a function that adds to an error what was being done, and to which file.
    pub(crate) fn at<E: Into<StoreErrorKind>>(what: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        move |kind| Self { what, path: path.to_owned(), kind: kind.into() }
    }

    /// Returns whether the disk is full.
    pub fn is_full(&self) -> bool {
        matches!(self.kind, StoreErrorKind::Full)
    }
}
