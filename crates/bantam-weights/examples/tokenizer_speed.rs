//! Measures tokenizing: `cargo run --release -p bantam-weights --example tokenizer_speed -- TOKENIZER TEXT`, where
//! TOKENIZER is a GGUF file or a folder and TEXT a file of at least 1 KB of English. scripts/tokenizer_speed.py
//! alternates this with PyPI `tokenizers`.
#![expect(clippy::print_stdout, reason = "the example prints its results")]

use std::hint::black_box;
use std::time::Instant;

use bantam_weights::{EncodeOptions, Tokenizer};

const RUNS: usize = 301;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let path = arguments.next().ok_or("pass a tokenizer")?;
    let text = std::fs::read_to_string(arguments.next().ok_or("pass a text file")?)?;
    let started = Instant::now();
    let tokenizer = Tokenizer::open(path)?;
    println!("open: {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
    let options = EncodeOptions { add_special: false, parse_special: false };
    let cut = |bytes: usize| &text[..text.floor_char_boundary(bytes)];
    let sixty =
        (0..text.len()).map(&cut).find(|text| tokenizer.encode(text, options).len() >= 60).unwrap_or(&text);
    for (what, text) in [("1 KB", cut(1024)), ("60 tokens", sixty), ("all", &text)] {
        let mut times: Vec<f64> = Vec::new();
        for _ in 0..RUNS {
            let started = Instant::now();
            black_box(tokenizer.encode(black_box(text), options));
            times.push(started.elapsed().as_secs_f64() * 1e6);
        }
        times.sort_unstable_by(f64::total_cmp);
        let (least, median) = (times[0], times[RUNS / 2]);
        let (bytes, ids) = (text.len(), tokenizer.encode(text, options).len());
        println!("{what}: {median:.1} us (least {least:.1}), {bytes} bytes, {ids} ids");
    }
    let ids = tokenizer.encode(&text, options);
    let started = Instant::now();
    black_box(tokenizer.decode(&ids));
    println!("decode: {:.3} us per token", started.elapsed().as_secs_f64() * 1e6 / ids.len() as f64);
    Ok(())
}
