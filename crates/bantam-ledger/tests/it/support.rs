//! Values to settle, made from a number.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bantam_books::block_on;
use bantam_books::{
    Books, BooksReader, ExampleRecord, GroupBy, RequestFilter, TemplateRecord, TimeRange, UsageRow,
};
use bantam_ledger::{Acknowledge, Ledger, LedgerOptions, LedgerReader};
use bantam_types::{
    AttemptOutcome, AttemptRecord, EscalationReason, FaultKind, Label, Price, Rates, RequestOutcome,
    Settlement, Template, Tier, TokenUsage, Usd, UsdPerMillion,
};
use tempfile::TempDir;

pub(crate) const ARRIVED_MS: i64 = 1_790_000_000_000;

/// A folder that goes with the test, and the ledger's path in it.
pub(crate) fn new_path() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state").join("ledger.sqlite");
    (folder, path)
}

pub(crate) fn open(path: &Path) -> Ledger {
    Ledger::open(path, LedgerOptions::new(Acknowledge::ProcessCrash)).unwrap()
}

/// Settles all in a new ledger and returns a reader of it.
pub(crate) fn reader_of(settlements: &[Settlement]) -> (TempDir, LedgerReader) {
    let (folder, path) = new_path();
    let ledger = open(&path);
    for settlement in settlements {
        ledger.settle(settlement, None).unwrap().wait().unwrap();
    }
    ledger.close().unwrap();
    (folder, LedgerReader::open(&path).unwrap())
}

/// Returns all requests, first settled first.
pub(crate) fn all(path: &Path) -> Vec<Settlement> {
    let mut all = newest(path, u32::MAX);
    all.reverse();
    all
}

/// Returns some requests, last settled first.
pub(crate) fn newest(path: &Path, limit: u32) -> Vec<Settlement> {
    page(&LedgerReader::open(path).unwrap(), RequestFilter::default(), limit)
}

/// Returns the first page that passes a filter.
pub(crate) fn page(reader: &LedgerReader, filter: RequestFilter, limit: u32) -> Vec<Settlement> {
    block_on(reader.requests(filter, None, limit)).unwrap().requests
}

/// Returns the request of that id.
pub(crate) fn request(reader: &LedgerReader, request_id: u128) -> Option<Settlement> {
    page(reader, RequestFilter { request_id: Some(request_id), ..RequestFilter::default() }, 2).pop()
}

/// Returns the usage of all time.
pub(crate) fn usage(reader: &LedgerReader, by: GroupBy) -> Vec<UsageRow> {
    block_on(reader.usage(TimeRange::ALL, by)).unwrap()
}

/// Returns what one entry of `version-1.journal` and `version-1.sql` holds: those were written by the code of then.
pub(crate) fn settlement_of_version_1(request_id: u128) -> Settlement {
    Settlement {
        arrived_unix_ms: ARRIVED_MS + request_id as i64 * 1_700_000,
        caller: None,
        endpoint: None,
        dialect: None,
        ..settlement_of(request_id)
    }
}

/// Returns what one entry of `version-2.journal` and `version-2.sql` holds: those were written by the code of then.
pub(crate) fn settlement_of_version_2(request_id: u128) -> Settlement {
    let faults = [FaultKind::Busy, FaultKind::BreakerOpen, FaultKind::NameNotFound, FaultKind::Unreachable];
    let mut settlement = settlement_of(request_id);
    settlement.arrived_unix_ms = ARRIVED_MS + request_id as i64 * 1_700_000;
    for (ordinal, attempt) in settlement.attempts.iter_mut().enumerate() {
        if matches!(attempt.outcome, AttemptOutcome::Failed(_)) {
            attempt.fault = Some(faults[(request_id as usize + ordinal) % 4]);
            attempt.upstream_status = (ordinal == 0).then_some(500 + request_id as u16 % 10);
        }
    }
    settlement
}

/// The number of requests in the files of version 1, and in those of version 2.
pub(crate) const OLDER_REQUESTS: u128 = 60;

/// Returns the templates in the files of both.
pub(crate) fn older_templates() -> [TemplateRecord; 2] {
    [3, u64::MAX].map(|number| TemplateRecord {
        template: Template(number),
        system_preview: format!("You sort the mail of {number}"),
        prefix: "Sort this: ".to_owned(),
        suffix: "\nThanks".to_owned(),
        first_seen_ms: 5,
    })
}

