//! Times a quantised decoder: opening, prefill, decoding, and steps that reuse a cached prompt, like classification.
//!
//! `cargo run --release -p bantam-engine --example decoder_bench -- MODEL [THREADS] [ROUNDS] [ADAPTER ADAPTER]`
//!
//! Packed weights are cached in `MODEL.bantam-cache`. The cases alternate within a round, so that a change in the
//! machine's speed affects all of them.
#![allow(clippy::print_stdout, reason = "an example prints to the terminal")]

use std::error::Error;
use std::time::Instant;

use bantam_engine::{Adapter, Decoder, DecoderOptions, DecoderPrecision, DecoderScratch, LogitRows, Span};
use bantam_kernels::{KvStore, Pool};

/// Cached tokens, new tokens, sequences.
const CASES: [(&str, usize, usize, usize); 8] = [
    ("prefill 512", 0, 512, 1),
    ("decode x1", 64, 1, 1),
    ("decode x4", 64, 1, 4),
    ("decode x8", 64, 1, 8),
    ("300 kept + 8 new", 300, 8, 1),
    ("300 kept + 60 new", 300, 60, 1),
    ("8 times 300 kept + 60 new", 300, 60, 8),
    ("360 new", 0, 360, 1),
];
/// Pages per sequence: 512 tokens.
const PAGES: u32 = 32;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().ok_or("usage: decoder_bench MODEL [THREADS] [ROUNDS] [ADAPTER ADAPTER]")?;
    let threads: usize = arguments.next().map_or(Ok(2), |text| text.parse())?;
    let rounds: usize = arguments.next().map_or(Ok(20), |text| text.parse())?;
    let pool = Pool::new(threads);
    let cache = Some(Decoder::cache_path(&model));
    let options = DecoderOptions { precision: DecoderPrecision::Quantised, cache };
    let begin = Instant::now();
    drop(Decoder::open(&model, &options, &pool)?);
    let first = begin.elapsed();
    let begin = Instant::now();
    let decoder = Decoder::open(&model, &options, &pool)?;
    let ms = |time: std::time::Duration| time.as_secs_f64() * 1e3;
    println!("opened in {:.0} ms, again in {:.0} ms", ms(first), ms(begin.elapsed()));
    let adapters = arguments.map(|path| Adapter::open(path, &decoder)).collect::<Result<Vec<_>, _>>()?;

    let mut bench =
        Bench { decoder, kv: None, scratch: DecoderScratch::default(), seed: 88_172_645, adapters };
    bench.kv = Some(bench.decoder.new_kv(8 * PAGES as usize));
    let mut figures = vec![Vec::new(); CASES.len()];
    for round in 0..rounds + 2 {
        for (case, figures) in CASES.iter().zip(&mut figures) {
            let time = bench.step(&pool, (case.1, case.2, case.3))?;
            if round >= 2 {
                figures.push(time);
            }
        }
    }
    for ((name, _, new, sequences), mut figures) in CASES.into_iter().zip(figures) {
        figures.sort_by(f64::total_cmp);
        let at = |share: f64| figures[((figures.len() - 1) as f64 * share) as usize];
        let rate = (new * sequences) as f64 / at(0.5) * 1e3;
        println!("{name}: {:.2} ms ({:.2} to {:.2}), {rate:.0} tokens/s", at(0.5), at(0.0), at(0.95));
    }
    Ok(())
}

struct Bench {
    decoder: Decoder,
    kv: Option<KvStore>,
    scratch: DecoderScratch,
    seed: u64,
    /// Assigned to the sequences in turn, if there are any.
    adapters: Vec<Adapter>,
}

impl Bench {
    fn tokens(&mut self, count: usize) -> Vec<u32> {
        let vocabulary = self.decoder.config().vocabulary as u32;
        let mut next = || {
            self.seed =
                self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.seed >> 33) as u32 % vocabulary
        };
        (0..count).map(|_| next()).collect()
    }

    /// Runs a step with logits for the last token of each sequence, and returns its milliseconds. The content of the
    /// cached keys and values does not affect the time.
    fn step(
        &mut self,
        pool: &Pool,
        (kept, new, sequences): (usize, usize, usize),
    ) -> Result<f64, Box<dyn Error>> {
        let tokens: Vec<Vec<u32>> = (0..sequences).map(|_| self.tokens(new)).collect();
        let pages: Vec<Vec<u32>> =
            (0..sequences as u32).map(|index| (index * PAGES..(index + 1) * PAGES).collect()).collect();
        let adapter = |index: usize| self.adapters.get(index % self.adapters.len().max(1));
        let spans: Vec<Span<'_>> = tokens
            .iter()
            .zip(&pages)
            .enumerate()
            .map(|(index, (tokens, pages))| Span {
                tokens,
                start: kept,
                pages,
                adapter: adapter(index),
                logits: LogitRows::Last,
            })
            .collect();
        let kv = self.kv.as_mut().ok_or("no store")?;
        let begin = Instant::now();
        let logits = self.decoder.forward(pool, kv, &spans, &mut self.scratch)?;
        let time = begin.elapsed().as_secs_f64() * 1e3;
        std::hint::black_box(logits.row(0));
        Ok(time)
    }
}
