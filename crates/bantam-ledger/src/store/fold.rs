//! Inserts entries.

use bantam_books::{ExampleRecord, TemplateRecord};
use bantam_types::{AttemptRecord, Settlement, Usd};
use rusqlite::{CachedStatement, Connection, TransactionBehavior, params};

use super::Folded;
use super::kinds::{AttemptKinds, KindOfRequest, RequestKinds};
use super::older::Older;
use super::prices::Prices;
use super::summaries::Summaries;
use crate::entry::Entry;
use crate::format::Extra;
use crate::ledger::without_text;

/// A request with its first attempt.
const INSERT_REQUEST: &str = "
INSERT INTO request_rows (seq, request_id, arrived_ms, kind, template, requested_model, duration_us, baseline_pico,
    attempt_kind, tokens_in, tokens_cached, tokens_cache_write, tokens_cache_write_long, tokens_out, started_us,
    first_byte_us, last_byte_us, cost_pico, confidence, retries, upstream_request_id, extra)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)
ON CONFLICT (request_id) DO NOTHING";

const INSERT_FURTHER_ATTEMPT: &str = "
INSERT INTO further_attempts (seq, ordinal, attempt_kind, tokens_in, tokens_cached, tokens_cache_write,
    tokens_cache_write_long, tokens_out, started_us, first_byte_us, last_byte_us, cost_pico, confidence, retries,
    upstream_request_id, extra)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";

const INSERT_EXAMPLE: &str = "
INSERT INTO examples (request_id, task, text, answer, model, recorded_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

const INSERT_TEMPLATE: &str = "
INSERT INTO templates (template, system_preview, prefix, suffix, first_seen_ms) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (template) DO NOTHING";

const NEXT_SEQ: &str = "
SELECT max(ifnull((SELECT max(seq) + 1 FROM request_rows), 1), ifnull((SELECT value FROM marks WHERE name = ?1), 1))";

/// The mark that keeps the next number when the last request is removed: numbers are never given out twice.
pub(super) const NEXT_SEQ_MARK: &str = "next_seq";

/// What the writer remembers of the tables. It is forgotten when a transaction fails.
#[derive(Default)]
pub(super) struct Memory {
    prices: Prices,
    requests: RequestKinds,
    attempts: AttemptKinds,
    pub(super) older: Older,
    next_seq: Option<i64>,
    pub(super) summaries: Summaries,
}

impl Memory {
    /// Returns the number that the next request gets.
    pub(super) fn next_seq(&mut self, connection: &Connection) -> rusqlite::Result<i64> {
        if let Some(next) = self.next_seq {
            return Ok(next);
        }
        let next = connection.query_row(NEXT_SEQ, [NEXT_SEQ_MARK], |row| row.get(0))?;
        self.next_seq = Some(next);
        Ok(next)
    }

    fn attempt_kind(&mut self, connection: &Connection, attempt: &AttemptRecord) -> rusqlite::Result<i64> {
        let price = attempt.price.as_ref().map(|price| self.prices.id(connection, price)).transpose()?;
        self.attempts.id(connection, attempt, price)
    }
}

/// Adds all entries in one transaction. See [`Store::fold`](super::Store::fold).
pub(super) fn fold(
    connection: &mut Connection,
    memory: &mut Memory,
    entries: &[Entry],
    keeps_previews: bool,
) -> rusqlite::Result<Folded> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut folded = Folded::default();
    let mut statements = Statements::prepare(&transaction)?;
    for entry in entries {
        match entry {
            Entry::Settlement { settlement, example } => {
                if statements.settle(&transaction, memory, settlement, example.as_ref())? {
                    folded.settlements += 1;
                } else {
                    folded.duplicates += 1;
                }
            }
            Entry::Template(record) if keeps_previews => insert_template(&transaction, record)?,
            // An earlier run may have journalled the texts.
            Entry::Template(record) => insert_template(&transaction, &without_text(record))?,
        }
    }
    drop(statements);
    memory.summaries.write(&transaction)?;
    transaction.commit()?;
    Ok(folded)
}

/// The two statements of the hot path, looked up once a batch.
pub(super) struct Statements<'c> {
    request: CachedStatement<'c>,
    further_attempt: CachedStatement<'c>,
}

