//! Packed weights kept beside a model.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bantam_engine::{Decoder, DecoderOptions, DecoderPrecision};
use bantam_kernels::Pool;

use super::support::{fixture, golden, open, run};

/// A copy of a model, and where its packed weights go.
struct Place {
    folder: tempfile::TempDir,
    model: PathBuf,
    cache: PathBuf,
}

impl Place {
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

    /// Makes the file look old, so that writing it again shows.
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
fn a_second_opening_takes_the_kept_weights_and_answers_the_same() {
    let place = Place::new();
    let expected = logits(&place.model, None);
    assert_eq!(place.logits(), expected);
    let written = place.age();
    assert_eq!(place.logits(), expected);
    assert_eq!(place.written(), written);
    // The weights do come from there: others give other answers.
    let mut bytes = std::fs::read(&place.cache).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 200].iter_mut().for_each(|byte| *byte ^= 3);
    std::fs::write(&place.cache, bytes).unwrap();
    assert_ne!(place.logits(), expected);
}

#[test]
fn a_damaged_or_foreign_file_is_made_anew() {
    let place = Place::new();
    let expected = place.logits();
    let good = std::fs::read(&place.cache).unwrap();
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
        std::fs::write(&place.cache, bytes).unwrap();
        assert_eq!(place.logits(), expected);
        assert!(std::fs::read(&place.cache).unwrap() == good);
    }
}

#[test]
fn a_changed_model_is_packed_anew() {
    let place = Place::new();
    let first = place.logits();
    let mut bytes = std::fs::read(&place.model).unwrap();
    // A weight of the last tensors: the upper byte of a half, so that it stays finite.
    let at = bytes.len() - 1000;
    bytes[at..at + 64].fill(0x20);
    std::fs::write(&place.model, bytes).unwrap();
    let found = place.logits();
    assert_ne!(found, first);
    assert_eq!(found, logits(&place.model, None));
}

#[test]
fn where_nothing_can_be_kept_the_model_runs_all_the_same() {
    let place = Place::new();
    let expected = logits(&place.model, None);
    let nowhere = place.folder.path().join("missing/model.cache");
    assert_eq!(logits(&place.model, Some(&nowhere)), expected);
    assert_eq!(logits(&place.model, Some(place.folder.path())), expected);
}

#[test]
fn an_f32_decoder_keeps_nothing() {
    let place = Place::new();
    let options = DecoderOptions { precision: DecoderPrecision::F32, cache: Some(place.cache.clone()) };
    let decoder = Decoder::open(&place.model, &options, &Pool::new(1)).unwrap();
    assert_eq!(decoder.config(), open(&place.model, DecoderPrecision::F32).config());
    assert!(!place.cache.exists());
}
