use bantam_student::tagger::{LinearTagger, LinearTaggerConfig, TrainTaggerError, train};
use bantam_student::{Bases, LoadStudentErrorKind, Scratch, SlotExample, SlotSpan, Student, Tagger};
use proptest::prelude::*;

use crate::damaged::reseal;

const CITIES: [&str; 6] = ["Rome", "Oslo", "New York", "Lima", "Accra", "Port Louis"];

fn rows(count: usize) -> Vec<SlotExample> {
    let row = |number: usize| {
        let turn = number / 3;
        let (from, to) = (CITIES[turn % 6], CITIES[(turn / 6 + 5 * turn + 2) % 6]);
        let people = (number % 9 + 1).to_string();
        let text = match number % 3 {
            0 => format!("{people} seats from {from} to {to}"),
            1 => format!("fly to {to}, leaving {from}"),
            _ => "what do you mean".to_owned(),
        };
        let mut spans = Vec::new();
        let mut add = |slot: &str, before: &str, value: &str| {
            if let Some(at) = text.find(&format!("{before}{value}")) {
                let start = at + before.len();
                spans.push(SlotSpan { slot: slot.into(), range: start..start + value.len() });
            }
        };
        add("from", "from ", from);
        add("from", "leaving ", from);
        add("to", "to ", to);
        if number.is_multiple_of(3) {
            add("people", "", &people);
        }
        spans.sort_by_key(|span| span.range.start);
        SlotExample { text, context: String::new(), spans }
    };
    (0..count).map(row).collect()
}

fn config() -> LinearTaggerConfig {
    LinearTaggerConfig { passes: 6, ..LinearTaggerConfig::recommended() }
}

fn student() -> LinearTagger {
    train(&rows(150), &config(), &mut |_| {}).unwrap()
}

#[test]
fn finds_values_with_their_positions_and_confidence() {
    let student = student();
    let text = "4 seats from Lima to Port Louis";
    let mut scratch = Scratch::default();
    let reading = student.read(text, "", &mut scratch);
    let found: Vec<_> = reading.fields.iter().map(|field| (field.name, field.value, field.start)).collect();
    assert_eq!(found, [("people", "4", 0), ("from", "Lima", 13), ("to", "Port Louis", 21)]);
    assert!(reading.confidence > 0.5 && reading.is_whole);
    let foreign = student.read("zxq vvbn 12:30 from", "", &mut scratch);
    assert!(foreign.confidence < reading.confidence, "{} {}", foreign.confidence, reading.confidence);
    let long = "to Rome ".repeat(1000);
    let reading = student.read(&long, "", &mut scratch);
    assert!(!reading.is_whole && reading.confidence == 0.0);
    assert!(student.read("", "", &mut scratch).fields.is_empty());
    let report = &student.describe().report;
    assert!(report.held_out_f1 > 0.9 && report.certainty.is_some());
}

/// Returns receipts of several lines: the total is on the line after its heading, among prices that look alike.
fn receipts(count: usize) -> Vec<SlotExample> {
    let receipt = |number: usize| {
        let shop = ["Corner", "Harbour", "Old Mill", "Station"][number % 4];
        let (price, total) =
            (format!("{}.{:02}", number % 13, number % 97), format!("{}.50", 20 + number % 31));
        let goods = "soap\n".repeat(1 + number % 5);
        let text = format!(
            "{shop} Shop\nNo. {number}\n{goods}price\n{price}\nTotal:\n{total}\ncash\n90.00\n{price}"
        );
        let sum = text.find(&total).unwrap();
        let name = 0..shop.len() + 5;
        let spans = vec![
            SlotSpan { slot: "shop".into(), range: name },
            SlotSpan { slot: "total".into(), range: sum..sum + total.len() },
        ];
        SlotExample { text, context: String::new(), spans }
    };
    (0..count).map(receipt).collect()
}

#[test]
fn lines_distinguish_values_and_a_slot_that_every_row_fills_is_always_filled() {
    let student = train(&receipts(120), &config(), &mut |_| {}).unwrap();
    assert_eq!(student.describe().report.usual, ["shop", "total"]);
    let mut scratch = Scratch::default();
    let text = "Tower Shop\nNo. 7\nsoap\nprice\n61.50\nTotal:\n44.50\ncash\n90.00";
    let reading = student.read(text, "", &mut scratch);
    let found: Vec<_> = reading.fields.iter().map(|field| (field.name, field.value)).collect();
    assert_eq!(found, [("shop", "Tower Shop"), ("total", "44.50")]);
    let unlike = student.read("what do you mean", "", &mut scratch);
    let names: Vec<_> = unlike.fields.iter().map(|field| field.name).collect();
    assert!(names.contains(&"shop") && names.contains(&"total"), "{unlike:?}");
    assert!(unlike.confidence < 0.5 && unlike.confidence < reading.confidence, "{unlike:?}");
    assert!(self::student().describe().report.usual.is_empty());
}

