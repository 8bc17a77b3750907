//! GGUF files of all architectures, written from the tensors of the safetensors fixtures.

use std::path::{Path, PathBuf};

use bantam_engine::{Decoder, DecoderPrecision};
use bantam_kernels::Pool;
use bantam_weights::{Dtype, NewTensor, NewValue, WeightFile, quantise, write_gguf};

use super::support::{distance, divergence, fixture, golden, open, open_f32, run};
use crate::support::pools;

#[test]
fn a_llama_gguf_from_the_reference_converter_matches_the_reference() {
    // In this file the elements of a rotated pair are adjacent, and Llama 3's scaling is a tensor.
    let decoder = open_f32("llama/model.gguf");
    for pool in pools() {
        for golden in golden("llama") {
            let found = run(&decoder, &pool, &[(&golden.tokens, None)], &[9, 1]);
            let distance = distance(&found[0], &golden.logits);
            assert!(distance < 1e-4, "{} {distance}", pool.isa().name());
        }
    }
}

#[test]
fn both_formats_of_a_model_give_the_same_quantised_weights() {
    let tokens = &golden("llama")[0].tokens;
    let [one, other] = ["llama", "llama/model.gguf"].map(|name| {
        let decoder = open(fixture(name), DecoderPrecision::Quantised);
        run(&decoder, &Pool::new(1), &[(tokens, None)], &[64])
    });
    let distance = distance(&one[0], &other[0]);
    assert!(distance < 1e-4, "{distance}");
}

/// Names within a layer in transformers and in GGUF. Gemma 3 has other names for some, in `GEMMA`.
const NAMES: [(&str, &str); 13] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("self_attn.qkv_proj", "attn_qkv"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.gate_up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];
const GEMMA: [(&str, &str); 3] = [
    ("post_attention_layernorm", "post_attention_norm"),
    ("pre_feedforward_layernorm", "ffn_norm"),
    ("post_feedforward_layernorm", "post_ffw_norm"),
];

fn gguf_name(name: &str, architecture: &str) -> String {
    let (base, kind) = name.rsplit_once('.').unwrap();
    let base = match base {
        "model.embed_tokens" => "token_embd".to_owned(),
        "model.norm" => "output_norm".to_owned(),
        "lm_head" => "output".to_owned(),
        of_layer => {
            let (layer, part) = of_layer.strip_prefix("model.layers.").unwrap().split_once('.').unwrap();
            let own: &[_] = if architecture == "gemma3" { &GEMMA } else { &[] };
            let found = own.iter().chain(&NAMES).find(|(from, _)| *from == part).unwrap();
            format!("blk.{layer}.{}", found.1)
        }
    };
    format!("{base}.{kind}")
}

