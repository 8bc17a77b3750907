//! Converts `config.json` to GGUF metadata keys.

use std::path::Path;

use bantam_engine::{Architecture, DecoderConfig};
use serde_json::Value;

use super::MetadataValue;
use crate::write::QuantiseModelError;

/// Returns the keys, and the rotation factors if they are not all 1.
#[expect(clippy::type_complexity, reason = "keys and factors, named by the line above")]
pub(super) fn keys(
    folder: &Path,
    config: &DecoderConfig,
) -> Result<(Vec<(String, MetadataValue)>, Option<Vec<f32>>), QuantiseModelError> {
    let path = folder.join("config.json");
    let json = std::fs::read(&path).map_err(|source| QuantiseModelError::Read { path, source })?;
    let json: Value = serde_json::from_slice(&json).unwrap_or_default();
    let name = config.architecture.name();
    let is_gemma = config.architecture == Architecture::Gemma3;
    let mut keys = vec![("general.architecture".to_owned(), MetadataValue::Text(name.to_owned()))];
    if let Some(whole) = folder.file_name() {
        keys.push(("general.name".to_owned(), MetadataValue::Text(whole.to_string_lossy().into_owned())));
    }
    let mut put = |key: &str, value: MetadataValue| keys.push((format!("{name}.{key}"), value));
    let sizes = [
        ("block_count", config.layers),
        ("context_length", config.positions),
        ("embedding_length", config.hidden),
        ("feed_forward_length", config.intermediate),
        ("attention.head_count", config.heads),
        ("attention.head_count_kv", config.kv_heads),
        ("attention.key_length", config.head_size),
        ("attention.value_length", config.head_size),
        ("rope.dimension_count", 2 * config.rope.frequencies.len()),
        ("vocab_size", config.vocabulary),
    ];
    for (key, size) in sizes {
        put(key, MetadataValue::U32(size as u32));
    }
    put("attention.layer_norm_rms_epsilon", MetadataValue::F32(config.norm_epsilon));
    if let Some(cap) = config.logit_softcap {
        put("final_logit_softcapping", MetadataValue::F32(cap));
    }
    if let Some(cap) = config.attention_softcap {
        put("attn_logit_softcapping", MetadataValue::F32(cap));
    }
    if is_gemma {
        put("attention.scale", MetadataValue::F32(config.attention_scale));
    }
    let own = &json["rope_parameters"];
    let number = |values: [&Value; 3], otherwise: f64| {
        values.iter().find_map(|value| value.as_f64()).unwrap_or(otherwise)
    };
    let base = number(
        [&own["rope_theta"], &own["full_attention"]["rope_theta"], &json["rope_theta"]],
        if is_gemma { 1e6 } else { 1e4 },
    );
    put("rope.freq_base", MetadataValue::F32(base as f32));
    if is_gemma {
        let local = [&own["sliding_attention"]["rope_theta"], &json["rope_local_base_freq"], &Value::Null];
        put("rope.freq_base_swa", MetadataValue::F32(number(local, 1e4) as f32));
    }
    if let Some(tokens) = config.windows.iter().flatten().next() {
        let slides = |every: usize, layer: usize| every == 0 || !(layer + 1).is_multiple_of(every);
        let fits = |every: &usize| {
            config.windows.iter().enumerate().all(|(layer, window)| window.is_some() == slides(*every, layer))
        };
        let every =
            (0..=config.layers).find(fits).ok_or(QuantiseModelError::Setting { what: "layer_types" })?;
        put("attention.sliding_window", MetadataValue::U32(*tokens as u32));
        put("attention.sliding_window_pattern", MetadataValue::U32(every as u32));
    } else if is_gemma {
        // Every position fits in the window, but readers still require the key.
        put("attention.sliding_window", MetadataValue::U32(config.positions as u32));
    }
    if config.rope.magnitude != 1.0 {
        return Err(QuantiseModelError::Setting { what: "rope_scaling (longrope)" });
    }
    Ok((keys, factors(config, base)))
}

/// Returns the divisors of the plain rotation frequencies, unless all are 1.
fn factors(config: &DecoderConfig, base: f64) -> Option<Vec<f32>> {
    let size = 2.0 * config.rope.frequencies.len() as f64;
    let factors: Vec<f32> = config
        .rope
        .frequencies
        .iter()
        .enumerate()
        .map(|(pair, frequency)| (base.powf(-2.0 * pair as f64 / size) / f64::from(*frequency)) as f32)
        .collect();
    factors.iter().any(|factor| (factor - 1.0).abs() > 1e-4).then_some(factors)
}
