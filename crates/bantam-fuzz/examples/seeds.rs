//! Writes the valid files of the corpora that only a program can write: `cargo run -p bantam-fuzz --example seeds`.
//!
//! Run it again when a format changes, and keep the files of the older version beside the new ones.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a chore for whoever changes a format")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use bantam_books::{Books, ExampleRecord, conformance};
use bantam_ledger::{Acknowledge, Ledger, LedgerOptions};
use bantam_student::linear::{LinearConfig, train};
use bantam_student::tagger::linear::{self, LinearTaggerConfig};
use bantam_student::{Example, SlotExample, SlotSpan};

fn main() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let students = corpus.join("student");
    fs::create_dir_all(&students).unwrap();
    classifier(&students.join("linear"));
    tagger(&students.join("linear-tagger"));
    journal(&corpus.join("journal").join("version-2"));
}

fn classifier(path: &Path) {
    let row = |number: usize| {
        let (text, label) = match number % 3 {
            0 => (format!("where is parcel {number}"), "status"),
            1 => (format!("money back for order {number}"), "refund"),
            _ => (format!("sing a song {number}"), "oos"),
        };
        Example { text, label: label.to_owned() }
    };
    let rows: Vec<Example> = (0..24).map(row).collect();
    let (student, _) = train(&rows, &LinearConfig { folds: 2, ..LinearConfig::recommended() }).unwrap();
    student.save(path).unwrap();
    told(path);
}

fn tagger(path: &Path) {
    let row = |number: usize| {
        let text = format!("table for {number} in Oslo");
        let digits = number.to_string().len();
        let spans = vec![
            SlotSpan { slot: "people".to_owned(), range: 10..10 + digits },
            SlotSpan { slot: "city".to_owned(), range: text.len() - 4..text.len() },
        ];
        SlotExample { text, context: String::new(), spans }
    };
    let rows: Vec<SlotExample> = (1..25).map(row).collect();
    let config = LinearTaggerConfig { passes: 2, threads: 1, ..LinearTaggerConfig::recommended() };
    let tagger = linear::train(&rows, &config, &mut |_| {}).unwrap();
    tagger.save(path).unwrap();
    told(path);
}

/// Copies the segment of a ledger that has not folded it yet.
fn journal(path: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("ledger.sqlite");
    let options = LedgerOptions {
        fold_interval: Duration::from_secs(3_600),
        ..LedgerOptions::new(Acknowledge::ProcessCrash)
    };
    let ledger = Ledger::open(&database, options).unwrap();
    for settlement in conformance::requests(8) {
        let example = ExampleRecord {
            request_id: settlement.request_id,
            task: "intent".parse().unwrap(),
            text: "where is my parcel?".to_owned(),
            answer: "status".to_owned(),
            model: "large".to_owned(),
            recorded_ms: settlement.arrived_unix_ms,
        };
        let is_recorded = settlement.streamed;
        ledger.settle(&settlement, is_recorded.then_some(&example)).unwrap().wait().unwrap();
    }
    let segment = database.with_added_extension("journal").join(format!("{:020}.journal", 1));
    fs::copy(segment, path).unwrap();
    told(path);
}

fn told(path: &Path) {
    println!("{}: {} bytes", path.display(), fs::metadata(path).unwrap().len());
}
