//! The tiny seeded decoders, the reference's answers for them, and helpers that run them.

use std::path::PathBuf;

use bantam_engine::{Adapter, Decoder, DecoderOptions, DecoderPrecision, DecoderScratch, LogitRows, Span};
use bantam_kernels::{KvStore, Pool};
use bantam_weights::WeightFile;

pub(crate) const NAMES: [&str; 6] = ["llama", "mistral", "qwen2", "qwen3", "gemma3", "phi3"];

pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

pub(crate) fn open(path: impl Into<PathBuf>, precision: DecoderPrecision) -> Decoder {
    let options = DecoderOptions { precision, cache: None };
    Decoder::open(path.into(), &options, &Pool::new(2)).unwrap()
}

pub(crate) fn open_f32(name: &str) -> Decoder {
    open(fixture(name), DecoderPrecision::F32)
}

/// A sequence and the reference's logits after each of its tokens.
pub(crate) struct Golden {
    pub(crate) tokens: Vec<u32>,
    pub(crate) logits: Vec<f32>,
}

pub(crate) fn expected(name: &str, tensor: &str) -> Vec<f32> {
    let file = WeightFile::open(fixture(name).join("expected.safetensors")).unwrap();
    file.tensor(tensor).unwrap().to_f32().unwrap()
}

pub(crate) fn golden(name: &str) -> [Golden; 2] {
    let file = WeightFile::open(fixture(name).join("expected.safetensors")).unwrap();
    [0, 1].map(|index| {
        let bytes = file.tensor(&format!("tokens.{index}")).unwrap().bytes().to_vec();
        let tokens = bytes.as_chunks::<4>().0.iter().map(|token| u32::from_le_bytes(*token)).collect();
        Golden { tokens, logits: expected(name, &format!("logits.{index}")) }
    })
}

/// A sequence and the pages that it owns.
pub(crate) struct Sequence<'a> {
    pub(crate) tokens: &'a [u32],
    pub(crate) adapter: Option<&'a Adapter>,
    pages: Vec<u32>,
}

/// Gives each sequence its own pages, in scrambled order, and creates a KV store that has them.
pub(crate) fn paged<'a>(
    decoder: &Decoder,
    sequences: &[(&'a [u32], Option<&'a Adapter>)],
) -> (KvStore, Vec<Sequence<'a>>) {
    let needed = |tokens: &[u32]| tokens.len().div_ceil(16);
    let all: usize = sequences.iter().map(|(tokens, _)| needed(tokens)).sum();
    let mut free: Vec<u32> = (0..all as u32).rev().collect();
    free.rotate_left(all / 3);
    let sequences = sequences.iter().map(|(tokens, adapter)| {
        let pages = free.split_off(free.len() - needed(tokens));
        Sequence { tokens, adapter: *adapter, pages }
    });
    (decoder.new_kv(all), sequences.collect())
}

/// Runs sequences together and returns all logits of each. In step i, each sequence contributes `lengths[i]` tokens;
/// the last length repeats until all tokens are used.
pub(crate) fn run(
    decoder: &Decoder,
    pool: &Pool,
    sequences: &[(&[u32], Option<&Adapter>)],
    lengths: &[usize],
) -> Vec<Vec<f32>> {
    let (mut kv, sequences) = paged(decoder, sequences);
    let mut scratch = DecoderScratch::default();
    let mut found = vec![Vec::new(); sequences.len()];
    let mut done = vec![0; sequences.len()];
    for step in 0.. {
        let length = lengths[step.min(lengths.len() - 1)];
        let mut taking = Vec::new();
        for (index, sequence) in sequences.iter().enumerate() {
            let end = (done[index] + length).min(sequence.tokens.len());
            if done[index] < end {
                taking.push((index, done[index]..end));
                done[index] = end;
            }
        }
        if taking.is_empty() {
            break;
        }
        let spans: Vec<Span<'_>> = taking
            .iter()
            .map(|(index, tokens)| Span {
                tokens: &sequences[*index].tokens[tokens.clone()],
                start: tokens.start,
                pages: &sequences[*index].pages,
                adapter: sequences[*index].adapter,
                logits: LogitRows::All,
            })
            .collect();
        let logits = decoder.forward(pool, &mut kv, &spans, &mut scratch).unwrap();
        let mut rows = logits.rows();
        for (index, tokens) in &taking {
            for _ in tokens.clone() {
                found[*index].extend(rows.next().unwrap());
            }
        }
        assert_eq!(rows.len(), 0);
    }
    found
}

/// Returns the largest difference, relative to the largest expected magnitude.
pub(crate) fn distance(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(0.0_f32, |most, number| most.max(number.abs()));
    let differences = found.iter().zip(expected).map(|(found, expected)| (found - expected).abs());
    // `max` would hide NaN.
    differences.map(|difference| if difference.is_nan() { f32::MAX } else { difference }).fold(0.0, f32::max)
        / scale
}

/// Returns the mean Kullback-Leibler divergence in nats of rows of logits from the expected ones, and the number of
/// rows whose largest logit is at another token.
pub(crate) fn divergence(found: &[f32], expected: &[f32], vocabulary: usize) -> (f64, usize) {
    assert_eq!(found.len(), expected.len());
    let best = |row: &[f32]| (0..vocabulary).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
    let log_softmax = |row: &[f32]| {
        let most = f64::from(row[best(row)]);
        let sum: f64 = row.iter().map(|number| (f64::from(*number) - most).exp()).sum();
        row.iter().map(|number| f64::from(*number) - most - sum.ln()).collect::<Vec<f64>>()
    };
    let rows = found.chunks_exact(vocabulary).zip(expected.chunks_exact(vocabulary));
    let (mut sum, mut others) = (0.0, 0);
    for (found, expected) in rows.clone() {
        let (q, p) = (log_softmax(found), log_softmax(expected));
        sum += p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>();
        others += usize::from(best(found) != best(expected));
    }
    (sum / rows.len() as f64, others)
}
