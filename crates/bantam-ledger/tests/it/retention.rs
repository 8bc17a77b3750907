//! Old requests go, what they did and cost stays.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use bantam_books::block_on;
use bantam_books::{Books, BooksReader, GroupBy, RequestFilter, TimeRange};
use bantam_ledger::{Acknowledge, Ledger, LedgerOptions, LedgerReader, Retention};
use bantam_types::{Settlement, Tier};
use rusqlite::Connection;

use crate::support::{all, answered, attempt, example_of, new_path, open, page, usage};

const DAY_MS: i64 = 86_400_000;

fn now_ms() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64
}

fn arrived(id: u128, arrived_unix_ms: i64) -> Settlement {
    Settlement { arrived_unix_ms, ..answered(id, vec![attempt(Tier::Mid, "m"), attempt(Tier::Local, "s")]) }
}

fn settle(ledger: &Ledger, settlements: &[Settlement]) {
    for settlement in settlements {
        let _ticket = ledger.settle(settlement, None).unwrap();
    }
}

fn retaining(path: &Path, retention: Retention) -> Ledger {
    Ledger::open(path, LedgerOptions { retention, ..LedgerOptions::new(Acknowledge::ProcessCrash) }).unwrap()
}

fn number(path: &Path, sql: &str) -> i64 {
    Connection::open(path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Waits until a query answers with less than a limit.
fn wait_below(path: &Path, limit: i64, sql: &str) {
    let begun = Instant::now();
    while number(path, sql) >= limit {
        assert!(begun.elapsed() < Duration::from_secs(60), "{sql} never fell below {limit}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn requests_and_examples_that_are_too_old_are_removed_and_their_usage_stays() {
    let (_folder, path) = new_path();
    let old_ms = now_ms() - 40 * DAY_MS;
    let old: Vec<_> = (0..3_000).map(|id| arrived(id, old_ms + id as i64)).collect();
    let young: Vec<_> = (3_000..3_100).map(|id| arrived(id, now_ms() - DAY_MS)).collect();
    let ledger = open(&path);
    settle(&ledger, &old);
    settle(&ledger, &young);
    for (id, recorded_ms) in [(4_000, old_ms), (4_001, now_ms())] {
        let settlement = arrived(id, recorded_ms);
        let _ticket = ledger.settle(&settlement, Some(&example_of(id, recorded_ms))).unwrap();
    }
    ledger.close().unwrap();
    let before = usage(&LedgerReader::open(&path).unwrap(), GroupBy::Model);

    let ledger = retaining(&path, Retention { days: Some(30), bytes: None });
    wait_below(&path, 102, "SELECT count(*) FROM requests");
    wait_below(&path, 2, "SELECT count(*) FROM examples");
    assert_eq!(number(&path, "SELECT count(*) FROM attempts"), 202);
    let reader = ledger.reader().unwrap();
    assert_eq!(usage(&reader, GroupBy::Model), before);
    let mut kept = young;
    kept.push(all(&path).pop().unwrap());
    assert_eq!(kept[100].request_id, 4_001);
    assert_eq!(all(&path), kept);
    let filter = RequestFilter { model: Some("m".to_owned()), ..RequestFilter::default() };
    assert_eq!(page(&reader, filter, 1_000).len(), 101);

    // A part of an hour whose requests are gone is counted as the whole hour.
    let part = TimeRange { from_unix_ms: old_ms + 1, until_unix_ms: old_ms + 2 };
    let hour_ms = old_ms.div_euclid(3_600_000) * 3_600_000;
    let hour = TimeRange { from_unix_ms: hour_ms, until_unix_ms: hour_ms + 3_600_000 };
    let usage_of = |range| block_on(reader.usage(range, GroupBy::None)).unwrap();
    assert_eq!(usage_of(part), usage_of(hour));
    assert!(usage_of(hour)[0].usage.requests > 1);
}

#[test]
fn numbers_are_not_given_out_again_when_everything_was_removed() {
    let (_folder, path) = new_path();
    let old_ms = now_ms() - 40 * DAY_MS;
    let retention = Retention { days: Some(30), bytes: None };
    let ledger = open(&path);
    settle(&ledger, &(0..50).map(|id| arrived(id, old_ms)).collect::<Vec<_>>());
    ledger.close().unwrap();
    let ledger = retaining(&path, retention);
    wait_below(&path, 1, "SELECT count(*) FROM requests");
    assert_eq!(number(&path, "SELECT count(*) FROM blocks"), 0);
    let new = arrived(50, now_ms());
    settle(&ledger, std::slice::from_ref(&new));
    ledger.close().unwrap();
    assert_eq!(number(&path, "SELECT min(seq) FROM requests"), 51);
    let ledger = retaining(&path, retention);
    settle(&ledger, &[arrived(51, now_ms())]);
    ledger.close().unwrap();
    assert_eq!(number(&path, "SELECT max(seq) FROM requests"), 52);
    assert_eq!(page(&LedgerReader::open(&path).unwrap(), RequestFilter::default(), 10)[1], new);
}

#[test]
fn a_request_from_the_future_keeps_none_of_those_behind_it() {
    let (_folder, path) = new_path();
    let ledger = open(&path);
    let old_ms = now_ms() - 40 * DAY_MS;
    settle(&ledger, &[arrived(0, i64::MAX - 1)]);
    settle(&ledger, &(1..2_000).map(|id| arrived(id, old_ms)).collect::<Vec<_>>());
    ledger.close().unwrap();
    let ledger = retaining(&path, Retention { days: Some(30), bytes: None });
    wait_below(&path, 2, "SELECT count(*) FROM requests");
    assert_eq!(usage(&ledger.reader().unwrap(), GroupBy::None)[0].usage.requests, 2_000);
}

#[test]
fn the_oldest_go_while_the_file_is_too_large_and_settling_goes_on() {
    let (_folder, path) = new_path();
    let begin_ms = now_ms() - 1_000_000;
    let ledger = open(&path);
    settle(&ledger, &(0..40_000).map(|id| arrived(id, begin_ms + id as i64)).collect::<Vec<_>>());
    ledger.close().unwrap();
    let large = std::fs::metadata(&path).unwrap().len();
    let limit = large / 3;

    let ledger = retaining(&path, Retention { days: None, bytes: Some(limit) });
    let mut id = 40_000;
    while std::fs::metadata(&path).unwrap().len() > limit + (2 << 20) {
        assert!(id < 200_000, "the file never shrank");
        settle(&ledger, &[arrived(id, now_ms())]);
        id += 1;
        std::thread::sleep(Duration::from_millis(1));
    }
    ledger.close().unwrap();
    assert!(id > 40_000, "nothing was settled meanwhile");
    let left = all(&path);
    assert_eq!(left.last().unwrap().request_id, id - 1);
    assert!(left.windows(2).all(|pair| pair[0].request_id + 1 == pair[1].request_id), "only the oldest go");
    assert!((1_000..id as usize - 10_000).contains(&left.len()), "{}", left.len());
    let reader = LedgerReader::open(&path).unwrap();
    assert_eq!(usage(&reader, GroupBy::None)[0].usage.requests, id as u64);
    assert_eq!(number(&path, "SELECT count(*) FROM attempts WHERE seq NOT IN (SELECT seq FROM requests)"), 0);
}
