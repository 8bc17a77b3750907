//! Writes the valid files of the corpora that only a program can write: `cargo run -p bantam-fuzz --example seeds`.
//!
//! Run it again when a format changes, and keep the files of the older version beside the new ones.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a chore for whoever changes a format")]

use std::fs;
use std::path::Path;

use bantam_student::linear::{LinearConfig, train};
use bantam_student::tagger::linear::{self, LinearTaggerConfig};
use bantam_student::{Example, SlotExample, SlotSpan};

fn main() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let students = corpus.join("student");
    fs::create_dir_all(&students).unwrap();
    classifier(&students.join("linear"));
    tagger(&students.join("linear-tagger"));
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

fn told(path: &Path) {
    println!("{}: {} bytes", path.display(), fs::metadata(path).unwrap().len());
}
