//! A Llama of random weights whose tokens are bytes, as a file.

use std::path::{Path, PathBuf};

use bantam_weights::{Dtype, NewTensor, NewValue, write_gguf};

const HIDDEN: usize = 64;
const HEAD: usize = 16;
const KV: usize = 2 * HEAD;
const WIDE: usize = 96;
const LAYERS: usize = 2;
/// Its control tokens; the last three are for filling in the middle.
pub(crate) const CONTROL: [&str; 7] =
    ["<|end|>", "<|im_start|>", "<|im_end|>", "<unk>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"];

/// Writes conversations as ChatML does, and calls as Hermes does.
const TEMPLATE: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
    {% if tools %}<tool_call>{{ tools | tojson }}{% endif %}<|im_start|>assistant\n";

/// The 256 bytes as byte-level BPE writes them.
fn printable_bytes() -> Vec<String> {
    let own = |byte: &u32| matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let mut others = 0x100..;
    let mut written = |byte: u32| if own(&byte) { byte } else { others.next().unwrap() };
    (0..256).map(|byte| char::from_u32(written(byte)).unwrap().to_string()).collect()
}

/// Writes the model into a folder.
pub(crate) fn write(folder: &Path) -> PathBuf {
    write_with(folder, &CONTROL)
}

/// Writes the model with these control tokens, at least the first four of [`CONTROL`], into a folder.
pub(crate) fn write_with(folder: &Path, control: &[&'static str]) -> PathBuf {
    let bytes = printable_bytes();
    let tokens: Vec<&str> = bytes.iter().map(String::as_str).chain(control.iter().copied()).collect();
    let kinds: Vec<i32> = (0..tokens.len()).map(|index| if index < 256 { 1 } else { 3 }).collect();
    let metadata = [
        ("general.architecture", NewValue::Text("llama")),
        ("llama.block_count", NewValue::U32(LAYERS as u32)),
        ("llama.context_length", NewValue::U32(2_048)),
        ("llama.embedding_length", NewValue::U32(HIDDEN as u32)),
        ("llama.feed_forward_length", NewValue::U32(WIDE as u32)),
        ("llama.attention.head_count", NewValue::U32((HIDDEN / HEAD) as u32)),
        ("llama.attention.head_count_kv", NewValue::U32((KV / HEAD) as u32)),
        ("llama.attention.layer_norm_rms_epsilon", NewValue::F32(1e-5)),
        ("llama.rope.freq_base", NewValue::F32(10_000.0)),
        ("llama.rope.dimension_count", NewValue::U32(HEAD as u32)),
        ("tokenizer.ggml.model", NewValue::Text("gpt2")),
        ("tokenizer.ggml.pre", NewValue::Text("gpt-2")),
        ("tokenizer.ggml.tokens", NewValue::Texts(&tokens)),
        ("tokenizer.ggml.token_type", NewValue::I32s(&kinds)),
        ("tokenizer.ggml.merges", NewValue::Texts(&[])),
        ("tokenizer.ggml.bos_token_id", NewValue::U32(256)),
        ("tokenizer.ggml.eos_token_id", NewValue::U32(258)),
        ("tokenizer.ggml.add_bos_token", NewValue::Bool(false)),
        ("tokenizer.chat_template", NewValue::Text(TEMPLATE)),
    ];
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("token_embd.weight".to_owned(), vec![tokens.len(), HIDDEN]),
        ("output_norm.weight".to_owned(), vec![HIDDEN]),
    ];
    for layer in 0..LAYERS {
        let parts: [(&str, &[usize]); 9] = [
            ("attn_norm", &[HIDDEN]),
            ("attn_q", &[HIDDEN, HIDDEN]),
            ("attn_k", &[KV, HIDDEN]),
            ("attn_v", &[KV, HIDDEN]),
            ("attn_output", &[HIDDEN, HIDDEN]),
            ("ffn_norm", &[HIDDEN]),
            ("ffn_gate", &[WIDE, HIDDEN]),
            ("ffn_up", &[WIDE, HIDDEN]),
            ("ffn_down", &[HIDDEN, WIDE]),
        ];
        shapes.extend(parts.map(|(name, shape)| (format!("blk.{layer}.{name}.weight"), shape.to_vec())));
    }
    let mut state = 1_u64;
    let mut number = |is_norm: bool| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let uniform = (state >> 40) as f32 / (1 << 24) as f32 - 0.5;
        if is_norm { 1.0 + 0.2 * uniform } else { 0.5 * uniform }
    };
    let numbers: Vec<Vec<u8>> = shapes
        .iter()
        .map(|(name, shape)| {
            let count: usize = shape.iter().product();
            (0..count).flat_map(|_| number(name.contains("norm")).to_le_bytes()).collect()
        })
        .collect();
    let tensors: Vec<NewTensor<'_>> = shapes
        .iter()
        .zip(&numbers)
        .map(|((name, shape), bytes)| NewTensor { name, dtype: Dtype::F32, shape, bytes })
        .collect();
    let path = folder.join("tiny.gguf");
    write_gguf(&path, &metadata, &tensors).unwrap();
    path
}
