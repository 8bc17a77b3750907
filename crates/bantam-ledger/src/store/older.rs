//! Brings the rows of an older version into the tables of this one, a few at a time.
//!
//! A ledger of millions of requests takes a minute to move, and nobody should wait for that. So the older tables stay as
//! they are when a file is opened, the views show both, and the folding thread moves rows between folds. Each step is a
//! transaction of milliseconds; a process that ends in between goes on where it stopped.

use rusqlite::{Connection, TransactionBehavior};

use super::fold::{Memory, Statements, id_bytes};
use super::query::{Rows, request};
use super::schema;
use crate::error::{DatabaseError, QueryError};

/// How many requests one step moves.
pub(super) const ROWS: i64 = 512;

/// What is known of the older tables.
#[derive(Default)]
pub(super) struct Older {
    is_there: Option<bool>,
    /// A row could not be read: the rest stays where it is.
    is_stuck: bool,
}

impl Older {
    /// Returns whether there are rows of an older version.
    fn is_there(&mut self, connection: &Connection) -> rusqlite::Result<bool> {
        match self.is_there {
            Some(is_there) => Ok(is_there),
            None => Ok(*self.is_there.insert(schema::has_older(connection)?)),
        }
    }

    /// Returns whether the older tables have a request of this id.
    pub(super) fn has(&mut self, connection: &Connection, request_id: u128) -> rusqlite::Result<bool> {
        if !self.is_there(connection)? {
            return Ok(false);
        }
        let sql = "SELECT 1 FROM requests_2 WHERE request_id = ?1";
        connection.prepare_cached(sql)?.exists([id_bytes(request_id)])
    }
}

/// Moves a few rows, or takes the tables away that are empty. Returns whether there was anything to do.
pub(super) fn move_some(
    connection: &mut Connection,
    memory: &mut Memory,
    rows: i64,
) -> rusqlite::Result<bool> {
    if memory.older.is_stuck || !memory.older.is_there(connection)? {
        return Ok(false);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let numbers = first_numbers(&transaction, rows)?;
    let Some(last) = numbers.last() else {
        schema::drop_older(&transaction)?;
        transaction.commit()?;
        memory.older.is_there = Some(false);
        return Ok(true);
    };
    match move_all(&transaction, memory, &numbers) {
        Ok(()) => {}
        Err(QueryError::Database(error)) => return Err(error.into_cause()),
        // No version wrote such a row. It can be told from the rest no better here than where it stands.
        Err(QueryError::Value { .. } | QueryError::Bytes { .. }) => {
            drop(transaction);
            *memory = Memory::default();
            memory.older.is_stuck = true;
            return Ok(false);
        }
    }
    for table in ["attempts_2", "requests_2"] {
        transaction.prepare_cached(&format!("DELETE FROM {table} WHERE seq <= ?1"))?.execute([last])?;
    }
    transaction.commit()?;
    Ok(true)
}

fn move_all(connection: &Connection, memory: &mut Memory, numbers: &[i64]) -> Result<(), QueryError> {
    let failed = DatabaseError::when("move rows");
    let mut statements = Statements::prepare(connection).map_err(&failed)?;
    for seq in numbers {
        if let Some(found) = request(connection, Rows::Older, *seq)? {
            statements.insert(connection, memory, *seq, &found).map_err(&failed)?;
        }
    }
    Ok(())
}

fn first_numbers(connection: &Connection, rows: i64) -> rusqlite::Result<Vec<i64>> {
    let mut statement = connection.prepare_cached("SELECT seq FROM requests_2 ORDER BY seq LIMIT ?1")?;
    let numbers = statement.query_map([rows], |row| row.get(0))?;
    numbers.collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bantam_books::{GroupBy, RequestFilter, TimeRange};
    use bantam_types::Settlement;

    use super::*;
    use crate::entry::Entry;
    use crate::store::tests::store_of;
    use crate::store::{Folded, SqliteReader, Store};

    const VERSION_2: &str = include_str!("../../tests/fixtures/version-2.sql");

    fn all(path: &Path) -> Vec<Settlement> {
        let mut reader = SqliteReader::open(path).unwrap();
        // A part of an hour is read from the rows.
        let range = TimeRange { from_unix_ms: 1_790_000_000_001, until_unix_ms: 1_790_099_000_001 };
        assert_eq!(reader.usage(range, GroupBy::None).unwrap()[0].usage.requests, 58);
        reader.requests(&RequestFilter::default(), None, 99).unwrap().requests
    }

    #[test]
    fn every_step_leaves_all_rows_readable_and_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        Connection::open(&path).unwrap().execute_batch(VERSION_2).unwrap();
        let expected = {
            store_of(&path);
            all(&path)
        };
        assert_eq!(expected.len(), 60);
        let mut steps = 0;
        loop {
            // Each step by a process of its own.
            let mut store = store_of(&path);
            let moved = store.move_older(7);
            let entries =
                expected.iter().map(|found| Entry::Settlement { settlement: found.clone(), example: None });
            let folded = store.fold(&entries.collect::<Vec<_>>()).unwrap();
            assert_eq!(folded, Folded { settlements: 0, duplicates: 60 }, "step {steps}");
            assert_eq!(all(&path), expected, "step {steps}");
            if !moved {
                break;
            }
            steps += 1;
        }
        assert_eq!(steps, 10, "nine with rows, and one that takes the tables away");
        let rows: i64 = store_of(&path)
            .connection()
            .query_row("SELECT count(*) FROM request_rows", [], |row| row.get(0))
            .unwrap();
        assert_eq!(rows, 60);
    }

    #[test]
    fn a_row_that_nobody_wrote_stays_and_holds_nothing_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.sqlite");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch(VERSION_2).unwrap();
        connection.execute("UPDATE requests SET label = 'secret' WHERE seq = 20", []).unwrap();
        drop(connection);
        let mut store = store_of(&path);
        assert!(store.move_older(7) && store.move_older(7));
        assert!(!store.move_older(7) && !store.tidy(0).unwrap());
        let settlement = crate::format::tests::settlement(1 << 100);
        let folded =
            store.fold(&[Entry::Settlement { settlement: settlement.clone(), example: None }]).unwrap();
        assert_eq!(folded.settlements, 1);
        let filter = RequestFilter { request_id: Some(settlement.request_id), ..RequestFilter::default() };
        let mut reader = SqliteReader::open(&path).unwrap();
        assert_eq!(reader.requests(&filter, None, 1).unwrap().requests, [settlement]);
    }
}
