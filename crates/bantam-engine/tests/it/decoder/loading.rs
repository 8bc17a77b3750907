//! Files and folders that are not decoders.

use std::error::Error;
use std::path::Path;

use bantam_engine::{Decoder, DecoderOptions, DecoderPrecision};
use bantam_kernels::Pool;
use bantam_weights::WeightFile;

use super::support::{NAMES, distance, fixture, golden, open, run};

/// Returns a copy of a tiny model with one change to its configuration.
fn folder(name: &str, from: &str, to: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = std::fs::read_to_string(fixture(name).join("config.json")).unwrap();
    assert!(config.contains(from), "{from}");
    std::fs::write(folder.path().join("config.json"), config.replace(from, to)).unwrap();
    std::fs::copy(fixture(name).join("model.safetensors"), folder.path().join("model.safetensors")).unwrap();
    folder
}

/// Returns an error's causes.
fn refused(path: &Path, precision: DecoderPrecision) -> String {
    let error = Decoder::open(path, &DecoderOptions { precision, cache: None }, &Pool::new(1)).unwrap_err();
    let first: Option<&dyn Error> = Some(&error);
    let causes = std::iter::successors(first, |error| Error::source(*error));
    causes.skip(1).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

const BOTH: [DecoderPrecision; 2] = [DecoderPrecision::F32, DecoderPrecision::Quantised];

#[test]
fn tensors_that_do_not_match_the_configuration_are_refused_by_name() {
    let cases = [
        ("\"vocab_size\": 64", "\"vocab_size\": 65", "model.embed_tokens.weight"),
        ("\"intermediate_size\": 36", "\"intermediate_size\": 35", "model.layers.0.mlp.gate_proj.weight"),
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", "model.layers.2.self_attn.q_proj.weight"),
        (
            "\"num_key_value_heads\": 2",
            "\"num_key_value_heads\": 4",
            "model.layers.0.self_attn.k_proj.weight",
        ),
        ("\"attention_bias\": false", "\"attention_bias\": true", "model.layers.0.self_attn.q_proj.bias"),
    ];
    for (from, to, tensor) in cases {
        for precision in BOTH {
            let error = refused(folder("llama", from, to).path(), precision);
            assert!(error.starts_with("check a tensor: ") && error.contains(tensor), "{error}");
        }
    }
    let tied = folder("mistral", "\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false");
    assert!(refused(tied.path(), BOTH[0]).contains("lm_head.weight"));
}

#[test]
fn other_architectures_are_refused_by_name() {
    let folder = folder("llama", "\"model_type\": \"llama\"", "\"model_type\": \"mamba\"");
    let error = refused(folder.path(), BOTH[1]);
    assert!(
        error.starts_with("read the configuration: the architecture `mamba` is not supported; "),
        "{error}"
    );
}

#[test]
fn a_folder_without_configuration_or_weights_is_refused() {
    let empty = tempfile::tempdir().unwrap();
    assert!(refused(empty.path(), BOTH[0]).starts_with("read config.json: "));
    let folder = folder("llama", "{", "{");
    std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    assert!(refused(folder.path(), BOTH[0]).starts_with("open the weights: "));
    assert!(refused(&folder.path().join("config.json"), BOTH[0]).starts_with("open the weights: "));
    let long = " ".repeat((1 << 20) + 1);
    std::fs::write(folder.path().join("config.json"), long).unwrap();
    assert_eq!(refused(folder.path(), BOTH[0]), "config.json is 1048577 bytes long; the limit is 1048576");
}

#[test]
fn tensors_with_nan_or_infinity_are_refused_by_name() {
    // Makes the first element of each of these tensors infinite, one at a time.
    let source = WeightFile::open(fixture("llama")).unwrap();
    let bytes = std::fs::read(fixture("llama/model.safetensors")).unwrap();
    for name in ["model.norm", "lm_head", "model.layers.1.mlp.down_proj", "model.layers.0.self_attn.k_proj"] {
        let view = source.tensor(&format!("{name}.weight")).unwrap();
        let at = bytes.windows(view.bytes().len()).position(|window| window == view.bytes()).unwrap();
        let mut damaged = bytes.clone();
        damaged[at..at + 2].copy_from_slice(&0x7c00_u16.to_le_bytes());
        let folder = folder("llama", "{", "{");
        std::fs::write(folder.path().join("model.safetensors"), damaged).unwrap();
        for precision in BOTH {
            let error = refused(folder.path(), precision);
            assert!(
                error.starts_with("tensor ") && error.ends_with("contains NaN or infinity"),
                "{name} {error}"
            );
        }
    }
}

#[test]
fn sharded_weights_match_the_reference() {
    let folder = folder("qwen3", "{", "{");
    let source = WeightFile::open(fixture("qwen3")).unwrap();
    std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    let mut index = serde_json::Map::new();
    for (shard, is_first) in [("a.safetensors", true), ("b.safetensors", false)] {
        let tensors: Vec<_> = source
            .tensors()
            .filter(|(name, _)| name.contains("layers.0") == is_first)
            .map(|(name, view)| {
                index.insert(name.to_owned(), shard.into());
                let (dtype, shape, bytes) = (view.dtype(), view.shape(), view.bytes());
                bantam_weights::NewTensor { name, dtype, shape, bytes }
            })
            .collect();
        bantam_weights::write_safetensors(folder.path().join(shard), &[], &tensors).unwrap();
    }
    let index = serde_json::json!({ "metadata": {}, "weight_map": index });
    let path = folder.path().join("model.safetensors.index.json");
    std::fs::write(&path, index.to_string()).unwrap();
    let golden = &golden("qwen3")[0];
    for path in [folder.path(), &path] {
        let found = run(&open(path, BOTH[0]), &Pool::new(1), &[(&golden.tokens, None)], &[64]);
        assert!(distance(&found[0], &golden.logits) < 1e-4);
    }
}

#[test]
fn configuration_and_shapes_of_all_fixtures_are_read() {
    for name in NAMES {
        let decoder = open(fixture(name), DecoderPrecision::Quantised);
        let (config, shape) = (decoder.config(), decoder.kv_shape());
        assert_eq!(
            (shape.layers, shape.kv_heads, shape.head_size),
            (config.layers, config.kv_heads, config.head_size)
        );
        assert_eq!(config.windows.len(), config.layers, "{name}");
        assert_eq!(decoder.precision(), DecoderPrecision::Quantised);
        assert_eq!(decoder.weights().tensor("model.norm.weight").unwrap().len(), config.hidden);
    }
    assert_eq!(open(fixture("mistral"), BOTH[0]).config().windows, [Some(7), Some(7)]);
    assert_eq!(open(fixture("gemma3"), BOTH[0]).config().windows, [Some(5), Some(5), None]);
    assert_eq!(open(fixture("phi3"), BOTH[0]).config().positions, 64);
}
