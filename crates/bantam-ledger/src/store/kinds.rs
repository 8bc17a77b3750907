//! What rows have in common, written once.
//!
//! Requests of one task and caller that ended alike share nearly everything but their times and counts, and so do
//! attempts on one model. A row names its kind instead: that halves its bytes, and its columns.
//!
//! Most of a kind comes from the configuration, so there are few. Two parts do not: callers may ask for any model, and
//! may bring any number of prompt templates. They are part of a kind once they came several times; until then, and
//! when there are too many kinds, the request's own row holds them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use bantam_types::{
    AttemptOutcome, AttemptRecord, CountState, FaultKind, Label, RequestOutcome, ServiceTier, Settlement,
    TaskName, Tier, Unpriced,
};
use hashbrown::{DefaultHashBuilder, HashTable};
use rusqlite::{Connection, OptionalExtension, Params, params};

/// More kinds than this are not remembered.
const REMEMBERED_MAX: usize = 4096;

/// The kinds that were met last, with their rows' numbers.
struct Known<K> {
    kinds: HashTable<(u64, K, i64)>,
    hasher: DefaultHashBuilder,
}

impl<K> Default for Known<K> {
    fn default() -> Self {
        Self { kinds: HashTable::new(), hasher: DefaultHashBuilder::default() }
    }
}

impl<K> Known<K> {
    fn hash(&self, parts: impl Hash) -> u64 {
        self.hasher.hash_one(parts)
    }

    fn find(&self, hash: u64, is_it: impl Fn(&K) -> bool) -> Option<i64> {
        self.kinds.find(hash, |(_, kind, _)| is_it(kind)).map(|(_, _, id)| *id)
    }

    fn remember(&mut self, hash: u64, kind: K, id: i64) {
        if self.kinds.len() >= REMEMBERED_MAX {
            self.kinds.clear();
        }
        self.kinds.insert_unique(hash, (hash, kind, id), |(hash, _, _)| *hash);
    }
}

/// Returns the number of the row with these columns, and adds the row if it is missing.
pub(super) fn row_of(
    connection: &Connection,
    select: &str,
    insert: &str,
    columns: impl Params + Copy,
) -> rusqlite::Result<i64> {
    let found = connection.prepare_cached(select)?.query_row(columns, |row| row.get(0)).optional()?;
    match found {
        Some(id) => Ok(id),
        None => connection.prepare_cached(insert)?.insert(columns),
    }
}

const SELECT_REQUEST_KIND: &str = "
SELECT id FROM request_kinds
WHERE requested_model IS ?1 AND template IS ?2 AND task IS ?3 AND caller IS ?4 AND outcome = ?5 AND label = ?6
    AND status = ?7 AND streamed = ?8 AND endpoint IS ?9 AND dialect IS ?10";
const INSERT_REQUEST_KIND: &str = "
INSERT INTO request_kinds (requested_model, template, task, caller, outcome, label, status, streamed, endpoint, dialect)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
const COUNT_WHOLE: &str = "SELECT count(*) FROM request_kinds WHERE requested_model IS NOT NULL";

/// The kinds of requests.
#[derive(Default)]
pub(super) struct RequestKinds {
    known: Known<RequestKind>,
    /// How often a combination came that is not a kind yet, by its hash.
    sightings: HashMap<u64, u8>,
    /// How many kinds have a model and a template.
    whole: Option<i64>,
}

struct RequestKind {
    task: Option<TaskName>,
    label: Label,
    outcome: RequestOutcome,
    status: u16,
    streamed: bool,
    caller: Option<Arc<str>>,
    endpoint: Option<Cow<'static, str>>,
    dialect: Option<Cow<'static, str>>,
    /// The model and the template that were asked for; `None` when the request's own row holds them.
    asked: Option<Asked>,
}

struct Asked {
    requested_model: String,
    template: Option<bantam_types::Template>,
}

/// The kind that a request's row names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KindOfRequest {
    pub(super) id: i64,
    /// Whether the kind has the model and the template; else the request's row has them.
    pub(super) is_whole: bool,
}

