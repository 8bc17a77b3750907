//! Folders of safetensors become equivalent GGUF files.

use std::fs;
use std::path::{Path, PathBuf};

use bantam_engine::{Decoder, DecoderPrecision};
use bantam_kernels::Pool;
use bantam_quantise::{Quantisation, QuantiseModelError, compare, quantise};
use bantam_types::Cancel;
use bantam_weights::{Dtype, EncodeOptions, NewTensor, Tokenizer, write_safetensors};
use serde_json::{Value, json};

use crate::open;

const HIDDEN: usize = 64;
const HEAD: usize = 16;
const WIDE: usize = 96;
const LAYERS: usize = 2;

/// Returns the `config.json` of a tiny model of a family.
fn config(kind: &str, vocabulary: usize) -> Value {
    let mut config = json!({
        "model_type": kind, "hidden_size": HIDDEN, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": HEAD, "num_hidden_layers": LAYERS, "intermediate_size": WIDE, "vocab_size": vocabulary,
        "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "tie_word_embeddings": kind == "gemma3_text",
        "rope_theta": 20000.0,
    });
    if kind == "gemma3_text" {
        config["sliding_window"] = json!(48);
        config["sliding_window_pattern"] = json!(2);
        config["rope_local_base_freq"] = json!(10000.0);
        config["query_pre_attn_scalar"] = json!(20.0);
    }
    if kind == "llama" {
        config["rope_scaling"] = json!({
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        });
    }
    config
}

fn shapes(kind: &str, vocabulary: usize) -> Vec<(String, Vec<usize>)> {
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("model.embed_tokens.weight".to_owned(), vec![vocabulary, HIDDEN]),
        ("model.norm.weight".to_owned(), vec![HIDDEN]),
    ];
    if kind != "gemma3_text" {
        shapes.push(("lm_head.weight".to_owned(), vec![vocabulary, HIDDEN]));
    }
    for layer in 0..LAYERS {
        let mut put = |name: &str, shape: &[usize]| {
            shapes.push((format!("model.layers.{layer}.{name}"), shape.to_vec()));
        };
        put("input_layernorm.weight", &[HIDDEN]);
        put("post_attention_layernorm.weight", &[HIDDEN]);
        if kind == "gemma3_text" {
            put("pre_feedforward_layernorm.weight", &[HIDDEN]);
            put("post_feedforward_layernorm.weight", &[HIDDEN]);
        }
        if kind == "phi3" {
            put("self_attn.qkv_proj.weight", &[8 * HEAD, HIDDEN]);
            put("mlp.gate_up_proj.weight", &[2 * WIDE, HIDDEN]);
        } else {
            put("self_attn.q_proj.weight", &[4 * HEAD, HIDDEN]);
            put("self_attn.k_proj.weight", &[2 * HEAD, HIDDEN]);
            put("self_attn.v_proj.weight", &[2 * HEAD, HIDDEN]);
            put("mlp.gate_proj.weight", &[WIDE, HIDDEN]);
            put("mlp.up_proj.weight", &[WIDE, HIDDEN]);
        }
        if kind == "qwen2" {
            put("self_attn.q_proj.bias", &[4 * HEAD]);
            put("self_attn.k_proj.bias", &[2 * HEAD]);
            put("self_attn.v_proj.bias", &[2 * HEAD]);
        }
        if matches!(kind, "qwen3" | "gemma3_text") {
            put("self_attn.q_norm.weight", &[HEAD]);
            put("self_attn.k_norm.weight", &[HEAD]);
        }
        put("self_attn.o_proj.weight", &[HIDDEN, 4 * HEAD]);
        put("mlp.down_proj.weight", &[HIDDEN, WIDE]);
    }
    shapes
}

