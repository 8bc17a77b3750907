//! Errors of the store itself.

use std::io;
use std::path::{Path, PathBuf};

/// Why the store could not be read or changed.
#[derive(Debug, thiserror::Error)]
#[error("{what} {}", .path.display())]
pub struct StoreError {
    /// The operation, such as "write".
    pub what: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// The cause.
    #[source]
    pub kind: StoreErrorKind,
}

/// What went wrong with the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The disk is full, or the file exceeds a size limit of the user or the file system.
    #[error("the disk is full or does not allow files of that size")]
    Full,
    /// Another error of the system.
    #[error(transparent)]
    Io(io::Error),
    /// The manifest is damaged or from a later version.
    #[error("the manifest is damaged or from a newer version")]
    Manifest(#[source] serde_json::Error),
    /// Another process kept the store locked.
    #[error("another process has held the store's lock for {seconds} seconds")]
    Busy {
        /// How long the lock was waited for.
        seconds: u64,
    },
    /// A file that a manifest refers to no longer exists.
    #[error("a file of the model is missing from the store")]
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
    /// Returns a function that adds the operation and the path to an error.
    pub(crate) fn at<E: Into<StoreErrorKind>>(what: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        move |kind| Self { what, path: path.to_owned(), kind: kind.into() }
    }

    /// Returns whether the disk is full.
    pub fn is_full(&self) -> bool {
        matches!(self.kind, StoreErrorKind::Full)
    }
}
