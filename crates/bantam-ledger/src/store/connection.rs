//! The two kinds of connection: the one that writes, and those that read.

use std::path::Path;

use bantam_books::{
    Cursor, ExampleRecord, GroupBy, Place, RequestFilter, RequestPage, TemplateRecord, TimeRange, UsageRow,
};
use bantam_types::TaskName;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::fold::Memory;
use super::schema::{self, Kind, SCHEMA_VERSION};
use super::{Folded, Store, fold, older, pages, query, retention, usage};
use crate::entry::Entry;
use crate::error::{CloseError, DatabaseError, OpenError, QueryError};
use crate::options::Retention;
use crate::private;

/// 3.51.3: earlier versions can corrupt a WAL database when two connections checkpoint at once.
const SQLITE_VERSION_MIN: i32 = 3_051_003;

/// How the writer's connection is set up.
///
/// `synchronous=FULL` makes each commit of the WAL survive a power loss. The cache is small, since
/// rows are appended and not looked at again. A checkpoint every 4000 pages (16 MB) instead of 1000
/// copies pages that several transactions touched less often.
///
/// `secure_delete` overwrites what is removed: it may be a text of a prompt.
const WRITER_SETUP: &str = "
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA secure_delete = ON;
PRAGMA foreign_keys = OFF;
PRAGMA cache_size = -2048;
PRAGMA wal_autocheckpoint = 4000;
PRAGMA journal_size_limit = 67108864;
";

/// How a new file is set up: so that pages can be given back in small steps.
const NEW_FILE_SETUP: &str = "PRAGMA auto_vacuum = INCREMENTAL;";

/// How a reader's connection is set up.
const READER_SETUP: &str = "
PRAGMA query_only = ON;
PRAGMA cache_size = -4096;
";

/// The SQLite file, open for writing.
pub(crate) struct SqliteStore {
    connection: Connection,
    memory: Memory,
    options: StoreOptions,
}

/// How the database is kept.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StoreOptions {
    /// Whether texts of templates are kept.
    pub(crate) keeps_previews: bool,
    /// When the oldest rows are removed.
    pub(crate) retention: Retention,
}

impl SqliteStore {
    /// Opens or makes the ledger's database.
    pub(crate) fn open(path: &Path, options: StoreOptions) -> Result<Self, OpenError> {
        check_library_version(rusqlite::version_number(), rusqlite::version())?;
        private::make_database(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let (mut connection, kind) = connect(path, flags)?;
        let found = match kind {
            Kind::Empty => 0,
            Kind::Ledger(found) => found,
            Kind::Foreign => return Err(OpenError::Foreign { path: path.to_owned() }),
        };
        if found > SCHEMA_VERSION {
            return Err(OpenError::NewerSchema { found, supported: SCHEMA_VERSION });
        }
        if found == 0 {
            let set = connection.execute_batch(NEW_FILE_SETUP);
            set.map_err(DatabaseError::when("be set up"))?;
        }
        connection.execute_batch(WRITER_SETUP).map_err(DatabaseError::when("be set up for writing"))?;
        schema::migrate(&mut connection, found)?;
        if !options.keeps_previews {
            retention::erase_previews(&connection).map_err(DatabaseError::when("erase texts"))?;
        }
        // Pages of an older file can only be given back after it was written anew. When that fails, for lack of room,
        // the file works as well; it only stays as large as it was.
        let _ = retention::give_pages_back(&connection);
        Ok(Self { connection, memory: Memory::default(), options })
    }

    #[cfg(test)]
    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    #[cfg(test)]
    pub(super) fn move_older(&mut self, rows: i64) -> bool {
        older::move_some(&mut self.connection, &mut self.memory, rows).unwrap()
    }
}

impl Store for SqliteStore {
    fn fold(&mut self, entries: &[Entry]) -> Result<Folded, DatabaseError> {
        let keeps_text = self.options.keeps_previews;
        let folded = fold::fold(&mut self.connection, &mut self.memory, entries, keeps_text);
        if folded.is_err() {
            // What the failed transaction added is not there.
            self.memory = Memory::default();
        }
        folded.map_err(DatabaseError::when("take settlements"))
    }

