//! What a report says.

use std::collections::BTreeMap;

use bantam_books::block_on;
use bantam_books::{BooksReader, GroupBy, TimeRange, Usage};
use bantam_types::{
    AttemptOutcome, AttemptRecord, EscalationReason, RequestOutcome, Settlement, Tier, TokenUsage, Usd,
};

use crate::support::{ARRIVED_MS, answered, attempt, reader_of, settlement_of, usage};

fn draft(reason: EscalationReason) -> AttemptRecord {
    AttemptRecord { outcome: AttemptOutcome::Discarded(reason), ..attempt(Tier::Local, "student") }
}

fn unpriced(attempt: AttemptRecord) -> AttemptRecord {
    AttemptRecord { price: None, cost: None, ..attempt }
}

/// Returns the only row of an ungrouped report.
fn total(settlements: &[Settlement]) -> Usage {
    let (_folder, reader) = reader_of(settlements);
    let mut rows = usage(&reader, GroupBy::None);
    assert_eq!(rows.len(), 1);
    rows.remove(0).usage
}

fn by(settlements: &[Settlement], by: GroupBy) -> BTreeMap<String, Usage> {
    let (_folder, reader) = reader_of(settlements);
    let rows = usage(&reader, by);
    rows.into_iter().map(|row| (row.key.to_string(), row.usage)).collect()
}

#[test]
fn an_empty_ledger_reports_nothing() {
    let row = total(&[]);
    assert_eq!(row, Usage::default());
}

#[test]
fn savings_are_net_of_every_attempt() {
    let settlements = [
        answered(1, vec![attempt(Tier::Mid, "m")]),
        answered(2, vec![draft(EscalationReason::Audit), attempt(Tier::Frontier, "f")]),
    ];
    let row = total(&settlements);
    assert_eq!(row.spend.to_string(), "0.00084");
    assert_eq!(row.savings.saved().to_string(), "0.00116");
    assert_eq!(row.answered_by_tier, [0, 1, 1]);
    assert_eq!(row.escalations, BTreeMap::from([(EscalationReason::Audit, 1)]));
    assert_eq!((row.attempts, row.tokens), (3, TokenUsage::new(300, 0, 30)));
}

#[test]
fn an_unpriced_attempt_is_counted_and_never_looks_like_a_saving() {
    let settlements = [
        answered(1, vec![attempt(Tier::Mid, "m")]),
        answered(2, vec![attempt(Tier::Mid, "m"), unpriced(attempt(Tier::Mid, "m"))]),
        Settlement { baseline_cost: None, ..answered(3, vec![attempt(Tier::Mid, "m")]) },
        Settlement { baseline_cost: None, outcome: RequestOutcome::Refused, ..answered(4, vec![]) },
    ];
    let row = total(&settlements);
    assert_eq!((row.attempts_unpriced, row.requests_unpriced), (1, 1));
    assert_eq!(row.unpriced_share(), 0.25);
    assert_eq!((row.savings.requests, row.savings.excluded_requests), (1, 2));
    assert_eq!(row.savings.saved().to_string(), "0.00072");
    assert_eq!(row.savings.excluded_spend.to_string(), "0.00056");
    assert_eq!(row.spend.to_string(), "0.00084");
    assert_eq!((row.answered, row.refused), (3, 1));
}

#[test]
fn a_request_over_two_tiers_is_paid_by_attempt_and_counted_where_it_was_decided() {
    let rows = by(
        &[answered(1, vec![draft(EscalationReason::LowConfidence), attempt(Tier::Frontier, "f")])],
        GroupBy::Tier,
    );
    let (local, frontier) = (&rows["local"], &rows["frontier"]);
    assert_eq!(
        (local.requests, local.attempts, local.savings.saved().to_string()),
        (0, 1, "-0.00028".to_owned())
    );
    assert_eq!((frontier.requests, frontier.attempts), (1, 1));
    assert_eq!(frontier.savings.saved().to_string(), "0.00072");
    assert_eq!(local.escalations.len(), 1);
}

