//! Quantises tiny models and compares them with the original.

#![cfg(test)]

mod folders;
#[path = "../../../bantam-local/tests/it/tiny_model.rs"]
mod tiny_model;

use std::path::Path;

use bantam_engine::{Decoder, DecoderOptions, DecoderPrecision};
use bantam_kernels::Pool;
use bantam_quantise::{CompareError, Comparison, Quantisation, QuantiseModelError, compare, quantise};
use bantam_types::Cancel;
use bantam_weights::{Dtype, WeightFile};

fn open(path: &Path, precision: DecoderPrecision, pool: &Pool) -> Decoder {
    Decoder::open(path, &DecoderOptions { precision, cache: None }, pool).unwrap()
}

/// Quantises the tiny model and compares both versions as users would run them.
fn compared(to: Quantisation) -> (Comparison, u64, u64) {
    let folder = tempfile::tempdir().unwrap();
    let source = tiny_model::write(folder.path());
    let target = folder.path().join("small.gguf");
    let written = quantise(&source, &target, (to, 2), &mut |_| (), &Cancel::new()).unwrap();
    let pool = Pool::new(1);
    let original = open(&source, DecoderPrecision::F32, &pool);
    let small = open(&target, DecoderPrecision::F32, &pool);
    let tokens: Vec<u32> = (0..1_200_u32).map(|at| at * at % 251).collect();
    let found = compare((&original, &small), (&tokens, None), &pool, &mut |_, _| (), &Cancel::new()).unwrap();
    (found, written.bytes_before, written.bytes_after)
}

#[test]
fn fewer_bits_mean_fewer_bytes_and_more_divergence() {
    let (eight, before, bytes_eight) = compared(Quantisation::Q8_0);
    let (four, _, bytes_four) = compared(Quantisation::Q4_0);
    assert!(bytes_four < bytes_eight && bytes_eight < before / 3, "{before} {bytes_eight} {bytes_four}");
    assert_eq!(eight.positions, 2 * 255);
    assert!(eight.mean_kl > 0.0 && eight.mean_kl < 0.01, "{eight:?}");
    assert!(four.mean_kl > 4.0 * eight.mean_kl && four.top_1 < eight.top_1, "{four:?} {eight:?}");
    assert!(eight.top_1 > 0.9 && eight.quantile_kl >= eight.mean_kl, "{eight:?}");
    assert!((eight.perplexity / eight.other_perplexity - 1.0).abs() < 0.05, "{eight:?}");
}

#[test]
fn metadata_is_kept_and_rows_of_partial_blocks_get_a_larger_type() {
    let folder = tempfile::tempdir().unwrap();
    let source = tiny_model::write(folder.path());
    let target = folder.path().join("small.gguf");
    let mut done = 0;
    quantise(&source, &target, (Quantisation::Q4KM, 3), &mut |numbers| done += numbers, &Cancel::new())
        .unwrap();
    let (before, after) = (WeightFile::open(&source).unwrap(), WeightFile::open(&target).unwrap());
    assert_eq!(done, before.tensors().map(|(_, view)| view.len() as u64).sum::<u64>());
    for key in before.metadata().keys() {
        assert_eq!(before.metadata().get(key), after.metadata().get(key), "{key}");
    }
    assert_eq!(after.metadata().u32("general.file_type"), Some(15));
    assert_eq!(after.tensor("blk.0.attn_q.weight").unwrap().dtype(), Dtype::Q8_0);
    assert_eq!(after.tensor("blk.0.attn_norm.weight").unwrap().dtype(), Dtype::F32);
}

#[test]
fn a_quantised_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let source = tiny_model::write(folder.path());
    let (once, twice) = (folder.path().join("once.gguf"), folder.path().join("twice.gguf"));
    quantise(&source, &once, (Quantisation::Q8_0, 1), &mut |_| (), &Cancel::new()).unwrap();
    let error = quantise(&once, &twice, (Quantisation::Q4_0, 1), &mut |_| (), &Cancel::new()).unwrap_err();
    assert!(matches!(error, QuantiseModelError::Quantised { .. }), "{error}");
    assert!(!twice.exists());
}

#[test]
fn a_too_short_text_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let pool = Pool::new(1);
    let model = open(&tiny_model::write(folder.path()), DecoderPrecision::F32, &pool);
    let error =
        compare((&model, &model), (&[1, 2, 3], None), &pool, &mut |_, _| (), &Cancel::new()).unwrap_err();
    assert!(matches!(error, CompareError::TooShort { found: 3, .. }), "{error}");
}
