//! Removes the oldest rows, and gives room back, a few rows at a time.
//!
//! One step is one small transaction on the folding thread, between folds: settling only appends to the journal, so it
//! waits for none of this. Roll-ups stay, so reports of past months stay.

use std::collections::BTreeSet;
use std::ops::Range;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::blocks::{block_of, numbers_of};
use super::fold::{Memory, NEXT_SEQ_MARK};
use super::rollups::hour_of;
use crate::options::Retention;

/// How many rows one step removes.
const ROWS: i64 = 256;
/// How many pages one step gives back.
const PAGES: i64 = 256;
const DAY_MS: i64 = 86_400_000;

/// Removes a few rows or gives a few pages back. Returns whether it did.
pub(super) fn remove_oldest(
    connection: &mut Connection,
    memory: &mut Memory,
    retention: Retention,
    now_ms: i64,
) -> rusqlite::Result<bool> {
    if let Some(days) = retention.days {
        let before_ms = now_ms.saturating_sub(i64::from(days) * DAY_MS);
        if remove_examples(connection, before_ms)? || remove_aged(connection, memory, before_ms)? {
            return Ok(true);
        }
    }
    if let Some(bytes) = retention.bytes
        && used_bytes(connection)? > bytes
        && remove_first(connection, memory)?
    {
        return Ok(true);
    }
    shrink(connection)
}

fn remove_examples(connection: &Connection, before_ms: i64) -> rusqlite::Result<bool> {
    let sql = "DELETE FROM examples WHERE id IN \
               (SELECT id FROM examples WHERE recorded_ms < ?1 ORDER BY recorded_ms LIMIT ?2)";
    Ok(connection.prepare_cached(sql)?.execute([before_ms, ROWS])? > 0)
}

/// Removes requests that arrived before a time, of the first block that has any.
fn remove_aged(connection: &mut Connection, memory: &mut Memory, before_ms: i64) -> rusqlite::Result<bool> {
    let sql = "SELECT block FROM blocks WHERE first_ms < ?1 ORDER BY block LIMIT 1";
    let block = connection.prepare_cached(sql)?.query_row([before_ms], |row| row.get(0)).optional()?;
    block.map_or(Ok(false), |block| remove(connection, memory, block, Some(before_ms)).map(|()| true))
}

/// Removes the first requests, whatever their age. Those of the newest block stay.
fn remove_first(connection: &mut Connection, memory: &mut Memory) -> rusqlite::Result<bool> {
    let newest = block_of(memory.next_seq(connection)?);
    let sql = "SELECT block FROM blocks WHERE block < ?1 ORDER BY block LIMIT 1";
    let block = connection.prepare_cached(sql)?.query_row([newest], |row| row.get(0)).optional()?;
    block.map_or(Ok(false), |block| remove(connection, memory, block, None).map(|()| true))
}

/// Removes some requests of a block, those alone that arrived before a time where one is given, and keeps what tells of them in step.
fn remove(
    connection: &mut Connection,
    memory: &mut Memory,
    block: i64,
    before_ms: Option<i64>,
) -> rusqlite::Result<()> {
    let next_seq = memory.next_seq(connection)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let Range { start, end } = numbers_of(block);
    let sql = "SELECT seq, arrived_ms FROM request_rows WHERE seq >= ?1 AND seq < ?2 \
               AND (?3 IS NULL OR arrived_ms < ?3) ORDER BY seq LIMIT ?4";
    let old: Vec<(i64, i64)> = {
        let mut statement = transaction.prepare_cached(sql)?;
        let rows = statement
            .query_map(params![start, end, before_ms, ROWS], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect::<rusqlite::Result<_>>()?
    };
    let mut hours = BTreeSet::new();
    for (seq, arrived_ms) in old {
        transaction.prepare_cached("DELETE FROM further_attempts WHERE seq = ?1")?.execute([seq])?;
        transaction.prepare_cached("DELETE FROM request_rows WHERE seq = ?1")?.execute([seq])?;
        hours.insert(hour_of(arrived_ms));
    }
    for hour in hours {
        transaction.prepare_cached("INSERT OR IGNORE INTO thinned (hour) VALUES (?1)")?.execute([hour])?;
    }
    let sql = "SELECT min(arrived_ms), max(arrived_ms) FROM request_rows WHERE seq >= ?1 AND seq < ?2";
    let bounds: (Option<i64>, Option<i64>) =
        transaction.prepare_cached(sql)?.query_row([start, end], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if let (Some(first_ms), Some(last_ms)) = bounds {
        let sql = "UPDATE blocks SET first_ms = ?2, last_ms = ?3 WHERE block = ?1";
        transaction.prepare_cached(sql)?.execute([block, first_ms, last_ms])?;
    } else {
        transaction.prepare_cached("DELETE FROM blocks WHERE block = ?1")?.execute([block])?;
    }
    let sql =
        "INSERT INTO marks (name, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value";
    transaction.prepare_cached(sql)?.execute(params![NEXT_SEQ_MARK, next_seq])?;
    transaction.commit()?;
    memory.summaries.blocks.forget();
    Ok(())
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<i64> {
    connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0))
}

/// Returns how much of the file holds something.
fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let pages = number(connection, "page_count")? - number(connection, "freelist_count")?;
    Ok(pages.unsigned_abs().saturating_mul(number(connection, "page_size")?.unsigned_abs()))
}

/// Gives some free pages back to the file system. A megabyte is kept: rows to come need it.
fn shrink(connection: &Connection) -> rusqlite::Result<bool> {
    if number(connection, "freelist_count")? <= PAGES || number(connection, "auto_vacuum")? != INCREMENTAL {
        return Ok(false);
    }
    let mut statement = connection.prepare_cached(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
    // Each row of the answer is one page.
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(true)
}

/// What `PRAGMA auto_vacuum` says of a file whose pages are given back when asked.
const INCREMENTAL: i64 = 2;

/// Writes an older file anew, once, so that its pages can be given back in small steps from then on.
pub(super) fn give_pages_back(connection: &Connection) -> rusqlite::Result<()> {
    if number(connection, "auto_vacuum")? == INCREMENTAL {
        return Ok(());
    }
    connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; VACUUM;")?;
    checkpoint(connection)
}

/// Erases the texts of templates that an earlier run kept.
pub(super) fn erase_previews(connection: &Connection) -> rusqlite::Result<()> {
    let sql = "UPDATE templates SET system_preview = '', prefix = '', suffix = '' \
               WHERE system_preview <> '' OR prefix <> '' OR suffix <> ''";
    if connection.execute(sql, [])? > 0 {
        // The log still has the pages as they were until it is brought in and begun anew.
        checkpoint(connection)?;
    }
    Ok(())
}

/// Brings the log into the file and cuts it. A reader that holds it up is no failure: the next checkpoint does it.
fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}