#[test]
fn the_rows_of_every_grouping_add_up_to_the_whole() {
    let settlements: Vec<_> = (0..2000).map(settlement_of).collect();
    let (_folder, reader) = reader_of(&settlements);
    let whole = &usage(&reader, GroupBy::None)[0].usage;
    for by in GroupBy::ALL.into_iter().filter(|by| *by != GroupBy::None) {
        let rows = usage(&reader, by);
        assert!(rows.len() > 1 || by == GroupBy::Day, "{by:?}");
        let count = |of: fn(&Usage) -> u64| (rows.iter().map(|row| of(&row.usage)).sum::<u64>(), of(whole));
        let money = |of: fn(&Usage) -> Usd| (rows.iter().map(|row| of(&row.usage)).sum::<Usd>(), of(whole));
        for (sum, whole) in [
            count(|row| row.requests),
            count(|row| row.answered),
            count(|row| row.failed),
            count(|row| row.attempts),
            count(|row| row.attempts_unpriced),
            count(|row| row.requests_unpriced),
            count(|row| row.tokens.input),
            count(|row| row.savings.requests),
            count(|row| row.savings.excluded_requests),
            count(|row| row.escalations.values().sum()),
            count(|row| row.answered_by_tier.iter().sum()),
        ] {
            assert_eq!(sum, whole, "{by:?}");
        }
        for (sum, whole) in [
            money(|row| row.spend),
            money(|row| row.savings.saved()),
            money(|row| row.savings.excluded_spend),
        ] {
            assert_eq!(sum, whole, "{by:?}");
        }
    }
    assert_eq!(whole.requests, 2000);
}

#[test]
fn percentiles_are_near_times_that_requests_took() {
    let settlements: Vec<_> = (1..=41)
        .map(|number| Settlement {
            duration_us: number * 10,
            ..answered(number.into(), vec![attempt(Tier::Mid, "m")])
        })
        .chain([Settlement { duration_us: 1, outcome: RequestOutcome::Failed, ..answered(99, vec![]) }])
        .collect();
    let latency = total(&settlements).latency;
    // To within a hundredth: 210 and 390 are in buckets that are 2 and 4 wide.
    assert_eq!((latency.percentile(50), latency.percentile(95)), (Some(211), Some(390)));
    assert_eq!((latency.count(), latency.bounds_us()), (41, Some((10, 410))));
}

#[test]
fn a_range_has_its_first_millisecond_and_not_its_last_and_days_are_utc() {
    const DAY_MS: i64 = 86_400_000;
    let midnight = ARRIVED_MS / DAY_MS * DAY_MS;
    let times = [midnight - 1, midnight, midnight + 1, -1, 0];
    let settlements: Vec<_> = (0..)
        .zip(times)
        .map(|(id, arrived_unix_ms)| Settlement { arrived_unix_ms, ..answered(id, vec![]) })
        .collect();
    let (_folder, reader) = reader_of(&settlements);
    let range = TimeRange { from_unix_ms: midnight, until_unix_ms: midnight + 1 };
    assert_eq!(block_on(reader.usage(range, GroupBy::None)).unwrap()[0].usage.requests, 1);
    let days = usage(&reader, GroupBy::Day);
    let days: Vec<_> = days.iter().map(|row| (row.key.to_string(), row.usage.requests)).collect();
    let expected = [("1969-12-31", 1), ("1970-01-01", 1), ("2026-09-20", 1), ("2026-09-21", 2)];
    assert_eq!(days, expected.map(|(day, count)| (day.to_owned(), count)));
}

#[test]
fn an_upstream_that_claims_absurd_numbers_cannot_break_a_report() {
    let absurd = AttemptRecord {
        usage: Some(TokenUsage::new(u64::MAX, u64::MAX, u64::MAX).into()),
        cost: Some(Usd::from_picodollars(i64::MAX)),
        ..attempt(Tier::Mid, "m")
    };
    let settlements: Vec<_> = (0..3)
        .map(|id| Settlement { duration_us: u64::MAX, ..answered(id, vec![absurd.clone(), absurd.clone()]) })
        .collect();
    let row = total(&settlements);
    assert_eq!(row.spend, Usd::from_picodollars(i64::MAX));
    assert_eq!(row.tokens.input, u64::MAX);
    assert_eq!(row.latency.percentile(50), Some(u64::MAX));
}
