//! Lists rows: requests, templates, examples.

use std::ops::Range;

use bantam_books::{ExampleRecord, Place, TemplateRecord, TimeRange};
use bantam_types::{AttemptRecord, Settlement, TaskName, Template};
use rusqlite::{Connection, Params, Row, params};

use super::fold::id_bytes;
use super::row::{
    ATTEMPT_COLUMNS, ATTEMPT_SUMMARY_COLUMNS, Names, REQUEST_COLUMNS, SUMMARY_COLUMNS, attempt,
    attempt_summary, get, name, settlement, summary,
};
use crate::error::{DatabaseError, QueryError};

/// Calls `each` for every row of a query, until it fails.
pub(super) fn for_rows(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    mut each: impl FnMut(&Row<'_>) -> Result<(), QueryError>,
) -> Result<(), QueryError> {
    let failed = DatabaseError::when("answer a query");
    let mut statement = connection.prepare_cached(sql).map_err(&failed)?;
    let mut rows = statement.query(params).map_err(&failed)?;
    while let Some(row) = rows.next().map_err(&failed)? {
        each(row)?;
    }
    Ok(())
}

/// Which views are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// All rows.
    All,
    /// Rows of an older version that were not moved yet.
    Older,
}

/// Returns the request of a number with its attempts.
pub(super) fn request(
    connection: &Connection,
    rows: Rows,
    seq: i64,
) -> Result<Option<Settlement>, QueryError> {
    let (requests, attempts) = match rows {
        Rows::All => ("requests", &["first_attempts", "later_attempts"][..]),
        Rows::Older => ("older_requests", &["older_attempts"][..]),
    };
    let mut found = None;
    for_rows(
        connection,
        &format!("SELECT {REQUEST_COLUMNS} FROM {requests} WHERE seq = ?1"),
        [seq],
        |row| {
            found = Some(settlement(row)?);
            Ok(())
        },
    )?;
    let Some(mut found) = found else { return Ok(None) };
    for attempts in attempts {
        let sql = format!("SELECT {ATTEMPT_COLUMNS} FROM {attempts} WHERE seq = ?1 ORDER BY ordinal");
        for_rows(connection, &sql, [seq], |row| {
            found.attempts.push(attempt(row)?);
            Ok(())
        })?;
    }
    Ok(Some(found))
}

/// Returns all discovered templates, first seen first.
pub(super) fn templates(connection: &Connection) -> Result<Vec<TemplateRecord>, QueryError> {
    let sql = "SELECT template, system_preview, prefix, suffix, first_seen_ms FROM templates \
               ORDER BY first_seen_ms, template";
    let mut found = Vec::new();
    for_rows(connection, sql, [], |row| {
        found.push(TemplateRecord {
            template: Template(get::<i64>(row, 0)?.cast_unsigned()),
            system_preview: get(row, 1)?,
            prefix: get(row, 2)?,
            suffix: get(row, 3)?,
            first_seen_ms: get(row, 4)?,
        });
        Ok(())
    })?;
    Ok(found)
}

/// Returns the next examples of a task in time order.
pub(super) fn examples(
    connection: &Connection,
    task: &TaskName,
    after: Option<Place>,
    limit: u32,
) -> Result<Vec<ExampleRecord>, QueryError> {
    let sql = "SELECT request_id, task, text, answer, model, recorded_ms FROM examples \
               WHERE task = ?1 AND (recorded_ms, request_id) > (?2, ?3) \
               ORDER BY recorded_ms, request_id LIMIT ?4";
    // No bytes sort before all bytes, so the first page begins before every request of the first time.
    let (after_ms, after_id) = after
        .map_or((i64::MIN, Vec::new()), |place| (place.recorded_ms, id_bytes(place.request_id).to_vec()));
    let mut found = Vec::new();
    for_rows(connection, sql, params![task.as_str(), after_ms, after_id, limit], |row| {
        found.push(ExampleRecord {
            request_id: u128::from_be_bytes(get(row, 0)?),
            task: name(row, 1, "task", |name| name.parse().ok())?,
            text: get(row, 2)?,
            answer: get(row, 3)?,
            model: get(row, 4)?,
            recorded_ms: get(row, 5)?,
        });
        Ok(())
    })?;
    Ok(found)
}

/// Calls `each` with the number of every request that arrived in a span of time and what [`Usage`] asks of it, first
/// settled first. The rest of the request is empty.
///
/// [`Usage`]: bantam_books::Usage
pub(super) fn for_requests(
    connection: &Connection,
    numbers: Range<i64>,
    range: TimeRange,
    mut each: impl FnMut(i64, &Settlement) -> Result<(), QueryError>,
) -> Result<(), QueryError> {
    let failed = DatabaseError::when("answer a query");
    let [mut first, mut later] = {
        let prepare = |view| {
            let order = "ORDER BY seq, ordinal";
            connection.prepare_cached(&format!(
                "SELECT {ATTEMPT_SUMMARY_COLUMNS} FROM {view} WHERE seq >= ?1 AND seq < ?2 {order}"
            ))
        };
        [prepare("first_attempts").map_err(&failed)?, prepare("later_attempts").map_err(&failed)?]
    };
    let mut attempts = Vec::new();
    for statement in [&mut first, &mut later] {
        let rows = statement.query([numbers.start, numbers.end]).map_err(&failed)?;
        attempts.push(AttemptsInOrder { rows, pending: None });
    }
    let sql = format!(
        "SELECT {SUMMARY_COLUMNS} FROM requests \
         WHERE seq >= ?1 AND seq < ?2 AND arrived_ms >= ?3 AND arrived_ms < ?4 ORDER BY seq"
    );
    let columns = params![numbers.start, numbers.end, range.from_unix_ms, range.until_unix_ms];
    let mut names = Names::default();
    for_rows(connection, &sql, columns, |row| {
        let (seq, mut request): (i64, _) = (get(row, 0)?, summary(row, &mut names)?);
        for attempts in &mut attempts {
            attempts.add_to(&mut request, seq, &mut names)?;
        }
        each(seq, &request)
    })
}

/// Attempts in the order of their requests' numbers.
struct AttemptsInOrder<'s> {
    rows: rusqlite::Rows<'s>,
    /// The attempt that was read last, with the number of its request.
    pending: Option<(i64, AttemptRecord)>,
}

impl AttemptsInOrder<'_> {
    /// Adds the attempts of a request, and passes those of requests before it.
    fn add_to(&mut self, request: &mut Settlement, seq: i64, names: &mut Names) -> Result<(), QueryError> {
        loop {
            if self.pending.is_none() {
                let row = self.rows.next().map_err(DatabaseError::when("answer a query"))?;
                let Some(row) = row else { return Ok(()) };
                self.pending = Some((get(row, 0)?, attempt_summary(row, names)?));
            }
            match self.pending.take() {
                Some((of, attempt)) if of == seq => request.attempts.push(attempt),
                // An attempt of a request that is not in the span of time.
                Some((of, _)) if of < seq => {}
                later => {
                    self.pending = later;
                    return Ok(());
                }
            }
        }
    }
}
