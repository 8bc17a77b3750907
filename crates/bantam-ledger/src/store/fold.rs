//! Inserts entries.

use std::borrow::Cow;
use std::sync::Arc;

use bantam_books::{ExampleRecord, TemplateRecord, deciding_attempt};
use bantam_types::{AttemptRecord, Price, Settlement, Usd};
use rusqlite::{CachedStatement, Connection, OptionalExtension, TransactionBehavior, params};

use super::Folded;
use super::summaries::Summaries;
use crate::entry::Entry;
use crate::ledger::without_text;

const INSERT_REQUEST: &str = "
INSERT INTO requests (seq, request_id, arrived_ms, task, template, requested_model, label, outcome, status,
    streamed, duration_us, baseline_pico, cost_pico, attempts, unpriced, decided_by, origin)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
ON CONFLICT (request_id) DO NOTHING";

const INSERT_ATTEMPT: &str = "
INSERT INTO attempts (seq, ordinal, backend, model, tier, tokens_in, tokens_cached, tokens_out,
    started_us, first_byte_us, last_byte_us, price, cost_pico, confidence, verdict, reason, retries, fault,
    upstream_status)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";

const INSERT_PRICE: &str = "
INSERT INTO prices (input_micros, cached_input_micros, output_micros, as_of) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT DO NOTHING";

const SELECT_PRICE: &str = "
SELECT id FROM prices
WHERE input_micros = ?1 AND cached_input_micros = ?2 AND output_micros = ?3 AND as_of = ?4";

const INSERT_ORIGIN: &str = "INSERT INTO origins (caller, endpoint, dialect) VALUES (?1, ?2, ?3)";

const SELECT_ORIGIN: &str = "SELECT id FROM origins WHERE caller IS ?1 AND endpoint IS ?2 AND dialect IS ?3";

