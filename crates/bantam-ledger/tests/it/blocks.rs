//! Pages and reports of many blocks, hours and days are those of a full scan.

use bantam_books::block_on;
use bantam_books::{Books, BooksReader, CallerFilter, Cursor, GroupBy, RequestFilter, Tally, TimeRange};
use bantam_ledger::LedgerReader;
use bantam_types::{RequestOutcome, Settlement, Tier};

use crate::support::{ARRIVED_MS, new_path, open, reader_of, settlement_of};

/// Returns requests over more than two weeks, some of which arrived days before the one that was settled before them.
fn requests(count: u128) -> Vec<Settlement> {
    let arrived = |id: u128| {
        let late = if id.is_multiple_of(50) { 3 * 86_400_000 + 1 } else { 0 };
        ARRIVED_MS + id as i64 * 400_003 - late
    };
    (0..count).map(|id| Settlement { arrived_unix_ms: arrived(id), ..settlement_of(id) }).collect()
}

fn check_pages(reader: &LedgerReader, requests: &[Settlement], filter: &RequestFilter, limit: u32) {
    let expected: Vec<_> = requests.iter().rev().filter(|request| filter.passes(request)).cloned().collect();
    let (mut found, mut after): (Vec<Settlement>, Option<Cursor>) = (Vec::new(), None);
    loop {
        let page = block_on(reader.requests(filter.clone(), after, limit)).unwrap();
        found.extend(page.requests);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert!(found == expected, "{filter:?}: {} of {}", found.len(), expected.len());
}

#[test]
fn pages_by_any_filter_are_those_of_a_full_scan() {
    let requests = requests(3_600);
    let (_folder, reader) = reader_of(&requests);
    let all = RequestFilter::default();
    let key = |name: &str| Some(CallerFilter::Key(name.to_owned()));
    let range =
        Some(TimeRange { from_unix_ms: ARRIVED_MS + 12_345, until_unix_ms: ARRIVED_MS + 500_000_000 });
    for filter in [
        all.clone(),
        RequestFilter { task: "intent".parse().ok(), ..all.clone() },
        RequestFilter { caller: key("KEY_1"), ..all.clone() },
        RequestFilter { caller: Some(CallerFilter::NoKey), tier: Some(Tier::Local), ..all.clone() },
        RequestFilter { model: Some("model 3".to_owned()), tier: Some(Tier::Mid), ..all.clone() },
        RequestFilter { outcome: Some(RequestOutcome::Failed), range, ..all.clone() },
        RequestFilter { outcome: Some(RequestOutcome::Refused), ..all.clone() },
        RequestFilter { range, ..all.clone() },
        RequestFilter { caller: key("KEY_2"), model: Some("model 5".to_owned()), range, ..all },
    ] {
        check_pages(&reader, &requests, &filter, 150);
        check_pages(&reader, &requests, &filter, u32::MAX);
    }
}

#[test]
fn a_cursor_of_nobody_gives_an_empty_page_or_the_first() {
    let requests = requests(10);
    let (_folder, reader) = reader_of(&requests);
    let page = |after| block_on(reader.requests(RequestFilter::default(), Some(after), 100)).unwrap();
    assert_eq!(page(Cursor(0)).requests, []);
    assert_eq!(page(Cursor(u64::MAX)).requests.len(), 10);
    let none = block_on(reader.requests(RequestFilter::default(), None, 0)).unwrap();
    assert_eq!(none.requests, []);
}

#[test]
fn reports_over_days_and_late_arrivals_are_those_of_a_full_scan() {
    let requests = requests(3_600);
    let (_folder, path) = new_path();
    // Closed and opened in between, so that the days are carried on by another process.
    for part in requests.chunks(700) {
        let ledger = open(&path);
        for request in part {
            let _ticket = ledger.settle(request, None).unwrap();
        }
        ledger.close().unwrap();
    }
    let reader = LedgerReader::open(&path).unwrap();
    let last = requests.iter().map(|request| request.arrived_unix_ms).max().unwrap();
    let day = |number: i64| (ARRIVED_MS / 86_400_000 + number) * 86_400_000;
    for range in [
        TimeRange::ALL,
        TimeRange { from_unix_ms: day(2), until_unix_ms: day(9) },
        TimeRange { from_unix_ms: day(2) + 1, until_unix_ms: day(9) - 1 },
        TimeRange { from_unix_ms: day(3) + 7_200_000, until_unix_ms: day(3) + 7_300_000 },
        TimeRange { from_unix_ms: day(1) + 3_600_000, until_unix_ms: i64::MAX },
        TimeRange { from_unix_ms: i64::MIN, until_unix_ms: last },
        TimeRange { from_unix_ms: i64::MIN, until_unix_ms: last + 1 },
        TimeRange { from_unix_ms: last, until_unix_ms: last + 1 },
    ] {
        for by in [GroupBy::None, GroupBy::Task, GroupBy::Tier, GroupBy::Model, GroupBy::Caller, GroupBy::Day]
        {
            let mut tally = Tally::new(range, by);
            requests.iter().for_each(|request| tally.add(request));
            assert!(block_on(reader.usage(range, by)).unwrap() == tally.into_rows(), "{range:?} {by:?}");
        }
    }
}