    fn tidy(&mut self, now_ms: i64) -> Result<bool, DatabaseError> {
        let moved = older::move_some(&mut self.connection, &mut self.memory, older::ROWS);
        match moved.map_err(DatabaseError::when("move rows of an older version")) {
            Ok(false) => {}
            Ok(true) => return Ok(true),
            Err(error) => {
                self.memory = Memory::default();
                return Err(error);
            }
        }
        let retention = self.options.retention;
        if retention == Retention::default() {
            return Ok(false);
        }
        let removed = retention::remove_oldest(&mut self.connection, &mut self.memory, retention, now_ms);
        if removed.is_err() {
            self.memory = Memory::default();
        }
        removed.map_err(DatabaseError::when("remove old rows"))
    }

    fn close(self: Box<Self>) -> Result<(), CloseError> {
        // A checkpoint that a reader holds up is no failure: the WAL stays and is whole.
        let closed = self.connection.close().map_err(|(_, error)| error);
        closed.map_err(DatabaseError::when("be closed")).map_err(CloseError::from)
    }
}

/// The SQLite file, open for reading.
pub(crate) struct SqliteReader {
    connection: Connection,
}

impl SqliteReader {
    /// Opens a ledger that exists.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        check_library_version(rusqlite::version_number(), rusqlite::version())?;
        if !path.try_exists().map_err(|source| OpenError::Io { path: path.to_owned(), source })? {
            return Err(OpenError::Missing { path: path.to_owned() });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let (connection, kind) = connect(path, flags)?;
        match kind {
            Kind::Ledger(found) if found > SCHEMA_VERSION => {
                return Err(OpenError::NewerSchema { found, supported: SCHEMA_VERSION });
            }
            Kind::Ledger(found) if found < SCHEMA_VERSION => {
                return Err(OpenError::OlderSchema { found, supported: SCHEMA_VERSION });
            }
            Kind::Ledger(_) => {}
            Kind::Empty => return Err(OpenError::Missing { path: path.to_owned() }),
            Kind::Foreign => return Err(OpenError::Foreign { path: path.to_owned() }),
        }
        connection.execute_batch(READER_SETUP).map_err(DatabaseError::when("be set up for reading"))?;
        Ok(Self { connection })
    }
}

impl SqliteReader {
    /// See [`BooksReader::usage`](bantam_books::BooksReader::usage).
    pub(crate) fn usage(&mut self, range: TimeRange, by: GroupBy) -> Result<Vec<UsageRow>, QueryError> {
        usage::usage(&mut self.connection, range, by)
    }

    /// Returns all discovered templates, first seen first.
    pub(crate) fn templates(&self) -> Result<Vec<TemplateRecord>, QueryError> {
        query::templates(&self.connection)
    }

    /// See [`BooksReader::requests`](bantam_books::BooksReader::requests).
    pub(crate) fn requests(
        &mut self,
        filter: &RequestFilter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<RequestPage, QueryError> {
        pages::requests(&mut self.connection, filter, after, limit)
    }

    /// Returns the next examples of a task after a place, in time order.
    pub(crate) fn examples(
        &self,
        task: &TaskName,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Vec<ExampleRecord>, QueryError> {
        query::examples(&self.connection, task, after, limit)
    }
}

/// Opens the file and says what it is; a file that is no database gets its own error.
fn connect(path: &Path, flags: OpenFlags) -> Result<(Connection, Kind), OpenError> {
    let look = || {
        let connection =
            Connection::open_with_flags(path, flags).map_err(DatabaseError::when("be opened"))?;
        let waits = connection.busy_timeout(std::time::Duration::from_secs(10));
        waits.map_err(DatabaseError::when("be opened"))?;
        // Without this, SQLite plans a statement anew for every value that is bound to it, as the value might matter.
        let plans_once = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true);
        plans_once.map_err(DatabaseError::when("be opened"))?;
        let kind = schema::kind(&connection)?;
        Ok((connection, kind))
    };
    look().map_err(|error: DatabaseError| {
        if error.is_not_a_database() {
            OpenError::NotADatabase { path: path.to_owned() }
        } else {
            OpenError::Database(error)
        }
    })
}

/// Accepts a SQLite library that is safe for a ledger.
pub(super) fn check_library_version(number: i32, found: &'static str) -> Result<(), OpenError> {
    if number >= SQLITE_VERSION_MIN { Ok(()) } else { Err(OpenError::OldSqlite { found }) }
}
