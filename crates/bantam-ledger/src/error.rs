//! What can go wrong, one type per operation.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::format::DecodeError;
use crate::journal::segment::JournalError;

/// The database refused.
///
/// The cause is behind [`source`](std::error::Error::source) and not public as a type, so that
/// another database is no breaking change.
#[derive(Debug, thiserror::Error)]
#[error("the ledger's database cannot {doing}")]
pub struct DatabaseError {
    doing: &'static str,
    source: rusqlite::Error,
}

impl DatabaseError {
    /// Returns a function that says what was being done when an error came.
    pub(crate) fn when(doing: &'static str) -> impl Fn(rusqlite::Error) -> Self {
        move |source| Self { doing, source }
    }

    /// Returns what the database said.
    pub(crate) fn into_cause(self) -> rusqlite::Error {
        self.source
    }

    /// Returns whether the file is no database of this kind at all.
    pub(crate) fn is_not_a_database(&self) -> bool {
        self.source.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase)
    }
}

/// Why a ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A file or folder of the ledger cannot be made or read.
    #[error("cannot use {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no ledger to read.
    #[error("there is no ledger at {path}")]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Another process writes it.
    #[error("another process has the ledger open for writing (it holds {path})")]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The file is no database.
    #[error("{path} is not a ledger: it is not a SQLite database")]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// The file is a database of something else.
    #[error("{path} is a SQLite database of another program")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer version wrote it.
    #[error("the ledger has schema version {found}, and this bantam knows versions up to {supported}")]
    NewerSchema {
        /// The file's version.
        found: i64,
        /// The newest version that is known here.
        supported: i64,
    },
    /// An older version wrote it, and only a reader opened it.
    #[error(
        "the ledger has schema version {found}, and version {supported} is needed: it is brought up to date when the \
         gateway starts"
    )]
    OlderSchema {
        /// The file's version.
        found: i64,
        /// The version that can be read.
        supported: i64,
    },
    /// An older ledger cannot be brought up to date. It stays as it was.
    #[error("the ledger cannot be brought up to date")]
    Migrate {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The SQLite library is too old to be trusted with a ledger.
    #[error("SQLite {found} can corrupt a WAL database; 3.51.3 or newer is needed")]
    OldSqlite {
        /// The library's version.
        found: &'static str,
    },
    /// The database refused.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// What a crash left in the journal cannot be brought into the store.
    #[error("cannot replay the journal")]
    Replay {
        /// Why.
        source: FoldError,
    },
    /// The system gives no thread.
    #[error("cannot start the ledger's threads")]
    Thread {
        /// Why.
        source: io::Error,
    },
}

/// Why journal records are not in the store yet. The journal keeps them, and folding is tried again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FoldError {
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The database refused.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A folded segment cannot be deleted or set aside.
    #[error("cannot remove the folded journal segment {path}")]
    Remove {
        /// The segment.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folding thread is gone.
    #[error("the ledger's folding thread has stopped")]
    Ended,
}

/// Why a ledger did not close cleanly. Nothing is lost: the next start replays the journal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// Not everything could be brought into the store.
    #[error("the journal still holds settlements that the database does not")]
    Fold {
        /// Why.
        source: Arc<FoldError>,
    },
    /// The database refused to close.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A thread of the ledger panicked.
    #[error("a thread of the ledger stopped unexpectedly")]
    Thread,
}

/// Why a question to the database has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueryError {
    /// The database refused.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A row holds bytes that no version wrote.
    #[error("a row of the ledger has no meaningful {column}")]
    Bytes {
        /// The column.
        column: &'static str,
        /// What is wrong with them.
        source: DecodeError,
    },
    /// A row holds a value that no version wrote.
    #[error("a row of the ledger has an invalid {column}")]
    Value {
        /// The column.
        column: &'static str,
    },
}
