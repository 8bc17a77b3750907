//! Examples and templates.

use bantam_ledger::{TemplateRecord, TimeRange};
use bantam_types::Template;

use crate::support::{answered, attempt, example_of, new_path, open};
use bantam_types::Tier;

#[test]
fn examples_of_a_task_come_in_time_order() {
    let (_folder, path) = new_path();
    let ledger = open(&path);
    let mut expected: Vec<_> = (0..700_u128).map(|id| example_of(id, (id as i64 * 37) % 101)).collect();
    for example in &expected {
        let settlement = answered(example.request_id, vec![attempt(Tier::Frontier, "teacher")]);
        let _ticket = ledger.settle_with(&settlement, Some(example)).unwrap();
    }
    ledger.fold().unwrap();
    expected.sort_by_key(|example| (example.recorded_ms, example.request_id));
    let reader = ledger.reader().unwrap();
    let found: Result<Vec<_>, _> = reader.examples(&"intent".parse().unwrap()).collect();
    assert_eq!(found.unwrap(), expected);
    assert_eq!(reader.examples(&"other".parse().unwrap()).count(), 0);
}

#[test]
fn no_prompt_is_kept_that_was_not_handed_over_as_an_example() {
    let (_folder, path) = new_path();
    let ledger = open(&path);
    let _ticket = ledger.settle(&answered(1, vec![attempt(Tier::Mid, "m")])).unwrap();
    ledger.fold().unwrap();
    assert_eq!(ledger.reader().unwrap().examples(&"intent".parse().unwrap()).count(), 0);
}

#[test]
fn a_template_is_kept_as_it_was_first_seen_and_listed_with_its_traffic() {
    let record = |template, prefix: &str| TemplateRecord {
        template: Template(template),
        system_preview: "You sort mail.".to_owned(),
        prefix: prefix.to_owned(),
        suffix: "\n".to_owned(),
        first_seen_ms: 5,
    };
    let (_folder, path) = new_path();
    let ledger = open(&path);
    for each in [record(u64::MAX, "first"), record(u64::MAX, "second"), record(1, "busy")] {
        let _ticket = ledger.record_template(&each).unwrap();
    }
    for id in 0..10 {
        let mut settlement = answered(id, vec![attempt(Tier::Mid, "m")]);
        settlement.template = Some(Template(1));
        settlement.arrived_unix_ms += id as i64;
        settlement.duration_us = 100 - id as u64;
        let _ticket = ledger.settle(&settlement).unwrap();
    }
    ledger.fold().unwrap();
    let found = ledger.reader().unwrap().templates(TimeRange::ALL).unwrap();
    assert_eq!(
        found.iter().map(|each| &each.record).collect::<Vec<_>>(),
        [&record(1, "busy"), &record(u64::MAX, "first")]
    );
    let busy = &found[0].usage;
    assert_eq!((busy.requests, busy.tokens.input, busy.spend.to_string()), (10, 1000, "0.0028".to_owned()));
    assert_eq!(busy.latency.map(|latency| (latency.p50_us, latency.p95_us)), Some((95, 100)));
    assert_eq!(busy.last_arrival_unix_ms, Some(crate::support::ARRIVED_MS + 9));
    assert_eq!(found[1].usage.requests, 0);
}
