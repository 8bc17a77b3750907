//! Lists requests by any filter, newest first.

use bantam_books::{Cursor, RequestFilter, RequestPage, TimeRange};
use bantam_types::Settlement;
use rusqlite::{Connection, OptionalExtension, params};

use super::blocks::{Wanted, block_of, numbers_of};
use super::fold::id_bytes;
use super::query::{Rows, for_rows, request};
use super::row::get;
use crate::error::{DatabaseError, QueryError};

/// Returns a page of requests with their attempts.
pub(super) fn requests(
    connection: &mut Connection,
    filter: &RequestFilter,
    after: Option<Cursor>,
    limit: u32,
) -> Result<RequestPage, QueryError> {
    let transaction = connection.transaction().map_err(DatabaseError::when("begin to read"))?;
    let before = after.map_or(i64::MAX, |after| i64::try_from(after.0).unwrap_or(i64::MAX));
    let mut page = Page {
        connection: &transaction,
        filter,
        before,
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
        found: Vec::new(),
    };
    match filter.request_id {
        Some(request_id) => page.add_one(request_id)?,
        None => page.walk()?,
    }
    Ok(page.finish())
}

struct Page<'a> {
    connection: &'a Connection,
    filter: &'a RequestFilter,
    /// Only requests with smaller numbers are listed.
    before: i64,
    limit: usize,
    /// What was found, one more than the limit when there is more.
    found: Vec<(i64, Settlement)>,
}

impl Page<'_> {
    fn add_one(&mut self, request_id: u128) -> Result<(), QueryError> {
        let sql = "SELECT seq FROM requests WHERE request_id = ?1";
        let found = self.connection.query_row(sql, [id_bytes(request_id)], |row| row.get(0)).optional();
        match found.map_err(DatabaseError::when("answer a query"))? {
            Some(seq) if seq < self.before => self.add(seq),
            _ => Ok(()),
        }
    }

    /// Walks the blocks backwards until the page is full.
    fn walk(&mut self) -> Result<(), QueryError> {
        let failed = DatabaseError::when("answer a query");
        let wanted = Wanted::find(self.connection, self.filter).map_err(&failed)?;
        if wanted.as_ref().is_some_and(Wanted::is_empty) {
            return Ok(());
        }
        let range = self.filter.range.unwrap_or(TimeRange::ALL);
        let sql =
            "SELECT block, first_ms, last_ms, members FROM blocks WHERE block <= ?1 ORDER BY block DESC";
        let mut statement = self.connection.prepare_cached(sql).map_err(&failed)?;
        let mut blocks = statement.query([block_of(self.before.saturating_sub(1))]).map_err(&failed)?;
        while let (false, Some(row)) = (self.is_full(), blocks.next().map_err(&failed)?) {
            let (block, first_ms, last_ms): (i64, i64, i64) = (get(row, 0)?, get(row, 1)?, get(row, 2)?);
            if last_ms < range.from_unix_ms || range.until_unix_ms <= first_ms {
                continue;
            }
            let Some(wanted) = &wanted else {
                self.add_all(block, range)?;
                continue;
            };
            let bytes = row.get_ref(3).map_err(&failed)?;
            let bytes = bytes.as_blob().map_err(|_| QueryError::Value { column: "members" })?;
            let members = wanted.members(block, bytes);
            let members = members.map_err(|source| QueryError::Bytes { column: "members", source })?;
            for seq in members {
                if self.is_full() {
                    break;
                }
                if seq < self.before {
                    self.add(seq)?;
                }
            }
        }
        Ok(())
    }

    /// Adds the requests of a block that no filter but the time tells apart.
    fn add_all(&mut self, block: i64, range: TimeRange) -> Result<(), QueryError> {
        let sql = "SELECT seq FROM requests WHERE seq >= ?1 AND seq < ?2 AND arrived_ms >= ?3 AND arrived_ms < ?4 \
                   ORDER BY seq DESC LIMIT ?5";
        let numbers = numbers_of(block);
        let end = numbers.end.min(self.before);
        let left = self.limit.saturating_sub(self.found.len()).saturating_add(1);
        let left = i64::try_from(left).unwrap_or(i64::MAX);
        let columns = params![numbers.start, end, range.from_unix_ms, range.until_unix_ms, left];
        let mut numbers: Vec<i64> = Vec::new();
        for_rows(self.connection, sql, columns, |row| {
            numbers.push(get(row, 0)?);
            Ok(())
        })?;
        numbers.into_iter().try_for_each(|seq| self.add(seq))
    }

    /// Adds a request, if it is there and passes.
    fn add(&mut self, seq: i64) -> Result<(), QueryError> {
        if let Some(request) = request(self.connection, Rows::All, seq)?
            && self.filter.passes(&request)
        {
            self.found.push((seq, request));
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.found.len() > self.limit
    }

    fn finish(mut self) -> RequestPage {
        let has_more = self.is_full();
        self.found.truncate(self.limit);
        let next = self.found.last().filter(|_| has_more).map(|(seq, _)| Cursor(seq.unsigned_abs()));
        RequestPage { requests: self.found.into_iter().map(|(_, request)| request).collect(), next }
    }
}
