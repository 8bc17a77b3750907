//! The tables, and how an older file gets them.
//!
//! - `requests` is an ordinary table whose rows are numbered as they come, with the request's id in
//!   an index beside it, rather than clustered by id: rows go to the end of the file whatever ids
//!   look like, and only the index (some 25 bytes a request) is written in the ids' order. Ids that
//!   begin with the time make that an append too.
//! - `attempts` is clustered by that number and the attempt's place, so a request's attempts lie
//!   together, are appended, and need no second index.
//! - Nothing else has an index. Reports are read from `rollups`, see [`rollups`](super::rollups), and requests by any
//!   filter through `blocks`, see [`blocks`](super::blocks): both cost a fold less than one index did.
//! - `origins` has each caller, endpoint and dialect that came together once; a request names its row.
//! - `thinned` has the hours whose requests were removed, wholly or in part, and `marks` numbers that have to outlive
//!   the rows they came from.
//! - Nothing declares a foreign key: both rows are written by one function in one transaction, and
//!   checking each reference again would cost a lookup per attempt.
//! - Requests and attempts are only ever inserted, until their retention removes them.

use bantam_books::TimeRange;
use rusqlite::Connection;

use super::query::for_requests;
use super::summaries::Summaries;
use crate::error::{DatabaseError, OpenError, QueryError};

/// How many requests an older file's are added up before the sums are written.
const SUMMARISED_AT_ONCE: u32 = 16_384;

/// Marks a SQLite file as a ledger: "bntm".
const APPLICATION_ID: i64 = 0x626e_746d;

/// Each step takes a file from the version that is its index to the next. Steps are for ever.
const MIGRATIONS: [Step; 2] =
    [Step { sql: VERSION_1, then: |_| Ok(()) }, Step { sql: VERSION_2, then: summarise }];

struct Step {
    sql: &'static str,
    /// What SQL cannot say.
    then: fn(&Connection) -> Result<(), QueryError>,
}

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

const VERSION_2: &str = "
CREATE TABLE origins (
    id INTEGER PRIMARY KEY,
    caller TEXT,
    endpoint TEXT,
    dialect TEXT
) STRICT;
ALTER TABLE requests ADD COLUMN origin INTEGER;
ALTER TABLE attempts ADD COLUMN fault TEXT;
ALTER TABLE attempts ADD COLUMN upstream_status INTEGER;
DROP INDEX requests_by_arrival;
CREATE INDEX examples_by_age ON examples (recorded_ms);
CREATE TABLE rollups (
    dimension INTEGER NOT NULL,
    hours INTEGER NOT NULL,
    begin INTEGER NOT NULL,
    key ANY NOT NULL,
    usage BLOB NOT NULL,
    PRIMARY KEY (dimension, hours, begin, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE blocks (
    block INTEGER PRIMARY KEY,
    first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    members BLOB NOT NULL
) STRICT;
CREATE TABLE combos (
    id INTEGER PRIMARY KEY,
    task TEXT,
    caller TEXT,
    outcome TEXT NOT NULL,
    tier TEXT,
    model TEXT
) STRICT;
CREATE INDEX combos_by_name ON combos (task, caller, outcome, tier, model);
CREATE TABLE thinned (hour INTEGER PRIMARY KEY) STRICT;
CREATE TABLE marks (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
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
    apply(connection, found, steps).map_err(|source| OpenError::Migrate { source: source.into() })
}

fn apply(connection: &mut Connection, found: i64, steps: &[Step]) -> Result<(), QueryError> {
    let failed = DatabaseError::when("make its tables");
    let transaction = connection.transaction().map_err(&failed)?;
    for (version, step) in (found + 1..).zip(steps) {
        transaction.execute_batch(step.sql).map_err(&failed)?;
        (step.then)(&transaction)?;
        let noted = transaction.execute(
            "INSERT INTO schema_versions (version, applied_ms) VALUES (?1, unixepoch() * 1000)",
            [version],
        );
        noted.map_err(&failed)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(&failed)?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(&failed)?;
    transaction.commit().map_err(failed).map_err(QueryError::from)
}

/// Adds up the requests of a ledger that has no roll-ups and no blocks.
fn summarise(connection: &Connection) -> Result<(), QueryError> {
    let failed = DatabaseError::when("add up its requests");
    let mut summaries = Summaries::default();
    let mut since_written = 0;
    for_requests(connection, i64::MIN..i64::MAX, TimeRange::ALL, |seq, request| {
        summaries.add(connection, seq, request).map_err(&failed)?;
        since_written += 1;
        // What is added up is held in memory until it is written.
        if since_written == SUMMARISED_AT_ONCE || summaries.is_large() {
            since_written = 0;
            summaries.write(connection).map_err(&failed)?;
        }
        Ok(())
    })?;
    summaries.write(connection).map_err(failed).map_err(QueryError::from)
}