/// Writes the safetensors fixture of an architecture as GGUF, with additional keys and tensors.
fn convert(
    folder: &Path,
    name: &str,
    keys: &[(&str, NewValue<'_>)],
    more: &[(&str, Vec<f32>)],
    dtype: Dtype,
) -> PathBuf {
    let source = WeightFile::open(fixture(name)).unwrap();
    let config = open_f32(name).config().clone();
    let mut tensors = Vec::new();
    for (from, view) in source.tensors() {
        let mut numbers = view.to_f32().unwrap();
        if name == "gemma3" && from.contains("norm") {
            numbers.iter_mut().for_each(|number| *number += 1.0);
        }
        let is_matrix = view.shape().len() == 2;
        let can_block = view.shape().last().is_some_and(|width| width.is_multiple_of(32));
        let dtype = if is_matrix && (can_block || dtype == Dtype::F16) { dtype } else { Dtype::F32 };
        let bytes = if dtype == Dtype::Q4_0 { q4_0(&numbers) } else { quantise(dtype, &numbers).unwrap() };
        tensors.push((gguf_name(from, name), dtype, view.shape().to_vec(), bytes));
    }
    for (to, numbers) in more {
        let bytes = quantise(Dtype::F32, numbers).unwrap();
        tensors.push(((*to).to_owned(), Dtype::F32, vec![numbers.len()], bytes));
    }
    let tensors: Vec<NewTensor<'_>> = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| NewTensor { name, dtype: *dtype, shape, bytes })
        .collect();
    let key = |key: &str| format!("{name}.{key}");
    let own = [
        ("block_count", config.layers),
        ("context_length", 256),
        ("embedding_length", config.hidden),
        ("feed_forward_length", config.intermediate),
        ("attention.head_count", config.heads),
        ("attention.head_count_kv", config.kv_heads),
        ("attention.key_length", config.head_size),
        ("attention.value_length", config.head_size),
    ];
    let own = own.map(|(name, value)| (key(name), NewValue::U32(value as u32)));
    let epsilon = (key("attention.layer_norm_rms_epsilon"), NewValue::F32(config.norm_epsilon));
    let keys = keys.iter().map(|(name, value)| (key(name), *value));
    let all: Vec<(String, NewValue<'_>)> =
        [("general.architecture".to_owned(), NewValue::Text(name)), epsilon]
            .into_iter()
            .chain(own)
            .chain(keys)
            .collect();
    let all: Vec<(&str, NewValue<'_>)> = all.iter().map(|(key, value)| (&**key, *value)).collect();
    let path = folder.join(format!("{name}-{dtype}.gguf"));
    write_gguf(&path, &all, &tensors).unwrap();
    path
}

/// Quantises to blocks of 32 nibbles with offset 8 and an f16 scale; the number of largest magnitude becomes -8 times
/// the scale.
fn q4_0(numbers: &[f32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for block in numbers.as_chunks::<32>().0 {
        let largest = block.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap();
        let scale = largest / -8.0;
        bytes.extend(half::f16::from_f32(scale).to_le_bytes());
        let nibble = |number: f32| (number / scale + 8.5).clamp(0.0, 15.0) as u8;
        bytes.extend((0..16).map(|index| nibble(block[index]) | (nibble(block[index + 16]) << 4)));
    }
    bytes
}

fn check(name: &str, keys: &[(&str, NewValue<'_>)], more: &[(&str, Vec<f32>)]) {
    let folder = tempfile::tempdir().unwrap();
    let decoder = open(convert(folder.path(), name, keys, more, Dtype::F16), DecoderPrecision::F32);
    let (found, expected) = (decoder.config(), open_f32(name).config().clone());
    assert_eq!(found.windows, expected.windows, "{name}");
    assert_eq!((found.is_tied, found.biases), (expected.is_tied, expected.biases), "{name}");
    for golden in golden(name) {
        let found = run(&decoder, &Pool::new(2), &[(&golden.tokens, None)], &[9, 1]);
        let distance = distance(&found[0], &golden.logits);
        assert!(distance < 1e-4, "{name} {distance}");
    }
}

#[test]
fn gguf_files_of_the_other_architectures_match_the_reference() {
    check("qwen2", &[("rope.freq_base", NewValue::F32(10_000.0))], &[]);
    check("qwen3", &[], &[]);
    let gemma = [
        ("rope.freq_base", NewValue::F32(5000.0)),
        ("rope.freq_base_swa", NewValue::F32(100.0)),
        ("rope.scaling.type", NewValue::Text("linear")),
        ("rope.scaling.factor", NewValue::F32(4.0)),
        ("attention.sliding_window", NewValue::U32(5)),
        ("attention.sliding_window_pattern", NewValue::U32(3)),
        ("attention.scale", NewValue::F32(12f32.sqrt().recip())),
        ("final_logit_softcapping", NewValue::F32(20.0)),
    ];
    check("gemma3", &gemma, &[]);
    let phi = [
        ("rope.freq_base", NewValue::F32(1000.0)),
        ("rope.dimension_count", NewValue::U32(6)),
        ("rope.scaling.original_context_length", NewValue::U32(64)),
        ("rope.scaling.attn_factor", NewValue::F32((1.0 + 4f32.ln() / 64f32.ln()).sqrt())),
    ];
    let factors = [
        ("rope_factors_short.weight", vec![1.0, 1.3, 1.9]),
        ("rope_factors_long.weight", vec![2.0, 3.0, 5.0]),
    ];
    check("phi3", &phi, &factors);
}

#[test]
fn weights_of_quantised_files_are_not_rounded_again() {
    let (folder, golden) = (tempfile::tempdir().unwrap(), golden("qwen3"));
    for (dtype, most) in [(Dtype::Q8_0, 2e-3), (Dtype::Q4_0, 2e-3)] {
        let path = convert(folder.path(), "qwen3", &[], &[], dtype);
        let exact =
            run(&open(&path, DecoderPrecision::F32), &Pool::new(2), &[(&golden[0].tokens, None)], &[64]);
        let decoder = open(&path, DecoderPrecision::Quantised);
        let found = run(&decoder, &Pool::new(2), &[(&golden[0].tokens, None)], &[64]);
        // Only activations are rounded, because the weights keep the file's quantised values.
        let (divergence, _) = divergence(&found[0], &exact[0], 64);
        assert!(divergence < most, "{dtype} {divergence}");
    }
}

/// Returns the first cause of the error for a file with other keys.
fn refused(name: &str, keys: &[(&str, NewValue<'_>)], more: &[(&str, Vec<f32>)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = convert(folder.path(), name, keys, more, Dtype::F16);
    let options = bantam_engine::DecoderOptions { precision: DecoderPrecision::F32, cache: None };
    let error = Decoder::open(path, &options, &Pool::new(1)).unwrap_err();
    std::error::Error::source(&error.kind).unwrap().to_string()
}

#[test]
fn unsupported_keys_are_refused_by_name() {
    let yarn = [("rope.scaling.type", NewValue::Text("yarn"))];
    let expected =
        "`qwen3.rope.scaling.type` is yarn, which is not supported (expected none, linear or factor tensors)";
    assert_eq!(refused("qwen3", &yarn, &[]), expected);
    let linear = [("rope.scaling.type", NewValue::Text("linear"))];
    assert_eq!(refused("qwen3", &linear, &[]), "`qwen3.rope.scaling.factor` is missing");
    let experts = [("expert_count", NewValue::U32(8))];
    assert!(refused("qwen3", &experts, &[]).starts_with("`qwen3.expert_count` is above 0"));
    assert_eq!(refused("gemma3", &[], &[]), "`gemma3.attention.sliding_window` is missing");
    let factors = [("rope_freqs.weight", vec![1.0, 2.0])];
    assert_eq!(refused("qwen3", &[], &factors), "`rope factors` has 2 entries; 8 are needed");
    let rotated = [("rope.dimension_count", NewValue::U32(32))];
    assert_eq!(
        refused("qwen3", &rotated, &[]),
        "32 elements of a head are rotated; the number must be even and from 2 to 16"
    );
    let base = [("rope.freq_base", NewValue::U32(10_000))];
    assert_eq!(refused("qwen3", &base, &[]), "`qwen3.rope.freq_base` must be a number");
}
