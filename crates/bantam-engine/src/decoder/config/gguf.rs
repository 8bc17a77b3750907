//! GGUF metadata keys, `llama.block_count` and so on, as written by llama.cpp's converter.

use bantam_weights::{Metadata, Value, WeightFile};

use super::rope::{Rope, Scaling};
use super::{Architecture, Biases, DecoderConfig, DecoderConfigError, window};

/// llama.cpp's default.
const ROPE_BASE: f64 = 10_000.0;
const GEMMA3_PATTERN: usize = 6;
/// Gemma 3 27B scales attention by the mean head size, which the file does not say; it is recognised by its layers.
const GEMMA3_27B_LAYERS: usize = 62;

impl DecoderConfig {
    /// Reads the metadata of a GGUF file, and its rotation factors if it has any.
    pub fn from_gguf(file: &WeightFile) -> Result<Self, DecoderConfigError> {
        let metadata = file.metadata();
        let missing = || DecoderConfigError::missing("general.architecture");
        let name = metadata.text("general.architecture").ok_or_else(missing)?;
        let all = [
            Architecture::Llama,
            Architecture::Qwen2,
            Architecture::Qwen3,
            Architecture::Gemma3,
            Architecture::Phi3,
        ];
        let Some(architecture) = all.into_iter().find(|known| known.name() == name) else {
            return Err(DecoderConfigError::Architecture { found: name.chars().take(64).collect() });
        };
        Keys { file, metadata, architecture }.read()
    }
}

/// The metadata keys of one architecture.
struct Keys<'k> {
    file: &'k WeightFile,
    metadata: Metadata<'k>,
    architecture: Architecture,
}

