//! Lists rows: requests, templates, examples.

use bantam_types::{Settlement, TaskName, Template};
use rusqlite::types::{ToSqlOutput, Value};
use rusqlite::{Connection, Params, Row, params, params_from_iter};

use super::Place;
use super::fold::id_bytes;
use super::row::{ATTEMPT_COLUMNS, REQUEST_COLUMNS, attempt, get, name, settlement};
use crate::entry::{ExampleRecord, TemplateRecord};
use crate::error::{DatabaseError, QueryError};
use crate::usage::RequestFilter;

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

/// Returns the newest requests with their attempts.
pub(super) fn requests(
    connection: &mut Connection,
    filter: &RequestFilter,
    limit: u32,
) -> Result<Vec<Settlement>, QueryError> {
    let transaction = connection.transaction().map_err(DatabaseError::when("begin to read"))?;
    let (conditions, mut values) = conditions(filter);
    values.push(limit.into());
    let sql =
        format!("SELECT {REQUEST_COLUMNS} FROM requests WHERE 1 {conditions} ORDER BY seq DESC LIMIT ?");
    let mut found = Vec::new();
    for_rows(&transaction, &sql, params_from_iter(values.into_iter().map(ToSqlOutput::Owned)), |row| {
        found.push((get::<i64>(row, 0)?, settlement(row)?));
        Ok(())
    })?;
    let sql = format!(
        "SELECT {ATTEMPT_COLUMNS} FROM attempts a LEFT JOIN prices p ON p.id = a.price \
         WHERE a.seq = ?1 ORDER BY a.ordinal"
    );
    for (seq, settlement) in &mut found {
        for_rows(&transaction, &sql, [*seq], |row| {
            settlement.attempts.push(attempt(row)?);
            Ok(())
        })?;
    }
    Ok(found.into_iter().map(|(_, settlement)| settlement).collect())
}

/// Returns the SQL of a filter, which is made of constants only, and the values it compares with.
fn conditions(filter: &RequestFilter) -> (String, Vec<Value>) {
    let (mut sql, mut values) = (String::new(), Vec::new());
    let mut add = |condition: &str, value: Value| {
        sql.push_str(condition);
        values.push(value);
    };
    if let Some(request_id) = filter.request_id {
        add(" AND request_id = ?", id_bytes(request_id).to_vec().into());
    }
    if let Some(range) = filter.range {
        add(" AND arrived_ms >= ?", range.from_unix_ms.into());
        add(" AND arrived_ms < ?", range.until_unix_ms.into());
    }
    if let Some(task) = &filter.task {
        add(" AND task = ?", task.to_string().into());
    }
    if let Some(outcome) = filter.outcome {
        add(" AND outcome = ?", outcome.as_str().to_owned().into());
    }
    (sql, values)
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
    after: Place,
    limit: u32,
) -> Result<Vec<ExampleRecord>, QueryError> {
    let sql = "SELECT request_id, task, text, answer, model, recorded_ms FROM examples \
               WHERE task = ?1 AND (recorded_ms, request_id) > (?2, ?3) \
               ORDER BY recorded_ms, request_id LIMIT ?4";
    // No bytes sort before all bytes, so the first page begins before every request of the first time.
    let (after_ms, after_id) = after.map_or((i64::MIN, Vec::new()), |(ms, id)| (ms, id_bytes(id).to_vec()));
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
