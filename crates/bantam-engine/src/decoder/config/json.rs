//! `config.json` in the format of transformers.

mod fields;

use serde_json::{Map, Value};

use super::rope::{Rope, Scaling, long_magnitude};
use super::{Architecture, Biases, DecoderConfig, DecoderConfigError, window};
use fields::Fields;

/// transformers' default.
const ROPE_BASE: f64 = 10_000.0;

/// Returns the family and the model type, which decides about windows.
fn architecture(fields: &Fields<'_>) -> Result<(Architecture, &'static str), DecoderConfigError> {
    let found = fields.text("model_type")?.ok_or_else(|| DecoderConfigError::missing("model_type"))?;
    Ok(match found {
        "llama" => (Architecture::Llama, "llama"),
        "mistral" => (Architecture::Llama, "mistral"),
        "qwen2" => (Architecture::Qwen2, "qwen2"),
        "qwen3" => (Architecture::Qwen3, "qwen3"),
        "gemma3_text" => (Architecture::Gemma3, "gemma3_text"),
        "phi3" => (Architecture::Phi3, "phi3"),
        other => return Err(DecoderConfigError::Architecture { found: other.chars().take(64).collect() }),
    })
}

impl DecoderConfig {
    /// Reads a `config.json` of transformers 4 or 5.
    pub fn from_json(bytes: &[u8]) -> Result<Self, DecoderConfigError> {
        let map: Map<String, Value> = serde_json::from_slice(bytes).map_err(DecoderConfigError::Parse)?;
        let fields = Fields { map: &map, path: "" };
        let (architecture, kind) = architecture(&fields)?;
        check_kind(&fields, architecture)?;
        let (hidden, heads) = (fields.size("hidden_size")?, fields.size("num_attention_heads")?);
        let head_size = match fields.optional_size("head_dim")? {
            Some(size) => size,
            None if heads > 0 && hidden.is_multiple_of(heads) => hidden / heads,
            None => return Err(DecoderConfigError::missing("head_dim")),
        };
        let positions = fields.size("max_position_embeddings")?;
        let reader = RopeReader { fields: &fields, architecture, head_size, positions };
        let (rope, local_rope, positions) = reader.read()?;
        let layers = fields.size("num_hidden_layers")?;
        let is_gemma = architecture == Architecture::Gemma3;
        let has_attention_bias = fields.flag("attention_bias", false)?;
        let scale = if is_gemma { fields.number("query_pre_attn_scalar")? } else { None };
        Self {
            architecture,
            vocabulary: fields.size("vocab_size")?,
            hidden,
            layers,
            heads,
            kv_heads: fields.optional_size("num_key_value_heads")?.unwrap_or(heads),
            head_size,
            intermediate: fields.size("intermediate_size")?,
            positions,
            norm_epsilon: fields.number("rms_norm_eps")?.unwrap_or(1e-6) as f32,
            attention_scale: scale.unwrap_or(head_size as f64).sqrt().recip() as f32,
            attention_softcap: fields.number("attn_logit_softcapping")?.map(|cap| cap as f32),
            logit_softcap: fields.number("final_logit_softcapping")?.map(|cap| cap as f32),
            embedding_scale: if is_gemma { (hidden as f32).sqrt() } else { 1.0 },
            is_tied: fields.flag("tie_word_embeddings", is_gemma)?,
            rope,
            local_rope,
            windows: windows(&fields, kind, layers, positions)?,
            biases: Biases {
                qkv: has_attention_bias || architecture == Architecture::Qwen2,
                output: has_attention_bias && architecture != Architecture::Qwen2,
                feed_forward: fields.flag("mlp_bias", false)?,
            },
        }
        .check()
    }
}

/// Refuses features that would change the computation.
fn check_kind(fields: &Fields<'_>, architecture: Architecture) -> Result<(), DecoderConfigError> {
    let (key, expected) = match architecture {
        Architecture::Gemma3 => ("hidden_activation", "gelu_pytorch_tanh"),
        _ => ("hidden_act", "silu"),
    };
    if let Some(found) = fields.text(key)?.filter(|found| *found != expected) {
        return Err(DecoderConfigError::unsupported(key, found, expected));
    }
    if fields.has("quantization_config") {
        return Err(DecoderConfigError::unsupported(
            "quantization_config",
            "present",
            "an unquantised model or a GGUF file",
        ));
    }
    if fields.flag("use_bidirectional_attention", false)? {
        let key = "use_bidirectional_attention";
        return Err(DecoderConfigError::unsupported(key, "true", "causal attention"));
    }
    for key in ["num_local_experts", "num_experts"] {
        if fields.optional_size(key)?.is_some_and(|experts| experts > 1) {
            return Err(DecoderConfigError::unsupported(key, "more than 1", "a model without experts"));
        }
    }
    Ok(())
}

