//! The tables, and how an older file gets them.
//!
//! - `request_rows` is an ordinary table whose rows are numbered as they come, with the request's id in
//!   an index beside it, rather than clustered by id: rows go to the end of the file whatever ids
//!   look like, and only the index (some 25 bytes a request) is written in the ids' order. Ids that
//!   begin with the time make that an append too. A row also holds the first attempt, which for most requests is the
//!   only one: adding it costs a few columns and not a second row.
//! - `further_attempts` is clustered by that number and the attempt's place, so a request's attempts lie
//!   together, are appended, and need no second index.
//! - What many rows have in common has a row in `request_kinds` or `attempt_kinds`, see [`kinds`](super::kinds). The
//!   views `requests` and `attempts` bring it together: everything that reads, people included, reads those.
//! - Nothing else has an index. Reports are read from `rollups`, see [`rollups`](super::rollups), and requests by any
//!   filter through `blocks`, see [`blocks`](super::blocks): both cost a fold less than one index did.
//! - `thinned` has the hours whose requests were removed, wholly or in part, and `marks` numbers that have to outlive
//!   the rows they came from.
//! - Nothing declares a foreign key: both rows are written by one function in one transaction, and
//!   checking each reference again would cost a lookup per attempt.
//! - Requests and attempts are only ever inserted, until their retention removes them.

mod tables;

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
const MIGRATIONS: [&str; 3] = [tables::VERSION_1, tables::VERSION_2, tables::VERSION_3];

/// The first version that has sums and blocks.
const FIRST_WITH_SUMMARIES: i64 = 2;

/// The version that this code reads and writes.
pub(crate) const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

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

fn apply(connection: &mut Connection, found: i64, steps: &[&str]) -> Result<(), QueryError> {
    let failed = DatabaseError::when("make its tables");
    let transaction = connection.transaction().map_err(&failed)?;
    for (version, sql) in (found + 1..).zip(steps) {
        transaction.execute_batch(sql).map_err(&failed)?;
        let noted = transaction.execute(
            "INSERT INTO schema_versions (version, applied_ms) VALUES (?1, unixepoch() * 1000)",
            [version],
        );
        noted.map_err(&failed)?;
    }
    if found == 0 {
        transaction.execute_batch(tables::DROP_OLDER).map_err(&failed)?;
    }
    make_views(&transaction, found != 0).map_err(&failed)?;
    if (1..FIRST_WITH_SUMMARIES).contains(&found) {
        summarise(&transaction)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(&failed)?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(&failed)?;
    transaction.commit().map_err(failed).map_err(QueryError::from)
}

/// Makes the views that everything reads, with or without the rows of an older version.
///
/// `attempts` is for people. Bantam reads its two parts one after the other: SQLite would sort what it gets from both.
fn make_views(connection: &Connection, with_older: bool) -> rusqlite::Result<()> {
    let [older_requests, older_attempts] = ["requests", "attempts"].map(|name| match with_older {
        true => format!("UNION ALL SELECT * FROM older_{name}"),
        false => String::new(),
    });
    connection.execute_batch(&format!(
        "DROP VIEW IF EXISTS requests; DROP VIEW IF EXISTS attempts;
        DROP VIEW IF EXISTS first_attempts; DROP VIEW IF EXISTS later_attempts;
        CREATE VIEW requests AS {} {older_requests};
        CREATE VIEW first_attempts AS {};
        CREATE VIEW later_attempts AS {} {older_attempts};
        CREATE VIEW attempts AS SELECT * FROM first_attempts UNION ALL SELECT * FROM later_attempts;",
        tables::REQUESTS,
        tables::FIRST_ATTEMPTS,
        tables::FURTHER_ATTEMPTS
    ))
}

/// Returns whether there are tables of an older version whose rows were not moved yet.
pub(super) fn has_older(connection: &Connection) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM sqlite_schema WHERE name = 'requests_2'")?.exists([])
}

/// Takes the tables of an older version away, which are empty.
pub(super) fn drop_older(connection: &Connection) -> rusqlite::Result<()> {
    make_views(connection, false)?;
    connection.execute_batch(tables::DROP_OLDER)
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
