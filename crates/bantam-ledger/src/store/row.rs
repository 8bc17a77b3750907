//! Columns back to values.

use std::borrow::Cow;
use std::sync::Arc;

use bantam_types::{
    AnswerUsage, AttemptOutcome, AttemptRecord, CountState, EscalationReason, FaultKind, Label,
    RequestOutcome, ServiceTier, Settlement, Template, TokenUsage, Unpriced, Usd,
};
use rusqlite::Row;
use rusqlite::types::FromSql;

use super::kinds::counts_of_word;
use super::prices::price;
use crate::error::{DatabaseError, QueryError};
use crate::format::Extra;

/// The columns that [`settlement`] reads, of the view `requests`.
pub(super) const REQUEST_COLUMNS: &str = "seq, request_id, arrived_ms, task, template, requested_model, label, \
     outcome, status, streamed, duration_us, baseline_pico, caller, endpoint, dialect";

/// The columns that [`attempt`] reads, of the view `attempts`.
pub(super) const ATTEMPT_COLUMNS: &str = "backend, model, tier, tokens_in, tokens_cached, tokens_cache_write, \
     tokens_cache_write_long, tokens_out, started_us, first_byte_us, last_byte_us, cost_pico, confidence, verdict, \
     reason, retries, fault, upstream_status, service_tier, counts, unpriced, upstream_request_id, extra, \
     input_micros, cached_input_micros, output_micros, as_of, terms";

/// The columns that [`summary`] reads, of the view `requests`.
pub(super) const SUMMARY_COLUMNS: &str =
    "seq, arrived_ms, task, template, caller, endpoint, outcome, duration_us, baseline_pico";

/// The columns that [`attempt_summary`] reads, of the view `attempts`.
pub(super) const ATTEMPT_SUMMARY_COLUMNS: &str = "seq, verdict, reason, tier, model, tokens_in, tokens_cached, tokens_cache_write, tokens_cache_write_long, \
     tokens_out, cost_pico";

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

/// Returns what usage asks of an attempt.
pub(super) fn attempt_summary(row: &Row<'_>, names: &mut Names) -> Result<AttemptRecord, QueryError> {
    let model = names.get(row, 4, "model")?.ok_or(QueryError::Value { column: "model" })?;
    let usage = match get::<Option<i64>>(row, 5)? {
        None => None,
        Some(_) => Some(tokens(row, 5)?.into()),
    };
    Ok(AttemptRecord {
        backend: Arc::clone(&model),
        model,
        tier: name(row, 3, "tier", |name| name.parse().ok())?,
        usage,
        started_us: 0,
        first_byte_us: None,
        last_byte_us: 0,
        price: None,
        cost: get::<Option<i64>>(row, 10)?.map(Usd::from_picodollars),
        confidence: None,
        outcome: verdict(row, 1, 2)?,
        retries: 0,
        fault: None,
        upstream_status: None,
        unpriced: None,
        upstream_request_id: None,
        rate_limits: None,
    })
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
    let extra = extra(row, 22)?;
    let usage = match get::<Option<i64>>(row, 3)? {
        None => None,
        Some(_) => Some(AnswerUsage {
            tokens: tokens(row, 3)?,
            audio_input: extra.audio_input,
            audio_output: extra.audio_output,
            web_searches: extra.web_searches,
            service_tier: text(row, 18, "service_tier", ServiceTier::of_word)?,
            counts: counts(row, 19)?,
        }),
    };
    Ok(AttemptRecord {
        backend: get::<String>(row, 0)?.into(),
        model: get::<String>(row, 1)?.into(),
        tier: name(row, 2, "tier", |name| name.parse().ok())?,
        usage,
        started_us: count(row, 8)?,
        first_byte_us: get::<Option<i64>>(row, 9)?.map(i64::unsigned_abs),
        last_byte_us: count(row, 10)?,
        price: price(row, 23)?.map(Arc::new),
        cost: get::<Option<i64>>(row, 11)?.map(Usd::from_picodollars),
        unpriced: text(row, 20, "unpriced", Unpriced::of_word)?,
        confidence: get(row, 12)?,
        outcome: verdict(row, 13, 14)?,
        retries: get(row, 15)?,
        fault: text(row, 16, "fault", FaultKind::of_word)?,
        upstream_status: get(row, 17)?,
        upstream_request_id: get::<Option<String>>(row, 21)?.map(Arc::from),
        rate_limits: extra.rate_limits,
    })
}

/// Returns the tokens whose five columns begin at `at`.
fn tokens(row: &Row<'_>, at: usize) -> Result<TokenUsage, QueryError> {
    let seldom = |at| get::<Option<i64>>(row, at).map(|count| count.map_or(0, i64::unsigned_abs));
    Ok(TokenUsage {
        input: count(row, at)?,
        cached_input: count(row, at + 1)?,
        cache_write: seldom(at + 2)?,
        cache_write_long: seldom(at + 3)?,
        output: count(row, at + 4)?,
    })
}

fn counts(row: &Row<'_>, at: usize) -> Result<CountState, QueryError> {
    let word = row.get_ref(at).map_err(DatabaseError::when("give a column"))?;
    let counts = word.as_str_or_null().ok().and_then(counts_of_word);
    counts.ok_or(QueryError::Value { column: "counts" })
}

fn extra(row: &Row<'_>, at: usize) -> Result<Extra, QueryError> {
    let bytes = row.get_ref(at).map_err(DatabaseError::when("give a column"))?;
    match bytes.as_blob_or_null().map_err(|_| QueryError::Value { column: "extra" })? {
        None => Ok(Extra::default()),
        Some(bytes) => Extra::decode(bytes).map_err(|source| QueryError::Bytes { column: "extra", source }),
    }
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
