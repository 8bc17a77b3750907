//! The tiny seeded BERT and what the reference implementation answers for it.

use std::path::PathBuf;

use bantam_engine::{Encoder, Precision, TokenBatch};
use bantam_kernels::{Isa, Pool};
use serde::Deserialize;

/// A sequence and its states after the last layer.
#[derive(Deserialize)]
pub(crate) struct Golden {
    pub(crate) first: Vec<u32>,
    pub(crate) second: Vec<u32>,
    pub(crate) states: Vec<f32>,
}

pub(crate) fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

pub(crate) fn tiny(precision: Precision) -> Encoder {
    Encoder::load(data("tiny-bert"), precision).unwrap()
}

pub(crate) fn golden() -> Vec<Golden> {
    serde_json::from_slice(&std::fs::read(data("tiny-bert/golden.json")).unwrap()).unwrap()
}

pub(crate) fn batch(cases: &[Golden]) -> TokenBatch {
    let mut batch = TokenBatch::new();
    cases.iter().for_each(|case| batch.push_pair(&case.first, &case.second));
    batch
}

/// Pools with every set of instructions, of one thread and of three.
pub(crate) fn pools() -> Vec<Pool> {
    Isa::available().into_iter().flat_map(|isa| [1, 3].map(|threads| Pool::with_isa(threads, isa))).collect()
}

pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