impl<'c> Statements<'c> {
    pub(super) fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            request: connection.prepare_cached(INSERT_REQUEST)?,
            further_attempt: connection.prepare_cached(INSERT_FURTHER_ATTEMPT)?,
        })
    }

    /// Returns whether the settlement was new.
    fn settle(
        &mut self,
        connection: &Connection,
        memory: &mut Memory,
        settlement: &Settlement,
        example: Option<&ExampleRecord>,
    ) -> rusqlite::Result<bool> {
        let seq = memory.next_seq(connection)?;
        if memory.older.has(connection, settlement.request_id)?
            || !self.insert(connection, memory, seq, settlement)?
        {
            return Ok(false);
        }
        memory.next_seq = Some(seq.saturating_add(1));
        memory.summaries.add(connection, seq, settlement)?;
        if let Some(example) = example {
            insert_example(connection, example)?;
        }
        Ok(true)
    }

    /// Adds the rows of a request under a number, unless there are some of its id. Returns whether it did.
    pub(super) fn insert(
        &mut self,
        connection: &Connection,
        memory: &mut Memory,
        seq: i64,
        settlement: &Settlement,
    ) -> rusqlite::Result<bool> {
        let kind = memory.requests.kind_of(connection, settlement)?;
        let first = settlement.attempts.first();
        let first_kind = first.map(|attempt| memory.attempt_kind(connection, attempt)).transpose()?;
        if self.insert_request(seq, kind, settlement, first.zip(first_kind))? == 0 {
            return Ok(false);
        }
        for (ordinal, attempt) in (0_i64..).zip(&settlement.attempts).skip(1) {
            let kind = memory.attempt_kind(connection, attempt)?;
            self.insert_further_attempt(seq, ordinal, kind, attempt)?;
        }
        Ok(true)
    }

    fn insert_request(
        &mut self,
        seq: i64,
        kind: KindOfRequest,
        settlement: &Settlement,
        first: Option<(&AttemptRecord, i64)>,
    ) -> rusqlite::Result<usize> {
        let attempt = first.map(|(attempt, _)| attempt);
        let tokens = attempt.and_then(|attempt| attempt.usage).map(|usage| usage.tokens);
        self.request.execute(params![
            seq,
            id_bytes(settlement.request_id),
            settlement.arrived_unix_ms,
            kind.id,
            settlement.template.filter(|_| !kind.is_whole).map(|template| template.0.cast_signed()),
            (!kind.is_whole).then_some(&settlement.requested_model),
            held(settlement.duration_us),
            settlement.baseline_cost.map(Usd::picodollars),
            first.map(|(_, kind)| kind),
            tokens.map(|tokens| held(tokens.input)),
            tokens.map(|tokens| held(tokens.cached_input)),
            tokens.and_then(|tokens| seldom(tokens.cache_write)),
            tokens.and_then(|tokens| seldom(tokens.cache_write_long)),
            tokens.map(|tokens| held(tokens.output)),
            attempt.map(|attempt| held(attempt.started_us)),
            attempt.and_then(|attempt| attempt.first_byte_us).map(held),
            attempt.map(|attempt| held(attempt.last_byte_us)),
            attempt.and_then(|attempt| attempt.cost).map(Usd::picodollars),
            attempt.and_then(|attempt| attempt.confidence),
            attempt.map(|attempt| attempt.retries),
            attempt.and_then(|attempt| attempt.upstream_request_id.as_deref()),
            attempt.and_then(|attempt| Extra::of(attempt).encode()),
        ])
    }

    fn insert_further_attempt(
        &mut self,
        seq: i64,
        ordinal: i64,
        kind: i64,
        attempt: &AttemptRecord,
    ) -> rusqlite::Result<()> {
        let tokens = attempt.usage.map(|usage| usage.tokens);
        self.further_attempt.execute(params![
            seq,
            ordinal,
            kind,
            tokens.map(|tokens| held(tokens.input)),
            tokens.map(|tokens| held(tokens.cached_input)),
            tokens.and_then(|tokens| seldom(tokens.cache_write)),
            tokens.and_then(|tokens| seldom(tokens.cache_write_long)),
            tokens.map(|tokens| held(tokens.output)),
            held(attempt.started_us),
            attempt.first_byte_us.map(held),
            held(attempt.last_byte_us),
            attempt.cost.map(Usd::picodollars),
            attempt.confidence,
            attempt.retries,
            attempt.upstream_request_id.as_deref(),
            Extra::of(attempt).encode(),
        ])?;
        Ok(())
    }
}

fn insert_example(connection: &Connection, example: &ExampleRecord) -> rusqlite::Result<()> {
    connection.prepare_cached(INSERT_EXAMPLE)?.execute(params![
        id_bytes(example.request_id),
        example.task.as_str(),
        example.text,
        example.answer,
        example.model,
        example.recorded_ms,
    ])?;
    Ok(())
}

fn insert_template(connection: &Connection, record: &TemplateRecord) -> rusqlite::Result<()> {
    connection.prepare_cached(INSERT_TEMPLATE)?.execute(params![
        record.template.0.cast_signed(),
        record.system_preview,
        record.prefix,
        record.suffix,
        record.first_seen_ms,
    ])?;
    Ok(())
}

/// Returns a request's id as it is stored: big-endian, so that ids that begin with the time sort by it.
pub(super) fn id_bytes(request_id: u128) -> [u8; 16] {
    request_id.to_be_bytes()
}

/// Returns the number, held at the largest that a column takes: an upstream that claims 2⁶³ tokens
/// must not stop the ledger.
pub(super) fn held(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Returns the number as [`held`] does; `None` for none, which takes no room.
fn seldom(number: u64) -> Option<i64> {
    (number > 0).then(|| held(number))
}
