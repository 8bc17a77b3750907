//! Examples and templates.

use std::time::Duration;

use bantam_books::block_on;
use bantam_books::{Books, BooksReader, ExampleRecord, TemplateRecord, TimeRange};
use bantam_ledger::{Acknowledge, Ledger, LedgerOptions, LedgerReader};
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
        let _ticket = ledger.settle(&settlement, Some(example)).unwrap();
    }
    ledger.fold().unwrap();
    expected.sort_by_key(|example| (example.recorded_ms, example.request_id));
    let reader = ledger.reader().unwrap();
    assert_eq!(examples(&reader, "intent"), expected);
    assert_eq!(examples(&reader, "other"), []);
}

fn examples(reader: &LedgerReader, task: &str) -> Vec<ExampleRecord> {
    let reader: &dyn BooksReader = reader;
    let mut examples = reader.examples(task.parse().unwrap());
    std::iter::from_fn(|| block_on(examples.next()).unwrap()).collect()
}

#[test]
fn no_prompt_is_kept_that_was_not_handed_over_as_an_example() {
    let (_folder, path) = new_path();
    let ledger = open(&path);
    let _ticket = ledger.settle(&answered(1, vec![attempt(Tier::Mid, "m")]), None).unwrap();
    ledger.fold().unwrap();
    assert_eq!(examples(&ledger.reader().unwrap(), "intent"), []);
}

#[test]
fn no_text_of_a_template_is_written_unless_that_is_asked_for() {
    let (_folder, path) = new_path();
    let options = LedgerOptions {
        fold_interval: Duration::from_secs(60),
        ..LedgerOptions::new(Acknowledge::ProcessCrash)
    };
    let ledger = Ledger::open(&path, options).unwrap();
    let record = TemplateRecord {
        template: Template(9),
        system_preview: "You sort mail.".to_owned(),
        prefix: "Sort: ".to_owned(),
        suffix: "!".to_owned(),
        first_seen_ms: 5,
    };
    let _ticket = ledger.record_template(&record).unwrap();
    let segment = path.with_added_extension("journal").join(format!("{:020}.journal", 1));
    let journalled = std::fs::read(segment).unwrap();
    assert!(
        journalled.len() > 16 && !journalled.windows(4).any(|bytes| bytes == b"sort" || bytes == b"Sort")
    );
    ledger.fold().unwrap();
    let found = block_on(ledger.reader().unwrap().template_records()).unwrap();
    let empty = String::new();
    let expected =
        TemplateRecord { system_preview: empty.clone(), prefix: empty.clone(), suffix: empty, ..record };
    assert_eq!(found, [expected]);
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
    let options =
        LedgerOptions { keep_prompt_previews: true, ..LedgerOptions::new(Acknowledge::ProcessCrash) };
    let ledger = Ledger::open(&path, options).unwrap();
    for each in [record(u64::MAX, "first"), record(u64::MAX, "second"), record(1, "busy")] {
        let _ticket = ledger.record_template(&each).unwrap();
    }
    for id in 0..10 {
        let mut settlement = answered(id, vec![attempt(Tier::Mid, "m")]);
        settlement.template = Some(Template(1));
        settlement.arrived_unix_ms += id as i64;
        settlement.duration_us = 100 - id as u64;
        let _ticket = ledger.settle(&settlement, None).unwrap();
    }
    ledger.fold().unwrap();
    let reader: &dyn BooksReader = &ledger.reader().unwrap();
    let found = block_on(reader.templates(TimeRange::ALL)).unwrap();
    assert_eq!(
        found.iter().map(|each| &each.record).collect::<Vec<_>>(),
        [&record(1, "busy"), &record(u64::MAX, "first")]
    );
    let busy = &found[0].usage;
    assert_eq!((busy.requests, busy.tokens.input, busy.spend.to_string()), (10, 1000, "0.0028".to_owned()));
    assert_eq!((busy.latency.percentile(50), busy.latency.percentile(95)), (Some(95), Some(100)));
    assert_eq!(busy.last_arrival_unix_ms, Some(crate::support::ARRIVED_MS + 9));
    assert_eq!(found[1].usage.requests, 0);
}
