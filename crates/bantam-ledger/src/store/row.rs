//! Columns back to values.

use std::sync::Arc;

use bantam_types::{
    AttemptOutcome, AttemptRecord, EscalationReason, Price, RequestOutcome, Settlement, Template, TokenUsage,
    Usd, UsdPerMillion,
};
use rusqlite::Row;
use rusqlite::types::FromSql;

use crate::error::{DatabaseError, QueryError};

/// The columns that [`settlement`] reads.
pub(super) const REQUEST_COLUMNS: &str = "seq, request_id, arrived_ms, task, template, requested_model, \
     label, outcome, status, streamed, duration_us, baseline_pico";

/// The columns that [`attempt`] reads, of `attempts a LEFT JOIN prices p`.
pub(super) const ATTEMPT_COLUMNS: &str = "a.backend, a.model, a.tier, a.tokens_in, a.tokens_cached, \
     a.tokens_out, a.started_us, a.first_byte_us, a.last_byte_us, a.cost_pico, a.confidence, a.verdict, \
     a.reason, a.retries, p.input_micros, p.cached_input_micros, p.output_micros, p.as_of";

/// Returns a request without its attempts.
pub(super) fn settlement(row: &Row<'_>) -> Result<Settlement, QueryError> {
    Ok(Settlement {
        request_id: u128::from_be_bytes(get(row, 1)?),
        arrived_unix_ms: get(row, 2)?,
        task: named(get::<Option<String>>(row, 3)?, "task", |name| name.parse().ok())?,
        template: get::<Option<i64>>(row, 4)?.map(|template| Template(template.cast_unsigned())),
        requested_model: get(row, 5)?,
        label: name(row, 6, "label", |name| name.parse().ok())?,
        outcome: name(row, 7, "outcome", outcome)?,
        status: get(row, 8)?,
        streamed: get(row, 9)?,
        duration_us: count(row, 10)?,
        baseline_cost: get::<Option<i64>>(row, 11)?.map(Usd::from_picodollars),
        attempts: Vec::new(),
    })
}

/// Returns one attempt.
pub(super) fn attempt(row: &Row<'_>) -> Result<AttemptRecord, QueryError> {
    let usage = match get::<Option<i64>>(row, 3)? {
        None => None,
        Some(_) => {
            Some(TokenUsage { input: count(row, 3)?, cached_input: count(row, 4)?, output: count(row, 5)? })
        }
    };
    Ok(AttemptRecord {
        backend: get::<String>(row, 0)?.into(),
        model: get::<String>(row, 1)?.into(),
        tier: name(row, 2, "tier", |name| name.parse().ok())?,
        usage,
        started_us: count(row, 6)?,
        first_byte_us: get::<Option<i64>>(row, 7)?.map(i64::unsigned_abs),
        last_byte_us: count(row, 8)?,
        price: price(row)?.map(Arc::new),
        cost: get::<Option<i64>>(row, 9)?.map(Usd::from_picodollars),
        confidence: get(row, 10)?,
        outcome: verdict(row)?,
        retries: get(row, 13)?,
    })
}

fn price(row: &Row<'_>) -> Result<Option<Price>, QueryError> {
    let Some(as_of) = get(row, 17)? else {
        return Ok(None);
    };
    Ok(Some(Price {
        input: UsdPerMillion::from_micros(count(row, 14)?),
        cached_input: UsdPerMillion::from_micros(count(row, 15)?),
        output: UsdPerMillion::from_micros(count(row, 16)?),
        as_of,
    }))
}

fn verdict(row: &Row<'_>) -> Result<AttemptOutcome, QueryError> {
    let why = named(get::<Option<String>>(row, 12)?, "reason", reason)?;
    name(row, 11, "verdict", |name| {
        let with_reason =
            why.into_iter().flat_map(|why| [AttemptOutcome::Discarded(why), AttemptOutcome::Failed(why)]);
        [AttemptOutcome::Accepted, AttemptOutcome::Cancelled]
            .into_iter()
            .chain(with_reason)
            .find(|outcome| outcome.as_str() == name && outcome.reason() == why)
    })
}

fn outcome(name: &str) -> Option<RequestOutcome> {
    use RequestOutcome::{Answered, Cancelled, Failed, Refused};
    [Answered, Refused, Failed, Cancelled].into_iter().find(|outcome| outcome.as_str() == name)
}

/// Returns the reason of that name.
pub(super) fn reason(name: &str) -> Option<EscalationReason> {
    EscalationReason::ALL.into_iter().find(|reason| reason.as_str() == name)
}

/// Returns a column that has to hold one of some names.
pub(super) fn name<T>(
    row: &Row<'_>,
    at: usize,
    column: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, QueryError> {
    parse(&get::<String>(row, at)?).ok_or(QueryError::Value { column })
}

/// Returns what a column's text names, nothing for no text.
pub(super) fn named<T>(
    text: Option<String>,
    column: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, QueryError> {
    text.map(|text| parse(&text).ok_or(QueryError::Value { column })).transpose()
}

/// Returns a column as it is.
pub(super) fn get<T: FromSql>(row: &Row<'_>, at: usize) -> Result<T, QueryError> {
    row.get(at).map_err(DatabaseError::when("give a column")).map_err(QueryError::from)
}

/// Returns a column that counts something.
pub(super) fn count(row: &Row<'_>, at: usize) -> Result<u64, QueryError> {
    Ok(get::<i64>(row, at)?.unsigned_abs())
}
