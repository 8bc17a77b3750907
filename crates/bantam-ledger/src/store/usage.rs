//! Reports of usage, from roll-ups.
//!
//! Whole days come from the rows of days, other whole hours from the rows of hours, and only the two parts of hours
//! at the ends of a span from requests. An hour whose requests were removed, wholly or in part, is counted as a whole:
//! a little too much is closer to the truth than nothing. And the hour of the last arrival is whole as soon as the span
//! goes beyond that arrival, which "until now" always does.

use std::ops::Range;

use bantam_books::{GroupBy, Tally, TimeRange, UsageRow};
use rusqlite::{Connection, OptionalExtension, params};

use super::blocks::numbers_of;
use super::query::{for_requests, for_rows};
use super::rollup;
use super::rollups::{DAY, HOUR_MS, dimension, hour_of, key_of};
use super::row::get;
use crate::error::{DatabaseError, QueryError};

/// Returns the usage in `range`, one row a group, in the order of the keys.
pub(super) fn usage(
    connection: &mut Connection,
    range: TimeRange,
    by: GroupBy,
) -> Result<Vec<UsageRow>, QueryError> {
    let transaction = connection.transaction().map_err(DatabaseError::when("begin to read"))?;
    let mut report = Report { connection: &transaction, by, tally: Tally::new(range, by) };
    if range.from_unix_ms < range.until_unix_ms {
        report.add(range)?;
    }
    Ok(report.tally.into_rows())
}

struct Report<'c> {
    connection: &'c Connection,
    by: GroupBy,
    tally: Tally,
}

impl Report<'_> {
    fn add(&mut self, range: TimeRange) -> Result<(), QueryError> {
        let TimeRange { from_unix_ms: from, until_unix_ms: until } = range;
        // All time is whole hours.
        let cuts_first = from.rem_euclid(HOUR_MS) != 0 && from != i64::MIN;
        let cuts_last = until.rem_euclid(HOUR_MS) != 0 && until != i64::MAX;
        let mut whole = hour_of(from)..hour_of(until) + i64::from(until == i64::MAX);
        if cuts_first && cuts_last && whole.is_empty() {
            whole.end += i64::from(self.add_part(whole.start, range)?);
            return self.add_hours(whole);
        }
        if cuts_first {
            let until_unix_ms = (whole.start + 1).saturating_mul(HOUR_MS);
            let counts_whole = self.add_part(whole.start, TimeRange { until_unix_ms, ..range })?;
            whole.start += i64::from(!counts_whole);
        }
        if cuts_last {
            let from_unix_ms = whole.end.saturating_mul(HOUR_MS);
            let counts_whole = self.add_part(whole.end, TimeRange { from_unix_ms, ..range })?;
            whole.end += i64::from(counts_whole);
        }
        self.add_hours(whole)
    }

    /// Adds the requests of a part of an hour, or returns that the hour has to be counted as a whole.
    fn add_part(&mut self, hour: i64, part: TimeRange) -> Result<bool, QueryError> {
        if self.is_thinned(hour)? || self.has_all(hour, part)? {
            return Ok(true);
        }
        let sql = "SELECT block FROM blocks WHERE first_ms < ?1 AND last_ms >= ?2";
        let mut blocks: Vec<i64> = Vec::new();
        for_rows(self.connection, sql, [part.until_unix_ms, part.from_unix_ms], |row| {
            blocks.push(get(row, 0)?);
            Ok(())
        })?;
        for block in blocks {
            for_requests(self.connection, numbers_of(block), part, |_, request| {
                self.tally.add(request);
                Ok(())
            })?;
        }
        Ok(false)
    }

    fn is_thinned(&self, hour: i64) -> Result<bool, QueryError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT 1 FROM thinned WHERE hour = ?1")
            .map_err(DatabaseError::when("answer a query"))?;
        Ok(statement.exists([hour]).map_err(DatabaseError::when("answer a query"))?)
    }

    /// Returns whether a part that begins with its hour ends after the last arrival of that hour.
    fn has_all(&self, hour: i64, part: TimeRange) -> Result<bool, QueryError> {
        if part.from_unix_ms != hour.saturating_mul(HOUR_MS) {
            return Ok(false);
        }
        let sql = "SELECT usage FROM rollups WHERE dimension = 0 AND hours = 1 AND begin = ?1 AND key = 0";
        let found: Option<Vec<u8>> = self
            .connection
            .query_row(sql, [hour], |row| row.get(0))
            .optional()
            .map_err(DatabaseError::when("answer a query"))?;
        let Some(bytes) = found else { return Ok(true) };
        let usage = decoded(&bytes)?;
        Ok(usage.last_arrival_unix_ms.is_none_or(|last| last < part.until_unix_ms))
    }

    /// Adds whole hours, by days where there are rows of days.
    fn add_hours(&mut self, hours: Range<i64>) -> Result<(), QueryError> {
        let sql = "SELECT max(begin) FROM rollups WHERE dimension = 0 AND hours = 1";
        let newest: Option<i64> = self
            .connection
            .query_row(sql, [], |row| row.get(0))
            .map_err(DatabaseError::when("answer a query"))?;
        let Some(newest) = newest else { return Ok(()) };
        let first_day = hours.start.div_euclid(DAY) + i64::from(hours.start.rem_euclid(DAY) != 0);
        let end_day = hours.end.div_euclid(DAY).min(newest.div_euclid(DAY));
        if first_day >= end_day {
            return self.add_rows(1, hours);
        }
        self.add_rows(1, hours.start..first_day * DAY)?;
        self.add_rows(DAY, first_day * DAY..end_day * DAY)?;
        self.add_rows(1, end_day * DAY..hours.end)
    }

    fn add_rows(&mut self, length: i64, hours: Range<i64>) -> Result<(), QueryError> {
        let sql = "SELECT begin, key, usage FROM rollups \
                   WHERE dimension = ?1 AND hours = ?2 AND begin >= ?3 AND begin < ?4";
        let columns = params![dimension(self.by), length, hours.start, hours.end];
        for_rows(self.connection, sql, columns, |row| {
            let failed = DatabaseError::when("give a column");
            let key = key_of(self.by, get(row, 0)?, row.get_ref(1).map_err(&failed)?)?;
            let bytes = row.get_ref(2).map_err(&failed)?;
            let bytes = bytes.as_blob().map_err(|_| QueryError::Value { column: "usage" })?;
            self.tally.merge(key, &decoded(bytes)?);
            Ok(())
        })
    }
}

fn decoded(bytes: &[u8]) -> Result<bantam_books::Usage, QueryError> {
    rollup::decode(bytes).map_err(|source| QueryError::Bytes { column: "usage", source })
}
