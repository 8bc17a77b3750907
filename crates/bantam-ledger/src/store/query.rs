//! Lists rows: requests, templates, examples.

use std::ops::Range;

use bantam_books::{ExampleRecord, Place, TemplateRecord, TimeRange};
use bantam_types::{Settlement, TaskName, Template};
use rusqlite::{Connection, Params, Row, params};

use super::fold::id_bytes;
use super::row::{ATTEMPT_COLUMNS, Names, SUMMARY_COLUMNS, attempt, get, name, summary, summary_attempt};
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

/// Adds the attempts of a request that was read without them.
pub(super) fn add_attempts(
    connection: &Connection,
    seq: i64,
    request: &mut Settlement,
) -> Result<(), QueryError> {
    let sql = format!(
        "SELECT {ATTEMPT_COLUMNS} FROM attempts a LEFT JOIN prices p ON p.id = a.price \
         WHERE a.seq = ?1 ORDER BY a.ordinal"
    );
    for_rows(connection, &sql, [seq], |row| {
        request.attempts.push(attempt(row)?);
        Ok(())
    })
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
    let sql = format!(
        "SELECT {SUMMARY_COLUMNS} FROM requests r LEFT JOIN origins o ON o.id = r.origin \
         LEFT JOIN attempts a ON a.seq = r.seq \
         WHERE r.seq >= ?1 AND r.seq < ?2 AND r.arrived_ms >= ?3 AND r.arrived_ms < ?4 ORDER BY r.seq, a.ordinal"
    );
    let mut names = Names::default();
    let mut current: Option<(i64, Settlement)> = None;
    let columns = params![numbers.start, numbers.end, range.from_unix_ms, range.until_unix_ms];
    for_rows(connection, &sql, columns, |row| {
        let seq = get(row, 0)?;
        if current.as_ref().is_none_or(|(last, _)| *last != seq) {
            let next = (seq, summary(row, &mut names)?);
            if let Some((last, request)) = current.replace(next) {
                each(last, &request)?;
            }
        }
        if let (Some((_, request)), Some(attempt)) = (&mut current, summary_attempt(row, &mut names)?) {
            request.attempts.push(attempt);
        }
        Ok(())
    })?;
    current.map_or(Ok(()), |(last, request)| each(last, &request))
}
