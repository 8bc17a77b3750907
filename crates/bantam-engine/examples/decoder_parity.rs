//! Compares a decoder's logits with those of transformers: mean Kullback-Leibler divergence, rows with a different
//! largest logit, and the largest difference relative to the largest logit.
//!
//! `cargo run --release -p bantam-engine --example decoder_parity -- MODEL EXPECTED.safetensors`, where EXPECTED
//! comes from `scripts/decoder_fixtures.py --expect MODEL.gguf EXPECTED.safetensors`.
#![allow(clippy::print_stdout, reason = "an example prints to the terminal")]

use std::error::Error;

use bantam_engine::{Decoder, DecoderOptions, DecoderPrecision, DecoderScratch, LogitRows, Span};
use bantam_kernels::Pool;
use bantam_weights::WeightFile;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().ok_or("usage: decoder_parity MODEL EXPECTED.safetensors")?;
    let expected =
        WeightFile::open(arguments.next().ok_or("usage: decoder_parity MODEL EXPECTED.safetensors")?)?;
    let tokens = expected.tensor("tokens.0").ok_or("no tokens")?;
    let tokens: Vec<u32> =
        tokens.bytes().as_chunks::<4>().0.iter().map(|token| u32::from_le_bytes(*token)).collect();
    let expected = expected.tensor("logits.0").ok_or("no logits")?.to_f32()?;
    let pool = Pool::new(2);
    for precision in [DecoderPrecision::F32, DecoderPrecision::Quantised] {
        let decoder = Decoder::open(&model, &DecoderOptions { precision, cache: None }, &pool)?;
        let count = tokens.len().div_ceil(16);
        let pages: Vec<u32> = (0..count as u32).collect();
        let (mut kv, mut scratch) = (decoder.new_kv(count), DecoderScratch::default());
        let span = Span { tokens: &tokens, start: 0, pages: &pages, adapter: None, logits: LogitRows::All };
        let logits = decoder.forward(&pool, &mut kv, &[span], &mut scratch)?;
        let rows = expected.chunks_exact(decoder.config().vocabulary);
        if rows.len() != logits.len() {
            return Err("the number of logits differs from the expected one".into());
        }
        let (mut divergence, mut others, mut difference, mut scale) = (0.0, 0, 0_f32, 0_f32);
        for (found, expected) in logits.rows().zip(rows) {
            divergence += kl(expected, found) / logits.len() as f64;
            others += usize::from(best(found) != best(expected));
            for (found, expected) in found.iter().zip(expected) {
                difference = difference.max((found - expected).abs());
                scale = scale.max(expected.abs());
            }
        }
        let (rows, difference) = (logits.len(), difference / scale);
        println!(
            "{precision:?}: {divergence:.2e} nats, {others} of {rows} rows differ, difference {difference:.1e}"
        );
    }
    Ok(())
}

fn best(row: &[f32]) -> Option<usize> {
    (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b]))
}

/// Returns the Kullback-Leibler divergence of the found from the expected distribution, in nats.
fn kl(expected: &[f32], found: &[f32]) -> f64 {
    let normaliser = |row: &[f32]| {
        let most = row.iter().copied().fold(f32::MIN, f32::max);
        f64::from(most) + row.iter().map(|logit| f64::from(logit - most).exp()).sum::<f64>().ln()
    };
    let (p, q) = (normaliser(expected), normaliser(found));
    let terms = expected.iter().zip(found).map(|(expected, found)| {
        let (expected, found) = (f64::from(*expected) - p, f64::from(*found) - q);
        expected.exp() * (expected - found)
    });
    terms.sum()
}
