//! Packed weights cached next to a model.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bantam_engine::{Decoder, DecoderOptions, DecoderPrecision};
use bantam_kernels::Pool;

use super::support::{fixture, golden, open, run};

/// A copy of a model and the path of its packed weights.
struct CachedModel {
    folder: tempfile::TempDir,
    model: PathBuf,
    cache: PathBuf,
}

impl CachedModel {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model.gguf");
        std::fs::copy(fixture("llama/model.gguf"), &model).unwrap();
        let cache = Decoder::cache_path(&model);
        assert_eq!(cache, folder.path().join("model.gguf.bantam-cache"));
        assert_eq!(Decoder::cache_path(folder.path()), folder.path().join("model.bantam-cache"));
        Self { folder, model, cache }
    }

    fn logits(&self) -> Vec<f32> {
        logits(&self.model, Some(&self.cache))
    }

    fn written(&self) -> SystemTime {
        std::fs::metadata(&self.cache).unwrap().modified().unwrap()
    }

    /// Sets the file's time far back, so that rewriting it is visible.
    fn age(&self) -> SystemTime {
        let before = SystemTime::now() - Duration::from_secs(1000);
        std::fs::File::options().write(true).open(&self.cache).unwrap().set_modified(before).unwrap();
        self.written()
    }
}

fn logits(model: &Path, cache: Option<&Path>) -> Vec<f32> {
    let options = DecoderOptions { precision: DecoderPrecision::Quantised, cache: cache.map(Path::to_owned) };
    let decoder = Decoder::open(model, &options, &Pool::new(2)).unwrap();
    run(&decoder, &Pool::new(1), &[(&golden("llama")[0].tokens, None)], &[64]).remove(0)
}

#[test]
fn opening_again_reads_the_cached_weights_and_gives_the_same_logits() {
    let cached = CachedModel::new();
    let expected = logits(&cached.model, None);
    assert_eq!(cached.logits(), expected);
    let written = cached.age();
    assert_eq!(cached.logits(), expected);
    assert_eq!(cached.written(), written);
    // The weights do come from the cache: changing it changes the logits.
    let mut bytes = std::fs::read(&cached.cache).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 200].iter_mut().for_each(|byte| *byte ^= 3);
    std::fs::write(&cached.cache, bytes).unwrap();
    assert_ne!(cached.logits(), expected);
}

#[test]
fn a_damaged_or_foreign_cache_file_is_rewritten() {
    let cached = CachedModel::new();
    let expected = cached.logits();
    let good = std::fs::read(&cached.cache).unwrap();
    let damaged = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let longer = [&good[..], &[0]].concat();
    for bytes in [
        Vec::new(),
        good[..good.len() - 1].to_vec(),
        longer,
        damaged(0),
        damaged(8),
        damaged(20),
        damaged(70),
    ] {
        std::fs::write(&cached.cache, bytes).unwrap();
        assert_eq!(cached.logits(), expected);
        assert!(std::fs::read(&cached.cache).unwrap() == good);
    }
}

#[test]
fn a_changed_model_is_packed_again() {
    let cached = CachedModel::new();
    let first = cached.logits();
    let mut bytes = std::fs::read(&cached.model).unwrap();
    // A weight of the last tensors: the upper byte of an f16, so that it stays finite.
    let at = bytes.len() - 1000;
    bytes[at..at + 64].fill(0x20);
    std::fs::write(&cached.model, bytes).unwrap();
    let found = cached.logits();
    assert_ne!(found, first);
    assert_eq!(found, logits(&cached.model, None));
}

#[test]
fn a_model_runs_without_a_writable_cache() {
    let cached = CachedModel::new();
    let expected = logits(&cached.model, None);
    let missing = cached.folder.path().join("missing/model.cache");
    assert_eq!(logits(&cached.model, Some(&missing)), expected);
    assert_eq!(logits(&cached.model, Some(cached.folder.path())), expected);
}

#[test]
fn an_f32_decoder_writes_no_cache() {
    let cached = CachedModel::new();
    let options = DecoderOptions { precision: DecoderPrecision::F32, cache: Some(cached.cache.clone()) };
    let decoder = Decoder::open(&cached.model, &options, &Pool::new(1)).unwrap();
    assert_eq!(decoder.config(), open(&cached.model, DecoderPrecision::F32).config());
    assert!(!cached.cache.exists());
}
