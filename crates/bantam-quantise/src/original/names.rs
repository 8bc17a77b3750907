//! Maps the tensor names of transformers to GGUF's.

use bantam_engine::{Architecture, DecoderConfig};
use bantam_weights::WeightFile;

use super::{NumberSource, Tensor, is_interleaved};
use crate::write::QuantiseModelError;

const PARTS: [(&str, &str); 13] = [
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.qkv_proj", "attn_qkv"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.gate_up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("input_layernorm", "attn_norm"),
    ("post_feedforward_layernorm", "post_ffw_norm"),
];

/// Returns all tensors under their GGUF names.
pub(super) fn tensors(file: &WeightFile, config: &DecoderConfig) -> Result<Vec<Tensor>, QuantiseModelError> {
    let mut tensors = Vec::new();
    for (name, view) in file.tensors() {
        let is_left_out =
            name.ends_with("rotary_emb.inv_freq") || (config.is_tied && name == "lm_head.weight");
        if is_left_out {
            continue;
        }
        let Some(gguf) = gguf_name(name, config.architecture) else {
            return Err(QuantiseModelError::Tensor { tensor: name.to_owned() });
        };
        let turns =
            is_interleaved(config.architecture) && (gguf.contains("attn_q.") || gguf.contains("attn_k."));
        let halves = turns.then_some((config.head_size, 2 * config.rope.frequencies.len()));
        let plus_one = config.architecture == Architecture::Gemma3 && gguf.contains("norm");
        let source = NumberSource::File { tensor: name.to_owned(), halves, plus_one };
        tensors.push(Tensor { name: gguf, shape: view.shape().to_vec(), source });
    }
    // llama.cpp's converter writes tensors outside the layers first.
    tensors.sort_by_key(|tensor| layer_of(&tensor.name));
    Ok(tensors)
}

fn layer_of(name: &str) -> usize {
    let layer = name.strip_prefix("blk.").and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
    layer.map_or(0, |layer| layer + 1)
}

fn gguf_name(name: &str, architecture: Architecture) -> Option<String> {
    let whole = match name {
        "model.embed_tokens.weight" => Some("token_embd.weight"),
        "model.norm.weight" => Some("output_norm.weight"),
        "lm_head.weight" => Some("output.weight"),
        _ => None,
    };
    if let Some(whole) = whole {
        return Some(whole.to_owned());
    }
    let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
    layer.parse::<u32>().ok()?;
    let (part, ending) = rest.rsplit_once('.')?;
    let is_gemma = architecture == Architecture::Gemma3;
    let gguf = match part {
        "post_attention_layernorm" if is_gemma => "post_attention_norm",
        "post_attention_layernorm" | "pre_feedforward_layernorm" => "ffn_norm",
        _ => PARTS.iter().find(|(transformers, _)| *transformers == part)?.1,
    };
    matches!(ending, "weight" | "bias").then(|| format!("blk.{layer}.{gguf}.{ending}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_llama_cpp_and_unknown_tensors_have_none() {
        let of = |name| gguf_name(name, Architecture::Qwen2);
        assert_eq!(of("model.layers.7.self_attn.q_proj.bias").unwrap(), "blk.7.attn_q.bias");
        assert_eq!(of("model.layers.7.post_attention_layernorm.weight").unwrap(), "blk.7.ffn_norm.weight");
        let gemma = gguf_name("model.layers.7.post_attention_layernorm.weight", Architecture::Gemma3);
        assert_eq!(gemma.unwrap(), "blk.7.post_attention_norm.weight");
        for name in ["model.layers.x.mlp.up_proj.weight", "model.layers.1.mlp.router.weight", "visual.x"] {
            assert_eq!(of(name), None, "{name}");
        }
    }
}
