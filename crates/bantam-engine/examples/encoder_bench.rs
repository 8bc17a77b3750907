//! Times an encoder: milliseconds for one sequence of 12, 32, 64 and 128 tokens.
//!
//! `cargo run --release -p bantam-engine --example encoder_bench -- FOLDER [THREADS] [ROUNDS]`
#![allow(clippy::print_stdout, reason = "an example prints to the terminal")]

use std::error::Error;
use std::time::Instant;

use bantam_engine::{Encoder, EncoderScratch, Pooling, Precision, TokenBatch};
use bantam_kernels::Pool;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: encoder_bench FOLDER [THREADS] [ROUNDS]")?;
    let threads: Vec<usize> =
        arguments.next().map_or(Ok(vec![1, 2]), |text| text.parse().map(|n| vec![n]))?;
    let rounds: usize = arguments.next().map_or(Ok(200), |text| text.parse())?;
    for precision in [Precision::F32, Precision::Int8] {
        let begin = Instant::now();
        let encoder = Encoder::load(&folder, precision)?;
        println!("{precision:?}: loaded in {:.0} ms", begin.elapsed().as_secs_f64() * 1e3);
        for threads in &threads {
            let pool = Pool::new(*threads);
            let figures: Result<Vec<String>, _> =
                [12, 32, 64, 128].map(|tokens| time(&encoder, &pool, tokens, rounds)).into_iter().collect();
            println!("{precision:?} {} {threads} threads: {}", pool.isa().name(), figures?.join(", "));
        }
    }
    Ok(())
}

/// Returns the median, minimum and 95th percentile over random sequences.
fn time(encoder: &Encoder, pool: &Pool, tokens: usize, rounds: usize) -> Result<String, Box<dyn Error>> {
    let (mut scratch, mut batch, mut seed) = (EncoderScratch::default(), TokenBatch::new(), 88_172_645_u64);
    let mut milliseconds = Vec::new();
    for round in 0..rounds + 10 {
        let ids: Vec<u32> = (0..tokens)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (seed >> 33) as u32 % encoder.config().vocabulary as u32
            })
            .collect();
        batch.clear();
        batch.push(&ids);
        let begin = Instant::now();
        encoder.embed(&batch, Pooling::Mean, pool, &mut scratch)?;
        if round >= 10 {
            milliseconds.push(begin.elapsed().as_secs_f64() * 1e3);
        }
    }
    milliseconds.sort_by(f64::total_cmp);
    let at = |share: f64| milliseconds[((milliseconds.len() - 1) as f64 * share) as usize];
    Ok(format!("{tokens} tokens {:.3} ms ({:.3} to {:.3})", at(0.5), at(0.0), at(0.95)))
}
