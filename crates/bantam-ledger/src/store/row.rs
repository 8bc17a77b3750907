//! Columns back to values.

use std::borrow::Cow;
use std::sync::Arc;

use bantam_types::{
    AttemptOutcome, AttemptRecord, EscalationReason, FaultKind, Label, Price, RequestOutcome, Settlement,
    Template, TokenUsage, Usd, UsdPerMillion,
};
use rusqlite::Row;
use rusqlite::types::FromSql;

use crate::error::{DatabaseError, QueryError};

/// The columns that [`settlement`] reads, of `requests r LEFT JOIN origins o`.
pub(super) const REQUEST_COLUMNS: &str = "r.seq, r.request_id, r.arrived_ms, r.task, r.template, \
     r.requested_model, r.label, r.outcome, r.status, r.streamed, r.duration_us, r.baseline_pico, o.caller, \
     o.endpoint, o.dialect";

/// The columns that [`attempt`] reads, of `attempts a LEFT JOIN prices p`.
pub(super) const ATTEMPT_COLUMNS: &str = "a.backend, a.model, a.tier, a.tokens_in, a.tokens_cached, \
     a.tokens_out, a.started_us, a.first_byte_us, a.last_byte_us, a.cost_pico, a.confidence, a.verdict, \
     a.reason, a.retries, p.input_micros, p.cached_input_micros, p.output_micros, p.as_of, \
     a.fault, a.upstream_status";

/// The columns that [`summary`] and [`summary_attempt`] read, of `requests r LEFT JOIN origins o LEFT JOIN attempts
/// a`.
pub(super) const SUMMARY_COLUMNS: &str = "r.seq, r.arrived_ms, r.task, r.template, o.caller, o.endpoint, \
     r.outcome, r.duration_us, r.baseline_pico, a.verdict, a.reason, a.tier, a.model, a.tokens_in, \
     a.tokens_cached, a.tokens_out, a.cost_pico";

/// Names that were read last: few names are in many rows, and each is allocated once.
#[derive(Default)]
pub(super) struct Names(Vec<Arc<str>>);

impl Names {
    const MAX: usize = 64;

    fn get(
        &mut self,
        row: &Row<'_>,
        at: usize,
        column: &'static str,
    ) -> Result<Option<Arc<str>>, QueryError> {
        let value = row.get_ref(at).map_err(DatabaseError::when("give a column"))?;
        let text = value.as_str_or_null().map_err(|_| QueryError::Value { column })?;
        Ok(text.map(|text| self.known(text)))
    }

    /// Returns the name, without a new allocation when it was met lately.
    pub(super) fn known(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.iter().find(|known| known.as_ref() == text) {
            return Arc::clone(known);
        }
        if self.0.len() >= Self::MAX {
            self.0.clear();
        }
        let name: Arc<str> = text.into();
        self.0.push(Arc::clone(&name));
        name
    }
}

/// Returns what usage asks of a request, without its attempts.
pub(super) fn summary(row: &Row<'_>, names: &mut Names) -> Result<Settlement, QueryError> {
    Ok(Settlement {
        request_id: 0,
        arrived_unix_ms: get(row, 1)?,
        task: text(row, 2, "task", |name| name.parse().ok())?,
        template: get::<Option<i64>>(row, 3)?.map(|template| Template(template.cast_unsigned())),
        caller: names.get(row, 4, "caller")?,
        endpoint: get::<Option<String>>(row, 5)?.map(Cow::Owned),
        dialect: None,
        requested_model: String::new(),
        label: Label::Public,
        outcome: text(row, 6, "outcome", outcome)?.ok_or(QueryError::Value { column: "outcome" })?,
        status: 0,
        streamed: false,
        duration_us: count(row, 7)?,
        baseline_cost: get::<Option<i64>>(row, 8)?.map(Usd::from_picodollars),
        attempts: Vec::new(),
    })
}

/// Returns what usage asks of an attempt; `None` where the request has none.
pub(super) fn summary_attempt(row: &Row<'_>, names: &mut Names) -> Result<Option<AttemptRecord>, QueryError> {
    let Some(model) = names.get(row, 12, "model")? else { return Ok(None) };
    let usage = match get::<Option<i64>>(row, 13)? {
        None => None,
        Some(_) => Some(TokenUsage {
            input: count(row, 13)?,
            cached_input: count(row, 14)?,
            output: count(row, 15)?,
        }),
    };
    Ok(Some(AttemptRecord {
        backend: Arc::clone(&model),
        model,
        tier: text(row, 11, "tier", |name| name.parse().ok())?.ok_or(QueryError::Value { column: "tier" })?,
        usage,
        started_us: 0,
        first_byte_us: None,
        last_byte_us: 0,
        price: None,
        cost: get::<Option<i64>>(row, 16)?.map(Usd::from_picodollars),
        confidence: None,
        outcome: verdict(row, 9, 10)?,
        retries: 0,
        fault: None,
        upstream_status: None,
    }))
}

/// Returns what a column's text names, without a copy of the text; nothing for no text.
fn text<T>(
    row: &Row<'_>,
    at: usize,
    column: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, QueryError> {
    let value = row.get_ref(at).map_err(DatabaseError::when("give a column"))?;
    let text = value.as_str_or_null().map_err(|_| QueryError::Value { column })?;
    text.map(|text| parse(text).ok_or(QueryError::Value { column })).transpose()
}

/// Returns a request without its attempts.
pub(super) fn settlement(row: &Row<'_>) -> Result<Settlement, QueryError> {
    Ok(Settlement {
        request_id: u128::from_be_bytes(get(row, 1)?),
        arrived_unix_ms: get(row, 2)?,
        task: text(row, 3, "task", |name| name.parse().ok())?,
        template: get::<Option<i64>>(row, 4)?.map(|template| Template(template.cast_unsigned())),
        requested_model: get(row, 5)?,
        label: name(row, 6, "label", |name| name.parse().ok())?,
        outcome: name(row, 7, "outcome", outcome)?,
        status: get(row, 8)?,
        streamed: get(row, 9)?,
        duration_us: count(row, 10)?,
        baseline_cost: get::<Option<i64>>(row, 11)?.map(Usd::from_picodollars),
        caller: get::<Option<String>>(row, 12)?.map(Arc::from),
        endpoint: get::<Option<String>>(row, 13)?.map(Cow::Owned),
        dialect: get::<Option<String>>(row, 14)?.map(Cow::Owned),
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
        outcome: verdict(row, 11, 12)?,
        retries: get(row, 13)?,
        fault: text(row, 18, "fault", FaultKind::of_word)?,
        upstream_status: get(row, 19)?,
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

fn verdict(row: &Row<'_>, at: usize, reason_at: usize) -> Result<AttemptOutcome, QueryError> {
    let why = text(row, reason_at, "reason", reason)?;
    name(row, at, "verdict", |name| {
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
    text(row, at, column, parse)?.ok_or(QueryError::Value { column })
}

/// Returns a column as it is.
pub(super) fn get<T: FromSql>(row: &Row<'_>, at: usize) -> Result<T, QueryError> {
    row.get(at).map_err(DatabaseError::when("give a column")).map_err(QueryError::from)
}

/// Returns a column that counts something.
pub(super) fn count(row: &Row<'_>, at: usize) -> Result<u64, QueryError> {
    Ok(get::<i64>(row, at)?.unsigned_abs())
}