impl RequestKinds {
    /// A combination that came this often becomes a kind.
    const SIGHTINGS: u8 = 4;
    /// More combinations than this are not counted.
    const SIGHTINGS_MAX: usize = 4096;
    /// More kinds with a model and a template than this are not made.
    const WHOLE_MAX: i64 = 16_384;
    /// A model with a longer name is never part of a kind.
    const MODEL_BYTES_MAX: usize = 128;

    /// Returns the kind of a request.
    pub(super) fn kind_of(
        &mut self,
        connection: &Connection,
        request: &Settlement,
    ) -> rusqlite::Result<KindOfRequest> {
        let shared = self.known.hash((
            (&request.task, &request.caller, &request.endpoint, &request.dialect),
            (request.label, request.outcome, request.status, request.streamed),
        ));
        let whole = self.known.hash((shared, &request.requested_model, request.template));
        if let Some(id) = self.known.find(whole, |kind| kind.is_of(request, true)) {
            return Ok(KindOfRequest { id, is_whole: true });
        }
        let is_whole = self.is_frequent(connection, whole, request)?;
        let hash = if is_whole { whole } else { shared };
        if let Some(id) = self.known.find(hash, |kind| kind.is_of(request, is_whole)) {
            return Ok(KindOfRequest { id, is_whole });
        }
        let id = row_of(
            connection,
            SELECT_REQUEST_KIND,
            INSERT_REQUEST_KIND,
            params![
                is_whole.then_some(&request.requested_model),
                request.template.filter(|_| is_whole).map(|template| template.0.cast_signed()),
                request.task.as_ref().map(TaskName::as_str),
                request.caller,
                request.outcome.as_str(),
                request.label.as_str(),
                request.status,
                request.streamed,
                request.endpoint,
                request.dialect,
            ],
        )?;
        self.known.remember(hash, RequestKind::of(request, is_whole), id);
        Ok(KindOfRequest { id, is_whole })
    }

    /// Counts a combination that is not known, and returns whether it is to be a kind.
    fn is_frequent(
        &mut self,
        connection: &Connection,
        hash: u64,
        request: &Settlement,
    ) -> rusqlite::Result<bool> {
        if request.requested_model.len() > Self::MODEL_BYTES_MAX {
            return Ok(false);
        }
        if self.sightings.len() >= Self::SIGHTINGS_MAX {
            self.sightings.clear();
        }
        let sightings = self.sightings.entry(hash).or_default();
        *sightings = sightings.saturating_add(1);
        if *sightings < Self::SIGHTINGS {
            return Ok(false);
        }
        let whole = match self.whole {
            Some(whole) => whole,
            None => connection.query_row(COUNT_WHOLE, [], |row| row.get(0))?,
        };
        let is_frequent = whole < Self::WHOLE_MAX;
        // Some of those that are counted are rows already, which only makes the limit come sooner.
        self.whole = Some(whole + i64::from(is_frequent));
        if is_frequent {
            self.sightings.remove(&hash);
        }
        Ok(is_frequent)
    }
}

impl RequestKind {
    fn of(request: &Settlement, is_whole: bool) -> Self {
        let asked = || Asked { requested_model: request.requested_model.clone(), template: request.template };
        Self {
            task: request.task.clone(),
            label: request.label,
            outcome: request.outcome,
            status: request.status,
            streamed: request.streamed,
            caller: request.caller.clone(),
            endpoint: request.endpoint.clone(),
            dialect: request.dialect.clone(),
            asked: is_whole.then(asked),
        }
    }

    /// Returns whether a request is of this kind, with its model and template or without.
    fn is_of(&self, request: &Settlement, is_whole: bool) -> bool {
        let is_asked = match &self.asked {
            Some(asked) => {
                is_whole
                    && asked.requested_model == request.requested_model
                    && asked.template == request.template
            }
            None => !is_whole,
        };
        is_asked
            && self.task == request.task
            && self.label == request.label
            && self.outcome == request.outcome
            && self.status == request.status
            && self.streamed == request.streamed
            && self.caller == request.caller
            && self.endpoint == request.endpoint
            && self.dialect == request.dialect
    }
}

