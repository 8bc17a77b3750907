//! Exports a decoder trained from scratch as one GGUF file with its tokenizer.

use std::path::Path;

use bantam_engine::{Architecture, DecoderConfig};
use bantam_weights::{Dtype, NewTensor, NewValue, write_gguf};

use super::{DecoderExportError, LoraUpdate, MODULES, bytes};
use crate::decoder::DecoderNetwork;
use crate::layout::Layout;
use crate::tokens::SmallTokens;

/// Writes a decoder trained from scratch over `tokens`, with its tokenizer, as a GGUF file in F32, F16 or Q8_0.
///
/// # Errors
/// [`DecoderExportError`] if the file cannot be written, or the decoder was not trained from scratch over these tokens.
pub fn write_whole(
    path: &Path,
    (tokens, dtype): (&SmallTokens, Dtype),
    (network, layout, parameters): (&DecoderNetwork, &Layout, &[f32]),
) -> Result<(), DecoderExportError> {
    let config = network.config();
    if !network.is_whole() || config.vocabulary != tokens.vocabulary() {
        return Err(DecoderExportError::Form {
            what: "this export needs a decoder trained from scratch over the given tokens",
        });
    }
    let mut named: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    for parameter in layout.parameters() {
        let numbers = &parameters[parameter.range.clone()];
        let (name, is_rotated) = gguf_name(&parameter.name);
        let [rows, columns] = parameter.shape;
        if rows == 1 {
            named.push((name, Dtype::F32, vec![columns], bytes(numbers)));
            continue;
        }
        let update = LoraUpdate {
            layer: 0,
            names: ("", if is_rotated { "attn_q" } else { "" }),
            a: &[],
            b: numbers,
            inputs: columns,
            outputs: rows,
            rank: columns,
        };
        let numbers = update.to_file_order(update.b, columns, update.interleaved(config));
        let dtype = if columns.is_multiple_of(dtype.block_len()) { dtype } else { Dtype::F16 };
        named.push((name, dtype, vec![rows, columns], bantam_weights::quantise(dtype, &numbers)?));
    }
    let tensors: Vec<NewTensor<'_>> = named
        .iter()
        .map(|(name, dtype, shape, bytes)| NewTensor { name, dtype: *dtype, shape, bytes })
        .collect();
    let keys = config_keys(config);
    tokens.with_metadata(|tokenizer| {
        let mut metadata = vec![
            ("general.architecture", NewValue::Text(config.architecture.name())),
            ("general.name", NewValue::Text("decoder trained from scratch")),
        ];
        metadata.extend(keys.iter().map(|(key, value)| (key.as_str(), *value)));
        metadata.extend_from_slice(tokenizer);
        write_gguf(path, &metadata, &tensors)
    })?;
    Ok(())
}

/// Returns the configuration as GGUF metadata.
fn config_keys(config: &DecoderConfig) -> Vec<(String, NewValue<'static>)> {
    let whole = |number: usize| NewValue::U32(u32::try_from(number).unwrap_or(u32::MAX));
    let values = [
        ("vocab_size", whole(config.vocabulary)),
        ("context_length", whole(config.positions)),
        ("embedding_length", whole(config.hidden)),
        ("block_count", whole(config.layers)),
        ("feed_forward_length", whole(config.intermediate)),
        ("attention.head_count", whole(config.heads)),
        ("attention.head_count_kv", whole(config.kv_heads)),
        ("attention.key_length", whole(config.head_size)),
        ("attention.value_length", whole(config.head_size)),
        ("rope.dimension_count", whole(config.head_size)),
        ("rope.freq_base", NewValue::F32(ROPE_BASE)),
        ("attention.layer_norm_rms_epsilon", NewValue::F32(config.norm_epsilon)),
    ];
    values.into_iter().map(|(key, value)| (format!("{}.{key}", config.architecture.name()), value)).collect()
}

/// The RoPE base of decoders trained from scratch.
const ROPE_BASE: f32 = 10_000.0;

/// Returns the configuration of a Llama trained from scratch with `layers` layers of `width`. Its heads have 32 numbers
/// up to a width of 256 and 64 above, or a single head of the whole width if that does not divide it.
pub fn whole_config(vocabulary: usize, (width, layers): (usize, usize), positions: usize) -> DecoderConfig {
    let preferred = if width <= 256 { 32 } else { 64 };
    let head_size = if width.is_multiple_of(preferred) { preferred } else { width };
    let heads = width / head_size.max(1);
    let pairs = head_size / 2;
    let frequency = |pair: usize| f64::from(ROPE_BASE).powf(-2.0 * pair as f64 / head_size as f64) as f32;
    DecoderConfig {
        architecture: Architecture::Llama,
        vocabulary,
        hidden: width,
        layers,
        heads,
        kv_heads: if heads.is_multiple_of(2) { heads / 2 } else { heads },
        head_size,
        // Eight thirds of the width, rounded up to whole blocks of 32.
        intermediate: (width * 8 / 3).next_multiple_of(32),
        positions,
        norm_epsilon: 1e-5,
        attention_scale: (head_size as f32).sqrt().recip(),
        attention_softcap: None,
        logit_softcap: None,
        embedding_scale: 1.0,
        is_tied: true,
        rope: bantam_engine::DecoderRope { frequencies: (0..pairs).map(frequency).collect(), magnitude: 1.0 },
        local_rope: None,
        windows: vec![None; layers],
        biases: bantam_engine::Biases::default(),
    }
}

/// Returns a tensor's name in GGUF files, and whether its rows are rotated (queries and keys).
fn gguf_name(name: &str) -> (String, bool) {
    let norms = [
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("self_attn.q_norm", "attn_q_norm"),
        ("self_attn.k_norm", "attn_k_norm"),
    ];
    let layer_name = name.strip_prefix("model.layers.").and_then(|rest| {
        let (layer, rest) = rest.split_once('.')?;
        let module = rest.strip_suffix(".weight")?;
        let (_, gguf) = MODULES.iter().chain(&norms).find(|(known, _)| *known == module)?;
        Some((format!("blk.{layer}.{gguf}.weight"), matches!(*gguf, "attn_q" | "attn_k")))
    });
    layer_name.unwrap_or_else(|| {
        let last = if name == "model.norm.weight" { "output_norm.weight" } else { "token_embd.weight" };
        (last.to_owned(), false)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensor_names_are_translated_to_gguf() {
        assert_eq!(gguf_name("model.layers.3.self_attn.k_proj.weight"), ("blk.3.attn_k.weight".into(), true));
        assert_eq!(
            gguf_name("model.layers.0.input_layernorm.weight"),
            ("blk.0.attn_norm.weight".into(), false)
        );
        assert_eq!(gguf_name("model.norm.weight").0, "output_norm.weight");
    }
}