impl Keys<'_> {
    fn read(&self) -> Result<DecoderConfig, DecoderConfigError> {
        if let Some(kind) = self.metadata.text("general.type").filter(|kind| *kind != "model") {
            return Err(DecoderConfigError::unsupported("general.type", kind, "model"));
        }
        if self.optional_size("expert_count")?.is_some_and(|experts| experts > 0) {
            let (key, expected) = (self.key("expert_count"), "a model without experts");
            return Err(DecoderConfigError::unsupported(&key, "above 0", expected));
        }
        let (hidden, heads) = (self.size("embedding_length")?, self.size("attention.head_count")?);
        let layers = self.size("block_count")?;
        let head_size = self.head_size(hidden, heads)?;
        let is_gemma = self.architecture == Architecture::Gemma3;
        let (rope, local_rope, positions) = self.ropes(head_size)?;
        let is_mean = is_gemma && layers == GEMMA3_27B_LAYERS;
        let scaled_by = if is_mean { hidden as f32 / heads.max(1) as f32 } else { head_size as f32 };
        DecoderConfig {
            architecture: self.architecture,
            vocabulary: self.vocabulary()?,
            hidden,
            layers,
            heads,
            kv_heads: self.optional_size("attention.head_count_kv")?.unwrap_or(heads),
            head_size,
            intermediate: self.size("feed_forward_length")?,
            positions,
            norm_epsilon: self.required_number("attention.layer_norm_rms_epsilon")? as f32,
            attention_scale: match self.number("attention.scale")? {
                Some(scale) if scale != 0.0 => scale as f32,
                _ => scaled_by.sqrt().recip(),
            },
            attention_softcap: self.number("attn_logit_softcapping")?.map(|cap| cap as f32),
            logit_softcap: self.number("final_logit_softcapping")?.map(|cap| cap as f32),
            embedding_scale: if is_gemma { (hidden as f32).sqrt() } else { 1.0 },
            is_tied: self.file.tensor("output.weight").is_none(),
            rope,
            local_rope,
            windows: self.windows(layers, positions)?,
            biases: self.biases(),
        }
        .check()
    }

    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture.name())
    }

    fn optional_size(&self, key: &str) -> Result<Option<usize>, DecoderConfigError> {
        let key = self.key(key);
        match self.metadata.get(&key) {
            None => Ok(None),
            Some(Value::Array(_)) => Err(DecoderConfigError::unsupported(
                &key,
                "a list with a value per layer",
                "one value for all layers",
            )),
            Some(_) => match self.metadata.usize(&key) {
                Some(size) => Ok(Some(size)),
                None => Err(DecoderConfigError::wrong_type(&key, "a whole number")),
            },
        }
    }

    fn size(&self, key: &str) -> Result<usize, DecoderConfigError> {
        self.optional_size(key)?.ok_or_else(|| DecoderConfigError::missing(&self.key(key)))
    }

    fn number(&self, key: &str) -> Result<Option<f64>, DecoderConfigError> {
        match self.metadata.get(&self.key(key)) {
            None => Ok(None),
            Some(Value::Float(number)) => Ok(Some(number)),
            Some(_) => Err(DecoderConfigError::wrong_type(&self.key(key), "a number")),
        }
    }

    fn required_number(&self, key: &str) -> Result<f64, DecoderConfigError> {
        self.number(key)?.ok_or_else(|| DecoderConfigError::missing(&self.key(key)))
    }

    fn head_size(&self, hidden: usize, heads: usize) -> Result<usize, DecoderConfigError> {
        let size = match self.optional_size("attention.key_length")? {
            Some(size) => size,
            None if heads > 0 && hidden.is_multiple_of(heads) => hidden / heads,
            None => return Err(DecoderConfigError::missing(&self.key("attention.key_length"))),
        };
        if self.optional_size("attention.value_length")?.is_some_and(|values| values != size) {
            let key = self.key("attention.value_length");
            return Err(DecoderConfigError::unsupported(
                &key,
                "different from the key length",
                "the key length",
            ));
        }
        Ok(size)
    }

    /// Returns the number of embedding rows, since not every file has the key.
    fn vocabulary(&self) -> Result<usize, DecoderConfigError> {
        let rows = self.file.tensor("token_embd.weight").and_then(|tensor| tensor.shape().first().copied());
        rows.map_or_else(|| self.size("vocab_size"), Ok)
    }

    fn biases(&self) -> Biases {
        let has = |names: &[&str]| {
            names.iter().any(|name| self.file.tensor(&format!("blk.0.{name}.bias")).is_some())
        };
        Biases {
            qkv: has(&["attn_q", "attn_k", "attn_v", "attn_qkv"]),
            output: has(&["attn_output"]),
            feed_forward: has(&["ffn_gate", "ffn_up", "ffn_down"]),
        }
    }

    fn windows(&self, layers: usize, positions: usize) -> Result<Vec<Option<usize>>, DecoderConfigError> {
        let layers = layers.min(super::LIMITS[2].1);
        let is_gemma = self.architecture == Architecture::Gemma3;
        let tokens = match self.optional_size("attention.sliding_window")?.filter(|tokens| *tokens > 0) {
            Some(tokens) => tokens,
            None if is_gemma => {
                return Err(DecoderConfigError::missing(&self.key("attention.sliding_window")));
            }
            None => return Ok(vec![None; layers]),
        };
        let window = window(tokens, positions);
        let key = self.key("attention.sliding_window_pattern");
        let slides: Vec<bool> = match self.metadata.get(&key) {
            Some(Value::Array(each)) => {
                let flags: Option<Vec<bool>> = each
                    .iter()
                    .take(layers + 1)
                    .map(|value| if let Value::Bool(slides) = value { Some(slides) } else { None })
                    .collect();
                flags.ok_or_else(|| DecoderConfigError::wrong_type(&key, "a list of booleans"))?
            }
            _ => {
                let otherwise = if is_gemma { GEMMA3_PATTERN } else { 0 };
                let every = self.optional_size("attention.sliding_window_pattern")?.unwrap_or(otherwise);
                (0..layers).map(|layer| every == 0 || (layer + 1) % every != 0).collect()
            }
        };
        if slides.len() != layers {
            let (found, expected) = (slides.len(), layers);
            return Err(DecoderConfigError::Length { key: key.into(), found, expected });
        }
        Ok(slides.into_iter().map(|slides| window.filter(|_| slides)).collect())
    }

    /// Returns the rotation, that of layers with a window, and the number of positions they support.
    fn ropes(&self, head_size: usize) -> Result<(Rope, Option<Rope>, usize), DecoderConfigError> {
        let positions = self.size("context_length")?;
        let base = self.number("rope.freq_base")?.unwrap_or(ROPE_BASE);
        let size = self.optional_size("rope.dimension_count")?.unwrap_or(head_size);
        if size > head_size {
            return Err(DecoderConfigError::Rotated { found: size, at_most: head_size });
        }
        let (scaling, positions) = self.scaling(positions)?;
        let rope = Rope::new(base, size, &scaling)?;
        let local = match self.architecture {
            Architecture::Gemma3 => {
                let base = self.number("rope.freq_base_swa")?.unwrap_or(ROPE_BASE);
                Some(Rope::new(base, size, &Scaling::None)?)
            }
            _ => None,
        };
        Ok((rope, local, positions))
    }

    /// Reads the scaling of rotations. Factor tensors take precedence over the keys, as in llama.cpp. Of LongRoPE's
    /// two lists, the one for texts within the original context is used, and the model is limited to that context.
    fn scaling(&self, positions: usize) -> Result<(Scaling, usize), DecoderConfigError> {
        if let Some(factors) = self.factors("rope_freqs.weight")? {
            return Ok((Scaling::Each { factors, magnitude: 1.0 }, positions));
        }
        if let Some(factors) = self.factors("rope_factors_short.weight")? {
            let magnitude = self.number("rope.scaling.attn_factor")?.unwrap_or(1.0) as f32;
            let original = self.size("rope.scaling.original_context_length")?;
            return Ok((Scaling::Each { factors, magnitude }, positions.min(original)));
        }
        if self.number("rope.scale_linear")?.is_some_and(|factor| factor != 1.0) {
            let key = self.key("rope.scale_linear");
            return Err(DecoderConfigError::unsupported(&key, "present", "rope.scaling.factor"));
        }
        let key = self.key("rope.scaling.type");
        let scaling = match self.metadata.text(&key) {
            None | Some("none") => Scaling::None,
            Some("linear") => Scaling::Linear { factor: self.required_number("rope.scaling.factor")? },
            Some(other) => {
                return Err(DecoderConfigError::unsupported(&key, other, "none, linear or factor tensors"));
            }
        };
        Ok((scaling, positions))
    }

    fn factors(&self, tensor: &str) -> Result<Option<Vec<f32>>, DecoderConfigError> {
        let wrong = |_| DecoderConfigError::wrong_type(tensor, "a tensor of numbers");
        self.file.tensor(tensor).map(|view| view.to_f32().map_err(wrong)).transpose()
    }
}