pub(crate) fn price() -> Arc<Price> {
    let rates = Rates {
        input: UsdPerMillion::from_micros(2_000_000),
        cached_input: UsdPerMillion::from_micros(1_000_000),
        output: UsdPerMillion::from_micros(8_000_000),
        ..Rates::default()
    };
    Arc::new(Price::flat(rates, "2026-11-01"))
}

/// Returns an accepted attempt of 100 tokens in and 10 out, which costs 280 microdollars when priced.
pub(crate) fn attempt(tier: Tier, model: &str) -> AttemptRecord {
    let usage = TokenUsage::new(100, 0, 10);
    AttemptRecord {
        backend: "backend".into(),
        model: model.into(),
        tier,
        usage: Some(usage.into()),
        started_us: 10,
        first_byte_us: Some(20),
        last_byte_us: 30,
        price: Some(price()),
        cost: price().cost(usage).ok(),
        confidence: Some(0.5),
        outcome: AttemptOutcome::Accepted,
        retries: 1,
        fault: None,
        upstream_status: None,
        unpriced: None,
        upstream_request_id: None,
        rate_limits: None,
    }
}

pub(crate) fn answered(request_id: u128, attempts: Vec<AttemptRecord>) -> Settlement {
    Settlement {
        request_id,
        arrived_unix_ms: ARRIVED_MS,
        task: Some("intent".parse().unwrap()),
        template: None,
        caller: None,
        endpoint: Some("/v1/chat/completions".into()),
        dialect: Some("openai".into()),
        requested_model: "task/intent".to_owned(),
        label: Label::Public,
        outcome: RequestOutcome::Answered,
        status: 200,
        streamed: false,
        duration_us: 1000,
        baseline_cost: Some(Usd::from_picodollars(1_000_000_000)),
        attempts,
    }
}

/// Returns a settlement in which every field depends on the id, with none to three attempts.
pub(crate) fn settlement_of(request_id: u128) -> Settlement {
    let number = request_id as u64 ^ (request_id >> 64) as u64;
    let outcomes = [
        AttemptOutcome::Discarded(EscalationReason::LowConfidence),
        AttemptOutcome::Failed(EscalationReason::Timeout),
        AttemptOutcome::Cancelled,
        AttemptOutcome::Accepted,
    ];
    let attempts = (0..number % 4).map(|ordinal| AttemptRecord {
        started_us: number,
        outcome: outcomes[(number + ordinal) as usize % 4],
        usage: (!number.is_multiple_of(3)).then(|| TokenUsage::new(number, ordinal, 1).into()),
        price: (!number.is_multiple_of(5)).then(price),
        cost: (!number.is_multiple_of(15)).then(|| Usd::from_picodollars(number as i64)),
        ..attempt(Tier::ALL[number as usize % 3], &format!("model {}", number % 7))
    });
    Settlement {
        arrived_unix_ms: ARRIVED_MS + number as i64 % 1_000_000,
        task: number.is_multiple_of(2).then(|| "intent".parse().unwrap()),
        template: number.is_multiple_of(3).then_some(Template(number)),
        caller: (!number.is_multiple_of(5)).then(|| format!("KEY_{}", number % 3).into()),
        endpoint: Some(["/v1/chat/completions", "/v1/embeddings"][number as usize % 2].into()),
        dialect: (!number.is_multiple_of(7)).then_some("openai".into()),
        requested_model: format!("asked for {number}"),
        label: Label::ALL[number as usize % 4],
        outcome: [RequestOutcome::Answered, RequestOutcome::Failed][number as usize % 2],
        status: 200 + number as u16 % 300,
        streamed: number % 2 == 1,
        duration_us: number,
        baseline_cost: (!number.is_multiple_of(4)).then(|| Usd::from_picodollars(number as i64)),
        ..answered(request_id, attempts.collect())
    }
}

pub(crate) fn example_of(request_id: u128, recorded_ms: i64) -> ExampleRecord {
    ExampleRecord {
        request_id,
        task: "intent".parse().unwrap(),
        text: format!("text {request_id}"),
        answer: format!("answer {request_id}"),
        model: "teacher".to_owned(),
        recorded_ms,
    }
}