const SELECT_ATTEMPT_KIND: &str = "
SELECT id FROM attempt_kinds
WHERE model = ?1 AND backend = ?2 AND verdict = ?3 AND tier = ?4 AND price IS ?5 AND reason IS ?6 AND fault IS ?7
    AND upstream_status IS ?8 AND service_tier IS ?9 AND counts IS ?10 AND unpriced IS ?11";
const INSERT_ATTEMPT_KIND: &str = "
INSERT INTO attempt_kinds (model, backend, verdict, tier, price, reason, fault, upstream_status, service_tier, counts,
    unpriced)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";

/// Returns the word for how far counts can be trusted; `None` where they can.
fn word_of_counts(counts: CountState) -> Option<&'static str> {
    match counts {
        CountState::Complete => None,
        CountState::Partial => Some("partial"),
        CountState::Contradictory => Some("contradictory"),
        CountState::Unmodelled => Some("unmodelled"),
    }
}

/// Returns how far counts can be trusted of which a kind has this word.
pub(super) fn counts_of_word(word: Option<&str>) -> Option<CountState> {
    let all = [CountState::Complete, CountState::Partial, CountState::Contradictory, CountState::Unmodelled];
    all.into_iter().find(|counts| word_of_counts(*counts) == word)
}

/// The kinds of attempts.
#[derive(Default)]
pub(super) struct AttemptKinds {
    known: Known<AttemptKind>,
}

struct AttemptKind {
    backend: Arc<str>,
    model: Arc<str>,
    tier: Tier,
    price: Option<i64>,
    outcome: AttemptOutcome,
    fault: Option<FaultKind>,
    upstream_status: Option<u16>,
    counted: Option<(Option<ServiceTier>, CountState)>,
    unpriced: Option<Unpriced>,
}

/// Returns what a kind has of an attempt's usage.
fn counted(attempt: &AttemptRecord) -> Option<(Option<ServiceTier>, CountState)> {
    attempt.usage.map(|usage| (usage.service_tier, usage.counts))
}

impl AttemptKinds {
    /// Returns the number of an attempt's kind; `price` is the row of its price.
    pub(super) fn id(
        &mut self,
        connection: &Connection,
        attempt: &AttemptRecord,
        price: Option<i64>,
    ) -> rusqlite::Result<i64> {
        let hash = self.known.hash((
            (&attempt.backend, &attempt.model, attempt.tier, price),
            (attempt.outcome, attempt.fault, attempt.upstream_status, counted(attempt), attempt.unpriced),
        ));
        if let Some(id) = self.known.find(hash, |kind| kind.is_of(attempt, price)) {
            return Ok(id);
        }
        let columns = params![
            attempt.model,
            attempt.backend,
            attempt.outcome.as_str(),
            attempt.tier.as_str(),
            price,
            attempt.outcome.reason().map(bantam_types::EscalationReason::as_str),
            attempt.fault.map(FaultKind::as_str),
            attempt.upstream_status,
            counted(attempt).and_then(|(tier, _)| tier).map(ServiceTier::as_str),
            counted(attempt).and_then(|(_, counts)| word_of_counts(counts)),
            attempt.unpriced.map(Unpriced::as_str),
        ];
        let id = row_of(connection, SELECT_ATTEMPT_KIND, INSERT_ATTEMPT_KIND, columns)?;
        let kind = AttemptKind {
            backend: Arc::clone(&attempt.backend),
            model: Arc::clone(&attempt.model),
            tier: attempt.tier,
            price,
            outcome: attempt.outcome,
            fault: attempt.fault,
            upstream_status: attempt.upstream_status,
            counted: counted(attempt),
            unpriced: attempt.unpriced,
        };
        self.known.remember(hash, kind, id);
        Ok(id)
    }
}

impl AttemptKind {
    fn is_of(&self, attempt: &AttemptRecord, price: Option<i64>) -> bool {
        self.model == attempt.model
            && self.backend == attempt.backend
            && self.tier == attempt.tier
            && self.price == price
            && self.outcome == attempt.outcome
            && self.fault == attempt.fault
            && self.upstream_status == attempt.upstream_status
            && self.counted == counted(attempt)
            && self.unpriced == attempt.unpriced
    }
}