/// Returns each layer's window.
fn windows(
    fields: &Fields<'_>,
    kind: &str,
    layers: usize,
    positions: usize,
) -> Result<Vec<Option<usize>>, DecoderConfigError> {
    // Limit the length before it is trusted: the sizes are checked later.
    let layers = layers.min(super::LIMITS[2].1);
    let none = vec![None; layers];
    let can_slide = match kind {
        "llama" => false,
        "qwen2" | "qwen3" => fields.flag("use_sliding_window", false)?,
        _ => true,
    };
    let Some(tokens) = fields.optional_size("sliding_window")?.filter(|_| can_slide) else {
        return match kind {
            "gemma3_text" => Err(DecoderConfigError::missing("sliding_window")),
            _ => Ok(none),
        };
    };
    if tokens == 0 {
        return Err(DecoderConfigError::unsupported("sliding_window", "0", "a window of at least 1"));
    }
    let window = window(tokens, positions);
    if let Some(types) = fields.texts("layer_types")? {
        if types.len() != layers {
            let (key, found, expected) = ("layer_types".into(), types.len(), layers);
            return Err(DecoderConfigError::Length { key, found, expected });
        }
        let slides = |found: &&str| match *found {
            "sliding_attention" => Ok(window),
            "full_attention" => Ok(None),
            other => Err(DecoderConfigError::unsupported(
                "layer_types",
                other,
                "sliding_attention or full_attention",
            )),
        };
        return types.iter().map(slides).collect();
    }
    let slides: Box<dyn Fn(usize) -> bool> = match kind {
        "gemma3_text" => {
            let every = fields.optional_size("sliding_window_pattern")?.unwrap_or(6);
            Box::new(move |layer| every == 0 || (layer + 1) % every != 0)
        }
        "qwen2" | "qwen3" => {
            let first = fields.size("max_window_layers")?;
            Box::new(move |layer| layer >= first)
        }
        _ => Box::new(|_| true),
    };
    Ok((0..layers).map(|layer| window.filter(|_| slides(layer))).collect())
}

/// The context for reading rotations.
struct RopeReader<'r> {
    fields: &'r Fields<'r>,
    architecture: Architecture,
    head_size: usize,
    positions: usize,
}

impl RopeReader<'_> {
    /// Returns the rotation, that of layers with a window, and the number of positions they support.
    fn read(&self) -> Result<(Rope, Option<Rope>, usize), DecoderConfigError> {
        let is_gemma = self.architecture == Architecture::Gemma3;
        let own = self.fields.object("rope_parameters")?;
        if let (true, Some(own)) = (is_gemma, &own) {
            let part = |key| own.object(key)?.ok_or_else(|| DecoderConfigError::missing(key));
            let (rope, positions) = self.rope(&part("full_attention")?, 1e6)?;
            let (local, _) = self.rope(&part("sliding_attention")?, ROPE_BASE)?;
            return Ok((rope, Some(local), positions));
        }
        if let Some(own) = own {
            let (rope, positions) = self.rope(&own, ROPE_BASE)?;
            return Ok((rope, None, positions));
        }
        let base = self.fields.number("rope_theta")?.unwrap_or(if is_gemma { 1e6 } else { ROPE_BASE });
        let empty = Map::new();
        let plain = Fields { map: &empty, path: "rope_scaling." };
        let scaling = self.fields.object("rope_scaling")?.unwrap_or(plain);
        let (rope, positions) = self.rope(&scaling, base)?;
        let local = match is_gemma {
            true => {
                let base = self.fields.number("rope_local_base_freq")?.unwrap_or(ROPE_BASE);
                Some(Rope::new(base, self.head_size, &Scaling::None)?)
            }
            false => None,
        };
        Ok((rope, local, positions))
    }

    fn rope(&self, fields: &Fields<'_>, base: f64) -> Result<(Rope, usize), DecoderConfigError> {
        let base = fields.number("rope_theta")?.unwrap_or(base);
        let part = match fields.number("partial_rotary_factor")? {
            Some(part) => part,
            None => self.fields.number("partial_rotary_factor")?.unwrap_or(1.0),
        };
        if !(part > 0.0 && part <= 1.0) {
            return Err(DecoderConfigError::Number { what: "partial rotary factor", found: part as f32 });
        }
        let size = (self.head_size as f64 * part) as usize;
        let (scaling, positions) = self.scaling(fields)?;
        Ok((Rope::new(base, size, &scaling)?, positions))
    }

    fn scaling(&self, fields: &Fields<'_>) -> Result<(Scaling, usize), DecoderConfigError> {
        let kind = match fields.text("rope_type")? {
            Some(kind) => kind,
            None => fields.text("type")?.unwrap_or("default"),
        };
        let required = |key: &str| fields.number(key)?.ok_or_else(|| fields.missing(key));
        let scaling = match kind {
            "default" => Scaling::None,
            "linear" => Scaling::Linear { factor: required("factor")? },
            "llama3" => Scaling::Llama3 {
                factor: required("factor")?,
                low: required("low_freq_factor")?,
                high: required("high_freq_factor")?,
                original: required("original_max_position_embeddings")?,
            },
            "longrope" | "su" => return self.long(fields),
            other => {
                let expected = "default, linear, llama3 or longrope";
                return Err(DecoderConfigError::unsupported("rope_type", other, expected));
            }
        };
        Ok((scaling, self.positions))
    }

    /// Reads LongRoPE, which has factors for texts within the original context and others for longer ones. Which set
    /// applies would depend on the final length of a text, and would invalidate its cached beginning; so the model
    /// uses the first set and is limited to the original context.
    fn long(&self, fields: &Fields<'_>) -> Result<(Scaling, usize), DecoderConfigError> {
        let key = "original_max_position_embeddings";
        let original = match fields.optional_size(key)? {
            Some(original) => original,
            None => self.fields.size(key)?,
        };
        let factors = fields.numbers("short_factor")?.ok_or_else(|| fields.missing("short_factor"))?;
        let factor = match fields.number("factor")? {
            Some(factor) => factor,
            None => self.positions as f64 / original as f64,
        };
        let magnitude = match fields.number("attention_factor")? {
            Some(magnitude) => magnitude as f32,
            None => long_magnitude(factor, original as f64),
        };
        Ok((Scaling::Each { factors, magnitude }, self.positions.min(original)))
    }
}

#[cfg(test)]
mod tests;
