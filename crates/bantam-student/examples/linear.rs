//! Trains a linear student or predicts with one, with the arguments of `bantam student`:
//!
//! `linear train --data FILE.jsonl --out FILE` and `linear predict --student FILE --input FILE.jsonl`.
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use bantam_student::{Bases, LinearConfig, Scratch, Student, linear, read_texts, read_training_examples};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).map(String::as_str)
    };
    let path = |name: &str| value(name).map(Path::new).ok_or(format!("{name} is missing"));
    match arguments.first().map(String::as_str) {
        Some("train") => {
            let mut config = LinearConfig::recommended();
            let number = |name: &str| value(name).and_then(|text| text.parse::<f64>().ok());
            config.cost = number("--cost").map_or(config.cost, |value| value as f32);
            config.word_weight = number("--word-weight").map_or(config.word_weight, |value| value as f32);
            config.tolerance = number("--tolerance").map_or(config.tolerance, |value| value as f32);
            config.document_rows_min =
                number("--rows-min").map_or(config.document_rows_min, |value| value as u32);
            config.threads = number("--threads").map_or(config.threads, |value| value as usize);
            train(path("--data")?, path("--out")?, &config)
        }
        Some("predict") => predict(path("--student")?, path("--input")?),
        _ => Err("usage: linear train|predict ...".into()),
    }
}

fn train(data: &Path, out: &Path, config: &LinearConfig) -> Result<(), Box<dyn Error>> {
    let rows = read_training_examples(data)?;
    let started = Instant::now();
    let (student, report) = linear::train_with_progress(&rows, config, &mut |progress| {
        if std::env::args().any(|argument| argument == "--verbose") {
            println!("{progress:?} {:?}", started.elapsed());
        }
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let hash = student.save(out)?;
    println!("{report:#?}\n{seconds:.1} s, {hash}");
    Ok(())
}

fn predict(student: &Path, input: &Path) -> Result<(), Box<dyn Error>> {
    let student = Student::load(student, None, &Bases::new(2))?;
    let mut scratch = Scratch::default();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for text in read_texts(input)? {
        let answer = student.predict(&text, &mut scratch);
        let line = serde_json::json!({
            "label": answer.label, "probability": answer.probability, "out_of_scope": answer.out_of_scope,
        });
        writeln!(out, "{line}")?;
    }
    Ok(out.flush()?)
}
