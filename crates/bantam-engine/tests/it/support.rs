//! Tiny seeded models and the reference's answers for them.

use std::error::Error;
use std::path::{Path, PathBuf};

use bantam_engine::{Encoder, EncoderScratch, Pooling, Precision, TokenBatch};
use bantam_kernels::{Isa, Pool};
use serde::Deserialize;

/// A sequence and its hidden states after the last layer.
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
    golden_of("tiny-bert")
}

pub(crate) fn golden_of(model: &str) -> Vec<Golden> {
    serde_json::from_slice(&std::fs::read(data(model).join("golden.json")).unwrap()).unwrap()
}

/// Asserts that each case has the same vector in a large batch on several threads as alone on one thread.
#[track_caller]
pub(crate) fn assert_batch_invariant(encoder: &Encoder, cases: &[Golden]) {
    let width = encoder.config().hidden;
    let mut large: Vec<&Golden> = Vec::new();
    let mut many = TokenBatch::new();
    // More tokens than one slice.
    while many.tokens() < 1200 {
        large.extend(cases);
        cases.iter().for_each(|case| many.push_pair(&case.first, &case.second));
    }
    for pool in pools() {
        let (mut scratch, mut alone) = (EncoderScratch::default(), EncoderScratch::default());
        let together = encoder.embed(&many, Pooling::Mean, &pool, &mut scratch).unwrap();
        for (found, case) in together.chunks(width).zip(&large) {
            let mut one = TokenBatch::new();
            one.push_pair(&case.first, &case.second);
            let pool = Pool::with_isa(1, pool.isa());
            let expected = encoder.embed(&one, Pooling::Mean, &pool, &mut alone).unwrap();
            assert_eq!(found, expected, "{:?} {}", encoder.precision(), pool.isa().name());
        }
    }
}

/// Returns a copy of a model with changes to its configuration.
pub(crate) fn changed(model: &str, changes: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut config = std::fs::read_to_string(data(model).join("config.json")).unwrap();
    for (from, to) in changes {
        assert!(config.contains(from), "{from}");
        config = config.replace(from, to);
    }
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    std::fs::copy(data(model).join("model.safetensors"), folder.path().join("model.safetensors")).unwrap();
    folder
}

/// Returns the messages of the causes for which a folder is refused.
pub(crate) fn refused(folder: &Path) -> String {
    let error = Encoder::load(folder, Precision::Int8).unwrap_err();
    let first: Option<&dyn Error> = Some(&error);
    let causes = std::iter::successors(first, |error| Error::source(*error));
    causes.skip(1).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

pub(crate) fn batch(cases: &[Golden]) -> TokenBatch {
    let mut batch = TokenBatch::new();
    cases.iter().for_each(|case| batch.push_pair(&case.first, &case.second));
    batch
}

/// Pools for every instruction set, with one thread and with three.
pub(crate) fn pools() -> Vec<Pool> {
    Isa::available().into_iter().flat_map(|isa| [1, 3].map(|threads| Pool::with_isa(threads, isa))).collect()
}

pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