const INSERT_EXAMPLE: &str = "
INSERT INTO examples (request_id, task, text, answer, model, recorded_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

const INSERT_TEMPLATE: &str = "
INSERT INTO templates (template, system_preview, prefix, suffix, first_seen_ms) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (template) DO NOTHING";

const NEXT_SEQ: &str = "
SELECT max(ifnull((SELECT max(seq) + 1 FROM requests), 1), ifnull((SELECT value FROM marks WHERE name = ?1), 1))";

/// The mark that keeps the next number when the last request is removed: numbers are never given out twice.
pub(super) const NEXT_SEQ_MARK: &str = "next_seq";

/// What the writer remembers of the tables. It is forgotten when a transaction fails.
#[derive(Default)]
pub(super) struct Memory {
    prices: KnownPrices,
    origins: KnownOrigins,
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
struct Statements<'c> {
    request: CachedStatement<'c>,
    attempt: CachedStatement<'c>,
}

impl<'c> Statements<'c> {
    fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            request: connection.prepare_cached(INSERT_REQUEST)?,
            attempt: connection.prepare_cached(INSERT_ATTEMPT)?,
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
        let origin = memory.origins.id(connection, settlement)?;
        if self.insert_request(seq, origin, settlement)? == 0 {
            return Ok(false);
        }
        memory.next_seq = Some(seq.saturating_add(1));
        memory.summaries.add(connection, seq, settlement)?;
        for (ordinal, attempt) in (0_i64..).zip(&settlement.attempts) {
            let price =
                attempt.price.as_deref().map(|price| memory.prices.id(connection, price)).transpose()?;
            self.insert_attempt(seq, ordinal, price, attempt)?;
        }
        if let Some(example) = example {
            insert_example(connection, example)?;
        }
        Ok(true)
    }

    fn insert_request(&mut self, seq: i64, origin: i64, settlement: &Settlement) -> rusqlite::Result<usize> {
        let costs = settlement.attempts.iter().map(|attempt| attempt.cost);
        let unpriced = costs.clone().filter(Option::is_none).count();
        let cost: Usd = costs.flatten().sum();
        self.request.execute(params![
            seq,
            id_bytes(settlement.request_id),
            settlement.arrived_unix_ms,
            settlement.task.as_ref().map(bantam_types::TaskName::as_str),
            settlement.template.map(|template| template.0.cast_signed()),
            settlement.requested_model,
            settlement.label.as_str(),
            settlement.outcome.as_str(),
            settlement.status,
            settlement.streamed,
            held(settlement.duration_us),
            settlement.baseline_cost.map(Usd::picodollars),
            cost.picodollars(),
            held(settlement.attempts.len() as u64),
            held(unpriced as u64),
            deciding_attempt(&settlement.attempts).map(|ordinal| held(ordinal as u64)),
            origin,
        ])
    }

    fn insert_attempt(
        &mut self,
        seq: i64,
        ordinal: i64,
        price: Option<i64>,
        attempt: &AttemptRecord,
    ) -> rusqlite::Result<()> {
        let usage = attempt.usage;
        self.attempt.execute(params![
            seq,
            ordinal,
            &*attempt.backend,
            &*attempt.model,
            attempt.tier.as_str(),
            usage.map(|usage| held(usage.input)),
            usage.map(|usage| held(usage.cached_input)),
            usage.map(|usage| held(usage.output)),
            held(attempt.started_us),
            attempt.first_byte_us.map(held),
            held(attempt.last_byte_us),
            price,
            attempt.cost.map(Usd::picodollars),
            attempt.confidence,
            attempt.outcome.as_str(),
            attempt.outcome.reason().map(bantam_types::EscalationReason::as_str),
            attempt.retries,
            attempt.fault.map(bantam_types::FaultKind::as_str),
            attempt.upstream_status,
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

/// The row numbers of the prices that were used last. Prices are few, so a list is enough; it is
/// bounded all the same.
#[derive(Default)]
pub(super) struct KnownPrices(Vec<(Price, i64)>);

impl KnownPrices {
    const MAX: usize = 64;

    fn id(&mut self, connection: &Connection, price: &Price) -> rusqlite::Result<i64> {
        if let Some((_, id)) = self.0.iter().find(|(known, _)| known == price) {
            return Ok(*id);
        }
        let columns = params![
            held(price.input.micros()),
            held(price.cached_input.micros()),
            held(price.output.micros()),
            price.as_of
        ];
        connection.prepare_cached(INSERT_PRICE)?.execute(columns)?;
        let id = connection.prepare_cached(SELECT_PRICE)?.query_row(columns, |row| row.get(0))?;
        if self.0.len() >= Self::MAX {
            self.0.clear();
        }
        self.0.push((price.clone(), id));
        Ok(id)
    }
}

/// The row numbers of the origins that were met last: there are as many as keys and endpoints in use, so a list is
/// enough; it is bounded all the same.
#[derive(Default)]
struct KnownOrigins(Vec<(Origin, i64)>);

struct Origin {
    caller: Option<Arc<str>>,
    endpoint: Option<Cow<'static, str>>,
    dialect: Option<Cow<'static, str>>,
}

impl KnownOrigins {
    const MAX: usize = 64;

    fn id(&mut self, connection: &Connection, request: &Settlement) -> rusqlite::Result<i64> {
        let Settlement { caller, endpoint, dialect, .. } = request;
        let known = self.0.iter().find(|(known, _)| {
            known.caller == *caller && known.endpoint == *endpoint && known.dialect == *dialect
        });
        if let Some((_, id)) = known {
            return Ok(*id);
        }
        let columns = params![caller, endpoint, dialect];
        let found =
            connection.prepare_cached(SELECT_ORIGIN)?.query_row(columns, |row| row.get(0)).optional()?;
        let id = match found {
            Some(id) => id,
            None => {
                connection.prepare_cached(INSERT_ORIGIN)?.execute(columns)?;
                connection.last_insert_rowid()
            }
        };
        if self.0.len() >= Self::MAX {
            self.0.clear();
        }
        let origin = Origin { caller: caller.clone(), endpoint: endpoint.clone(), dialect: dialect.clone() };
        self.0.push((origin, id));
        Ok(id)
    }
}

/// Returns a request's id as it is stored: big-endian, so that ids that begin with the time sort by it.
pub(super) fn id_bytes(request_id: u128) -> [u8; 16] {
    request_id.to_be_bytes()
}

/// Returns the number, held at the largest that a column takes: an upstream that claims 2⁶³ tokens
/// must not stop the ledger.
fn held(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
