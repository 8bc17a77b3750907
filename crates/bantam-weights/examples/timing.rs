//! Measures opening a model, converting its tensors to f32, and tokenizing: `cargo run --release -p bantam-weights
//! --example timing -- FOLDER`, where FOLDER has model.safetensors and tokenizer.json.
#![expect(clippy::print_stdout, reason = "the example prints its results")]

use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bantam_weights::{WeightFile, WordPiece};

const TEXT: &str = "my card payment was declined twice yesterday, but the money has already left my account; \
    can you please tell me why?";
const RUNS: usize = 31;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("pass a model's folder")?);
    let definition = std::fs::read(folder.join("tokenizer.json"))?;
    let tokenizer = WordPiece::from_tokenizer_json(&definition)?;
    let file = WeightFile::open(&folder)?;
    let mut ids = Vec::new();
    tokenizer.encode(TEXT, 512, &mut ids);
    println!("{} words, {} ids", TEXT.split(' ').count(), ids.len());
    let encode = median(|| {
        for _ in 0..1000 {
            black_box(tokenizer.encode(black_box(TEXT), 512, &mut ids));
        }
    });
    println!("encode: {:.2} us", encode.as_secs_f64() * 1e3);
    let long = TEXT.repeat(10_000);
    let linear = median(|| {
        black_box(tokenizer.encode(black_box(&long), usize::MAX, &mut ids));
    });
    println!("encode, 10,000 times as long: {:.2} us per copy", linear.as_secs_f64() * 1e2);
    println!(
        "read tokenizer.json: {:?}",
        median(|| drop(black_box(WordPiece::from_tokenizer_json(&definition))))
    );
    println!("open: {:?}", median(|| drop(black_box(WeightFile::open(&folder)))));
    let widen =
        || file.tensors().filter_map(|(_, tensor)| tensor.to_f32().ok()).map(|values| values.len()).sum();
    let count: usize = widen();
    let widening = median(|| {
        black_box(widen());
    });
    println!("to f32, {count} values: {widening:?}");
    let started = Instant::now();
    println!("sha256 {}: {:?}", file.sha256(), started.elapsed());
    Ok(())
}

fn median(mut work: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let started = Instant::now();
            work();
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[RUNS / 2]
}
