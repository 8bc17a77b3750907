//! Measures the time of one prediction: `predict_bench STUDENT FILE.jsonl [WORDS]`.
//!
//! Every text of the file is predicted once per round; the first round is a warm-up. With WORDS, texts are joined and
//! cut to that many words, to measure one length.
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use bantam_student::{LinearStudent, Scratch, read_texts};

const ROUNDS: usize = 20;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [student, input, rest @ ..] = arguments.as_slice() else {
        return Err("usage: predict_bench STUDENT FILE.jsonl [WORDS]".into());
    };
    let loading = Instant::now();
    let student = LinearStudent::load(Path::new(student))?;
    println!("loaded in {:?}, {} labels", loading.elapsed(), student.labels().len());
    let mut texts = read_texts(Path::new(input))?;
    if let Some(words) = rest.first() {
        texts = joined(&texts, words.parse()?);
    }
    let mut scratch = Scratch::default();
    let mut nanoseconds = Vec::with_capacity(texts.len() * ROUNDS);
    for round in 0..=ROUNDS {
        for text in &texts {
            let started = Instant::now();
            black_box(student.predict(black_box(text), &mut scratch));
            if round > 0 {
                nanoseconds.push(started.elapsed().as_nanos());
            }
        }
    }
    nanoseconds.sort_unstable();
    let at = |share: usize| nanoseconds[(nanoseconds.len() - 1) * share / 100] as f64 / 1000.0;
    let bytes = texts.iter().map(String::len).sum::<usize>() / texts.len();
    println!("{} texts of {bytes} bytes on average", texts.len());
    println!("p50 {:.1} us, p90 {:.1} us, p99 {:.1} us", at(50), at(90), at(99));
    Ok(())
}

/// Returns texts of exactly `words` words, made from the words of `texts` in order.
fn joined(texts: &[String], words: usize) -> Vec<String> {
    let all: Vec<&str> = texts.iter().flat_map(|text| text.split_whitespace()).collect();
    all.chunks_exact(words.max(1)).map(|chunk| chunk.join(" ")).collect()
}