/// Writes a folder like transformers does, with random weights.
fn write(folder: &Path, kind: &str, tokenizer: &str) {
    fs::create_dir_all(folder).unwrap();
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../bantam-weights/tests/goldens/tokenizers")
        .join(format!("{tokenizer}.json"));
    fs::copy(golden, folder.join("tokenizer.json")).unwrap();
    fs::write(folder.join("tokenizer_config.json"), r#"{"bos_token":"<s>","eos_token":"</s>"}"#).unwrap();
    let vocabulary = 1_280;
    fs::write(folder.join("config.json"), config(kind, vocabulary).to_string()).unwrap();
    let mut state = 1_u64;
    let mut number = |is_norm: bool| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let uniform = (state >> 40) as f32 / (1 << 24) as f32 - 0.5;
        let gain = if kind == "gemma3_text" { 0.0 } else { 1.0 };
        if is_norm { gain + 0.2 * uniform } else { 0.5 * uniform }
    };
    let shapes = shapes(kind, vocabulary);
    let bytes: Vec<Vec<u8>> = shapes
        .iter()
        .map(|(name, shape)| {
            let count = shape.iter().product::<usize>();
            (0..count).flat_map(|_| number(name.contains("norm")).to_le_bytes()).collect()
        })
        .collect();
    let tensors: Vec<NewTensor<'_>> = shapes
        .iter()
        .zip(&bytes)
        .map(|((name, shape), bytes)| NewTensor { name, dtype: Dtype::F32, shape, bytes })
        .collect();
    write_safetensors(folder.join("model.safetensors"), &[], &tensors).unwrap();
}

fn check(kind: &str, tokenizer: &str) {
    let scratch = tempfile::tempdir().unwrap();
    let (folder, target) = (scratch.path().join("model"), scratch.path().join("small.gguf"));
    write(&folder, kind, tokenizer);
    quantise(&folder, &target, (Quantisation::Q8_0, 1), &mut |_| (), &Cancel::new()).unwrap();
    let pool = Pool::new(1);
    let (original, small): (Decoder, Decoder) =
        (open(&folder, DecoderPrecision::F32, &pool), open(&target, DecoderPrecision::F32, &pool));
    let tokens: Vec<u32> = (0..512_u32).map(|at| at * at % 401).collect();
    let found = compare((&original, &small), (&tokens, None), &pool, &mut |_, _| (), &Cancel::new()).unwrap();
    assert!(found.mean_kl < 0.02 && found.top_1 > 0.85, "{kind} with {tokenizer}: {found:?}");
    let (one, other) = (Tokenizer::open(&folder).unwrap(), Tokenizer::open(&target).unwrap());
    let text = "A text that is not a probe: 2 + 2 = 4, naïve … <|im_start|>x";
    for (add_special, parse_special) in [(true, true), (false, false)] {
        let options = EncodeOptions { add_special, parse_special };
        assert_eq!(one.encode(text, options), other.encode(text, options), "{kind} with {tokenizer}");
    }
    assert_eq!((one.bos(), one.eos_ids()), (other.bos(), other.eos_ids()));
}

#[test]
fn a_llama_with_scaled_rope_keeps_its_probabilities() {
    check("llama", "smollm");
    check("llama", "llama3");
}

#[test]
fn biases_and_head_norms_are_converted() {
    check("qwen2", "qwen2");
    check("qwen3", "qwen2");
}

#[test]
fn gemma_norm_gains_and_windows_are_converted() {
    check("gemma3_text", "gemma");
}

#[test]
fn fused_tensors_stay_fused() {
    check("phi3", "llama2");
}

#[test]
fn an_inexpressible_tokenizer_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let (folder, target) = (scratch.path().join("model"), scratch.path().join("small.gguf"));
    write(&folder, "llama", "unigram");
    let error = quantise(&folder, &target, (Quantisation::Q8_0, 1), &mut |_| (), &Cancel::new()).unwrap_err();
    assert!(matches!(&error, QuantiseModelError::Tokenizer { .. }), "{error}");
    assert!(!target.exists());
}