#[test]
fn trains_on_long_texts() {
    let row = |number: usize| {
        let noise = |from: usize| {
            (from..from + 90).map(|word| format!("w{} ", word * number % 61)).collect::<String>()
        };
        let before = noise(number);
        let (start, code) =
            (before.len() + 5, "alpha beta gamma delta epsilon zeta eta theta iota kappa".repeat(3));
        let text = format!("{before}code {code} end {}", noise(2 * number));
        let span = SlotSpan { slot: "code".into(), range: start..start + code.len() };
        SlotExample { text, context: String::new(), spans: vec![span] }
    };
    let student = train(&(1..60).map(row).collect::<Vec<_>>(), &config(), &mut |_| {}).unwrap();
    assert!(student.describe().report.held_out_f1 > 0.9, "{:?}", student.describe().report);
}

#[test]
fn equal_rows_give_equal_bytes_on_any_number_of_threads() {
    let with = |threads| train(&rows(60), &LinearTaggerConfig { threads, ..config() }, &mut |_| {}).unwrap();
    assert_eq!(with(1).to_bytes(), with(3).to_bytes());
    let other = train(&rows(60), &LinearTaggerConfig { seed: 8, ..config() }, &mut |_| {}).unwrap();
    assert_ne!(with(1).hash(), other.hash());
}

#[test]
fn a_saved_tagger_loads_and_a_classifier_does_not_load_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trip.tagger");
    let (student, bases) = (student(), Bases::new(1));
    student.save(&path).unwrap();
    let loaded = Tagger::load(&path, None, &bases).unwrap();
    assert_eq!((loaded.hash(), loaded.slots()), (student.hash(), student.slots()));
    assert!(loaded.has_seen("WHAT do you mean?") && !loaded.has_seen("never heard"));
    let text = "fly to Oslo, leaving Accra";
    let (mut one, mut other) = (Scratch::default(), Scratch::default());
    assert_eq!(loaded.read(text, "", &mut one), student.read(text, "", &mut other));
    let error = Student::load(&path, None, &bases).unwrap_err();
    assert_eq!(error.kind.to_string(), "the student is a tagger; a classifier is needed");
    let classifier = folder.path().join("a.student");
    crate::rows::student().save(&classifier).unwrap();
    let error = Tagger::load(&classifier, None, &bases).unwrap_err();
    assert!(matches!(error.kind, LoadStudentErrorKind::OtherKind { found: "a classifier", .. }));
}

#[test]
fn rejects_rows_that_cannot_be_trained_on() {
    let error = |rows: &[SlotExample]| train(rows, &config(), &mut |_| {}).unwrap_err();
    assert_eq!(error(&rows(9)), TrainTaggerError::TooFewRows { rows: 9 });
    let mut empty = rows(20);
    empty.iter_mut().for_each(|row| row.spans.clear());
    assert_eq!(error(&empty), TrainTaggerError::NoSlots);
    assert!(!error(&empty).hint().is_empty());
}

/// Checks that a tagger that loads also reads texts correctly.
fn check_load(bytes: &[u8]) -> Result<(), LoadStudentErrorKind> {
    let student = LinearTagger::from_bytes(bytes)?;
    let mut scratch = Scratch::default();
    for text in ["", "4 seats from Lima to Rome", "zzz"] {
        let reading = student.read(text, "", &mut scratch);
        assert!((0.0..=1.0).contains(&reading.confidence), "{reading:?}");
        assert!(reading.fields.iter().all(|field| text[field.start..field.end] == *field.value));
    }
    Ok(())
}

#[test]
fn rejects_truncations() {
    let good = student().to_bytes();
    for length in (0..good.len()).step_by(97) {
        assert!(check_load(&good[..length]).is_err(), "{length}");
    }
    check_load(&good).unwrap();
}

proptest! {
    #[test]
    fn crafted_files_do_not_panic(at in 0usize..1_000_000, value in any::<[u8; 4]>(), numbers_only in any::<bool>()) {
        thread_local!(static GOOD: Vec<u8> = student().to_bytes());
        let mut bytes = GOOD.with(Clone::clone);
        let description = u32::from_le_bytes([bytes[56], bytes[57], bytes[58], bytes[59]]) as usize;
        let first = if numbers_only { 60 + description } else { 56 };
        let at = first + at % (bytes.len() - first - 4);
        bytes[at..at + 4].copy_from_slice(&value);
        reseal(&mut bytes);
        let _ = check_load(&bytes);
    }
}
