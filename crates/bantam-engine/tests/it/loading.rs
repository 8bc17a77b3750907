//! Folders that are not encoders.

use bantam_engine::{Encoder, Precision};

use crate::support::{changed, refused};

fn folder(changes: &[(&str, &str)]) -> tempfile::TempDir {
    changed("tiny-bert", changes)
}

#[test]
fn the_tiny_model_loads_in_both_precisions() {
    for precision in [Precision::F32, Precision::Int8] {
        let encoder = Encoder::load(folder(&[]).path(), precision).unwrap();
        assert_eq!((encoder.config().hidden, encoder.precision()), (30, precision));
    }
}

#[test]
fn other_architectures_are_refused_by_name() {
    let folder = folder(&[("\"model_type\": \"bert\"", "\"model_type\": \"roberta\"")]);
    let expected = "read the configuration: the architecture `roberta` is not supported; supported are `bert` and `modernbert`";
    assert_eq!(refused(folder.path()), expected);
}

#[test]
fn tensors_that_do_not_match_the_configuration_are_refused_by_name() {
    let cases = [
        ("\"vocab_size\": 40", "\"vocab_size\": 41", "embeddings.word_embeddings.weight"),
        (
            "\"intermediate_size\": 52",
            "\"intermediate_size\": 51",
            "encoder.layer.0.intermediate.dense.weight",
        ),
        (
            "\"num_hidden_layers\": 2",
            "\"num_hidden_layers\": 3",
            "encoder.layer.2.attention.self.query.weight",
        ),
        ("\"max_position_embeddings\": 24", "\"max_position_embeddings\": 25", "position_embeddings.weight"),
    ];
    for (from, to, tensor) in cases {
        let error = refused(folder(&[(from, to)]).path());
        assert!(error.starts_with("check a tensor: ") && error.contains(tensor), "{error}");
    }
}

#[test]
fn a_folder_without_configuration_or_weights_is_refused() {
    let empty = tempfile::tempdir().unwrap();
    assert!(refused(empty.path()).starts_with("read config.json: "));
    let folder = folder(&[]);
    std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    assert!(refused(folder.path()).starts_with("open the weights: "));
    let error = Encoder::load(empty.path(), Precision::F32).unwrap_err();
    assert_eq!(error.to_string(), format!("load the encoder {}", empty.path().display()));
}

#[test]
fn tensors_with_nan_or_infinity_are_refused_by_name() {
    let folder = folder(&[]);
    let path = folder.path().join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let error = refused(folder.path());
    assert!(error.starts_with("tensor ") && error.ends_with("contains NaN or infinity"), "{error}");
}
