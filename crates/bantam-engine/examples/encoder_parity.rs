//! Compares an encoder with the output of the reference implementation (`scripts/references.py minilm`).
//!
//! `cargo run --release -p bantam-engine --example encoder_parity -- FOLDER REFERENCE`
#![allow(clippy::print_stdout, reason = "an example prints to the terminal")]

use std::error::Error;
use std::path::Path;

use bantam_engine::{Encoder, EncoderScratch, Pooling, Precision, TokenBatch};
use bantam_kernels::{Isa, Pool};
use bantam_weights::{WeightFile, WordPiece};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: encoder_parity FOLDER REFERENCE")?;
    let reference = arguments.next().ok_or("usage: encoder_parity FOLDER REFERENCE")?;
    let (folder, reference) = (Path::new(&folder), Path::new(&reference));
    let texts: Vec<String> = serde_json::from_slice(&std::fs::read(reference.join("texts.json"))?)?;
    let file = WeightFile::open(reference.join("embeddings.safetensors"))?;
    let expected = file.tensor("embeddings").ok_or("no embeddings")?.to_f32()?;
    let tokenizer = WordPiece::from_tokenizer_json(&std::fs::read(folder.join("tokenizer.json"))?)?;
    let (mut batch, mut ids) = (TokenBatch::new(), Vec::new());
    for text in &texts {
        tokenizer.encode(text, 256, &mut ids);
        batch.push(&ids);
    }
    println!("{} texts, {} tokens", batch.len(), batch.tokens());
    for precision in [Precision::F32, Precision::Int8] {
        let encoder = Encoder::load(folder, precision)?;
        for isa in Isa::available() {
            let (pool, mut scratch) = (Pool::with_isa(2, isa), EncoderScratch::default());
            let found = encoder.embed(&batch, Pooling::Mean, &pool, &mut scratch)?;
            let width = encoder.config().hidden;
            let mut cosines: Vec<f64> =
                found.chunks(width).zip(expected.chunks(width)).map(|(a, b)| cosine(a, b)).collect();
            let worst = (0..cosines.len()).min_by(|a, b| cosines[*a].total_cmp(&cosines[*b])).unwrap_or(0);
            let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
            let text: String = texts[worst].chars().take(50).collect();
            cosines.sort_by(f64::total_cmp);
            println!(
                "{precision:?} {}: cosine lowest {:.6} ({text:?}), 1st percentile {:.6}, median {:.6}, mean {mean:.6}",
                isa.name(),
                cosines[0],
                cosines[cosines.len() / 100],
                cosines[cosines.len() / 2]
            );
        }
    }
    Ok(())
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
