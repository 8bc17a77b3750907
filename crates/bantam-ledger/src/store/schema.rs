//! The tables, and how an older file gets them.
//!
//! - `requests` is an ordinary table whose rows are numbered as they come, with the request's id in
//!   an index beside it, rather than clustered by id: rows go to the end of the file whatever ids
//!   look like, and only the index (some 25 bytes a request) is written in the ids' order. Ids that
//!   begin with the time make that an append too.
//! - `attempts` is clustered by that number and the attempt's place, so a request's attempts lie
//!   together, are appended, and need no second index.
//! - `arrived_ms` has the only other index: every report is over a span of time.
//! - Nothing declares a foreign key: both rows are written by one function in one transaction, and
//!   checking each reference again would cost a lookup per attempt.
//! - Rows are only ever inserted.

use rusqlite::Connection;

use crate::error::{DatabaseError, OpenError};

/// Marks a SQLite file as a ledger: "bntm".
const APPLICATION_ID: i64 = 0x626e_746d;

/// Each step takes a file from the version that is its index to the next. Steps are for ever.
const MIGRATIONS: [&str; 1] = [VERSION_1];

/// The version that this code reads and writes.
pub(crate) const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

const VERSION_1: &str = "
CREATE TABLE schema_versions (
    version INTEGER PRIMARY KEY,
    applied_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE requests (
    seq INTEGER PRIMARY KEY,
    request_id BLOB NOT NULL UNIQUE,
    arrived_ms INTEGER NOT NULL,
    task TEXT,
    template INTEGER,
    requested_model TEXT NOT NULL,
    label TEXT NOT NULL,
    outcome TEXT NOT NULL,
    status INTEGER NOT NULL,
    streamed INTEGER NOT NULL,
    duration_us INTEGER NOT NULL,
    baseline_pico INTEGER,
    cost_pico INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    unpriced INTEGER NOT NULL,
    decided_by INTEGER
) STRICT;
CREATE INDEX requests_by_arrival ON requests (arrived_ms);
CREATE TABLE attempts (
    seq INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    backend TEXT NOT NULL,
    model TEXT NOT NULL,
    tier TEXT NOT NULL,
    tokens_in INTEGER,
    tokens_cached INTEGER,
    tokens_out INTEGER,
    started_us INTEGER NOT NULL,
    first_byte_us INTEGER,
    last_byte_us INTEGER NOT NULL,
    price INTEGER,
    cost_pico INTEGER,
    confidence REAL,
    verdict TEXT NOT NULL,
    reason TEXT,
    retries INTEGER NOT NULL,
    PRIMARY KEY (seq, ordinal)
) STRICT, WITHOUT ROWID;
CREATE TABLE prices (
    id INTEGER PRIMARY KEY,
    input_micros INTEGER NOT NULL,
    cached_input_micros INTEGER NOT NULL,
    output_micros INTEGER NOT NULL,
    as_of TEXT NOT NULL,
    UNIQUE (input_micros, cached_input_micros, output_micros, as_of)
) STRICT;
CREATE TABLE templates (
    template INTEGER PRIMARY KEY,
    system_preview TEXT NOT NULL,
    prefix TEXT NOT NULL,
    suffix TEXT NOT NULL,
    first_seen_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE examples (
    id INTEGER PRIMARY KEY,
    request_id BLOB NOT NULL,
    task TEXT NOT NULL,
    text TEXT NOT NULL,
    answer TEXT NOT NULL,
    model TEXT NOT NULL,
    recorded_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX examples_by_time ON examples (task, recorded_ms, request_id);
";

/// What a file is, before anything in it is touched.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing in it yet.
    Empty,
    /// A ledger of this schema version.
    Ledger(i64),
    /// Something else.
    Foreign,
}

/// Returns what the file of `connection` is.
pub(crate) fn kind(connection: &Connection) -> Result<Kind, DatabaseError> {
    let number = |sql| {
        let when = DatabaseError::when("tell what the file is");
        connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(when)
    };
    Ok(if number("PRAGMA application_id")? == APPLICATION_ID {
        Kind::Ledger(number("PRAGMA user_version")?)
    } else if number("SELECT count(*) FROM sqlite_schema")? == 0 {
        Kind::Empty
    } else {
        Kind::Foreign
    })
}

/// Brings a ledger of version `found` to the current one, in one transaction.
pub(crate) fn migrate(connection: &mut Connection, found: i64) -> Result<(), OpenError> {
    let steps = usize::try_from(found).ok().and_then(|found| MIGRATIONS.get(found..));
    let Some(steps) = steps else {
        return Err(OpenError::NewerSchema { found, supported: SCHEMA_VERSION });
    };
    if steps.is_empty() {
        return Ok(());
    }
    apply(connection, found, steps).map_err(DatabaseError::when("make its tables")).map_err(OpenError::from)
}

fn apply(connection: &mut Connection, found: i64, steps: &[&str]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for (version, step) in (found + 1..).zip(steps) {
        transaction.execute_batch(step)?;
        transaction.execute(
            "INSERT INTO schema_versions (version, applied_ms) VALUES (?1, unixepoch() * 1000)",
            [version],
        )?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()
}
