//! Hostile files: opening any file gives an error or a decoder that runs.

use std::path::Path;

use bantam_engine::{Adapter, Decoder, DecoderOptions, DecoderPrecision, DecoderScratch, LogitRows, Span};
use bantam_kernels::Pool;
use serde_json::{Value, json};

use super::support::{NAMES, fixture, open_f32};

/// Tries to open a file as a decoder and runs it. Returns whether it opened.
fn try_out(path: &Path, precision: DecoderPrecision) -> bool {
    let pool = Pool::new(1);
    let Ok(decoder) = Decoder::open(path, &DecoderOptions { precision, cache: None }, &pool) else {
        return false;
    };
    let (mut kv, mut scratch) = (decoder.new_kv(1), DecoderScratch::default());
    let span = Span { tokens: &[0, 1, 2], start: 0, pages: &[0], adapter: None, logits: LogitRows::Last };
    drop(decoder.forward(&pool, &mut kv, &[span], &mut scratch));
    true
}

#[test]
fn no_value_of_a_configuration_field_causes_a_panic() {
    let values = [
        json!(null),
        json!(0),
        json!(1),
        json!(7),
        json!(-1),
        json!(1_000_000_000_000_u64),
        json!(u64::MAX),
        json!(1e300),
        json!(1e-300),
        json!("x"),
        json!([]),
        json!([0.0, 1e39]),
        json!({}),
        json!(true),
    ];
    for name in NAMES {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(fixture(name).join("model.safetensors"), folder.path().join("model.safetensors"))
            .unwrap();
        let config = std::fs::read(fixture(name).join("config.json")).unwrap();
        let config: Value = serde_json::from_slice(&config).unwrap();
        let mut paths: Vec<String> = Vec::new();
        collect(&config, "", &mut paths);
        let mut refused = 0;
        for path in &paths {
            for value in &values {
                let mut changed = config.clone();
                *changed.pointer_mut(path).unwrap() = value.clone();
                std::fs::write(folder.path().join("config.json"), changed.to_string()).unwrap();
                refused += usize::from(!try_out(folder.path(), DecoderPrecision::F32));
            }
        }
        assert!(refused > 4 * values.len(), "{name} {refused}");
    }
}

/// Collects the JSON pointers of all fields.
fn collect(value: &Value, path: &str, paths: &mut Vec<String>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let path = format!("{path}/{key}");
        collect(value, &path, paths);
        paths.push(path);
    }
}

/// Calls `check` with `count` copies of a file, each with up to three bytes changed among the first `reach`.
fn damaged(file: &Path, count: usize, reach: usize, mut check: impl FnMut(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let (path, bytes) = (folder.path().join("file.gguf"), std::fs::read(file).unwrap());
    let mut state = 7_u64;
    let mut below = |most: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % most
    };
    for _ in 0..count {
        let mut bytes = bytes.clone();
        for _ in 0..1 + below(3) {
            let at = below(reach.min(bytes.len()));
            bytes[at] = [0, 1, 0x7f, 0xff, bytes[at] ^ 1, bytes[at] ^ 0x40][below(6)];
        }
        std::fs::write(&path, bytes).unwrap();
        check(&path);
    }
}

#[test]
fn no_damaged_gguf_file_causes_a_panic() {
    let mut opened = 0;
    let mut turn = [DecoderPrecision::F32, DecoderPrecision::Quantised].into_iter().cycle();
    damaged(&fixture("llama/model.gguf"), 1500, 2200, |path| {
        opened += usize::from(turn.next().is_some_and(|precision| try_out(path, precision)));
    });
    assert!((1..1400).contains(&opened), "{opened}");
}

#[test]
fn no_damaged_adapter_causes_a_panic() {
    let decoder = open_f32("llama");
    let mut opened = 0;
    damaged(&fixture("llama/adapter-few.gguf"), 1000, 1500, |path| {
        opened += usize::from(Adapter::open(path, &decoder).is_ok());
    });
    assert!((1..900).contains(&opened), "{opened}");
}
