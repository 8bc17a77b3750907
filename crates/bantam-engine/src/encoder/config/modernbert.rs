//! ModernBERT's configuration, from `config.json` of transformers 4 or 5.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{
    Architecture, EncoderConfig, EncoderConfigError, check_epsilon, check_heads, check_sizes, expect_value,
};

/// Largest table of rotations, in elements (64 MiB): a configuration alone must not cost more memory.
const ROTATIONS_MAX: usize = 1 << 24;
/// The allowed range of a rotation's base.
const BASES: std::ops::RangeInclusive<f64> = 1.0..=1e12;
/// Largest window in tokens: larger than any sequence.
const WINDOW_MAX: usize = 1 << 20;

const GLOBAL: &str = "full_attention";
const LOCAL: &str = "sliding_attention";

/// ModernBERT's options: global layers that see everything and local layers that see nearby tokens, rotary positions,
/// pre-norm, a gated feed-forward part.
#[derive(Clone, Debug, PartialEq)]
pub struct ModernBertConfig {
    /// For each layer, whether its tokens see the whole sequence.
    pub is_global: Vec<bool>,
    /// How far tokens of local layers see, to either side.
    pub local_reach: usize,
    /// The base of rotations in global layers.
    pub global_base: f64,
    /// The base of rotations in local layers.
    pub local_base: f64,
    /// Whether norms have a bias.
    pub norm_bias: bool,
    /// Whether the linear layers of attention have a bias.
    pub attention_bias: bool,
    /// Whether the linear layers of the feed-forward part have a bias.
    pub mlp_bias: bool,
}

/// The fields that affect inference; the others describe the training or the layers on top.
#[derive(Deserialize)]
struct ModernBertJson {
    #[serde(default)]
    hidden_activation: Option<String>,
    #[serde(default)]
    is_decoder: bool,
    #[serde(default)]
    quantization_config: Option<IgnoredAny>,
    #[serde(default)]
    head_dim: Option<usize>,
    #[serde(default)]
    rope_scaling: Option<IgnoredAny>,
    #[serde(default)]
    norm_bias: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default = "norm_eps")]
    norm_eps: f64,
    #[serde(default = "local_attention")]
    local_attention: usize,
    #[serde(default = "global_attn_every_n_layers")]
    global_attn_every_n_layers: usize,
    #[serde(default)]
    layer_types: Option<Vec<String>>,
    #[serde(default = "global_rope_theta")]
    global_rope_theta: f64,
    /// `null` means the same as the global base.
    #[serde(default = "local_rope_theta")]
    local_rope_theta: Option<f64>,
    #[serde(default)]
    rope_parameters: Option<RopesJson>,
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    max_position_embeddings: usize,
}

#[derive(Deserialize)]
struct RopesJson {
    #[serde(default)]
    full_attention: Option<RopeJson>,
    #[serde(default)]
    sliding_attention: Option<RopeJson>,
    /// One base for all layers, which other architectures use.
    #[serde(default)]
    rope_theta: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct RopeJson {
    #[serde(default)]
    rope_type: Option<String>,
    #[serde(default)]
    rope_theta: Option<f64>,
}

// transformers' defaults.

fn norm_eps() -> f64 {
    1e-5
}

fn local_attention() -> usize {
    128
}

fn global_attn_every_n_layers() -> usize {
    3
}

fn global_rope_theta() -> f64 {
    160_000.0
}

fn local_rope_theta() -> Option<f64> {
    Some(10_000.0)
}

/// Reads a `config.json` of this architecture.
pub(super) fn read(bytes: &[u8]) -> Result<EncoderConfig, EncoderConfigError> {
    let json: ModernBertJson = serde_json::from_slice(bytes).map_err(EncoderConfigError::Parse)?;
    json.check()?;
    let (global_base, local_base) = json.bases()?;
    let modern = ModernBertConfig {
        is_global: json.is_global()?,
        // The window includes both sides, with the token in the middle.
        local_reach: json.local_attention / 2,
        global_base,
        local_base,
        norm_bias: json.norm_bias,
        attention_bias: json.attention_bias,
        mlp_bias: json.mlp_bias,
    };
    Ok(EncoderConfig {
        vocabulary: json.vocab_size,
        hidden: json.hidden_size,
        layers: json.num_hidden_layers,
        heads: json.num_attention_heads,
        intermediate: json.intermediate_size,
        positions: json.max_position_embeddings,
        token_types: 0,
        norm_epsilon: json.norm_eps as f32,
        architecture: Architecture::ModernBert(modern),
    })
}

impl ModernBertJson {
    fn check(&self) -> Result<(), EncoderConfigError> {
        expect_value("hidden_activation", self.hidden_activation.as_deref(), "gelu")?;
        expect_value("is_decoder", self.is_decoder.then_some("true"), "false")?;
        expect_value("quantization_config", self.quantization_config.map(|_| "present"), "no quantization")?;
        expect_value("rope_scaling", self.rope_scaling.map(|_| "present"), "no scaling")?;
        check_sizes([
            self.vocab_size,
            self.hidden_size,
            self.num_hidden_layers,
            self.num_attention_heads,
            self.intermediate_size,
            self.max_position_embeddings,
            1,
        ])?;
        check_heads(self.num_attention_heads, self.hidden_size)?;
        check_epsilon("norm_eps", self.norm_eps)?;
        let size = self.hidden_size / self.num_attention_heads;
        expect_value(
            "head_dim",
            self.head_dim.filter(|found| *found != size).map(|_| "different"),
            "hidden_size / heads",
        )?;
        expect_value("hidden_size / heads", (size % 2 == 1).then_some("odd"), "an even number")?;
        let sized = |field, found, at_most| match found {
            found if found == 0 || found > at_most => Err(EncoderConfigError::Size { field, found, at_most }),
            _ => Ok(()),
        };
        sized("max_position_embeddings", self.max_position_embeddings, ROTATIONS_MAX / size)?;
        sized("local_attention", self.local_attention, WINDOW_MAX)?;
        sized("global_attn_every_n_layers", self.global_attn_every_n_layers, usize::MAX)
    }

    /// Returns which layers are global. `layer_types` takes precedence; the interval is the older format.
    fn is_global(&self) -> Result<Vec<bool>, EncoderConfigError> {
        let layers = self.num_hidden_layers;
        let Some(types) = &self.layer_types else {
            return Ok((0..layers)
                .map(|layer| layer.is_multiple_of(self.global_attn_every_n_layers))
                .collect());
        };
        if types.len() != layers {
            return Err(EncoderConfigError::LayerTypes { found: types.len(), layers });
        }
        let is_global = |name: &String| match name.as_str() {
            GLOBAL => Ok(true),
            LOCAL => Ok(false),
            other => Err(EncoderConfigError::Unsupported {
                field: "layer_types",
                found: other.into(),
                expected: "full_attention or sliding_attention",
            }),
        };
        types.iter().map(is_global).collect()
    }

    /// Returns the bases of rotations in global and in local layers.
    fn bases(&self) -> Result<(f64, f64), EncoderConfigError> {
        let (mut global, mut local) =
            (self.global_rope_theta, self.local_rope_theta.unwrap_or(self.global_rope_theta));
        if let Some(ropes) = &self.rope_parameters {
            let expected = "full_attention and sliding_attention";
            expect_value("rope_parameters", ropes.rope_theta.map(|_| "one for all layers"), expected)?;
            for (rope, base) in [(&ropes.full_attention, &mut global), (&ropes.sliding_attention, &mut local)]
            {
                let Some(rope) = rope else { continue };
                expect_value("rope_type", rope.rope_type.as_deref(), "default")?;
                *base = rope.rope_theta.unwrap_or(*base);
            }
        }
        for found in [global, local] {
            if !BASES.contains(&found) {
                return Err(EncoderConfigError::RopeBase { found });
            }
        }
        Ok((global, local))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = r#"{"model_type":"modernbert","vocab_size":30,"hidden_size":32,"num_hidden_layers":4,
        "num_attention_heads":4,"intermediate_size":64,"max_position_embeddings":16,
        "global_attn_every_n_layers":2,"global_rope_theta":160000.0,"local_rope_theta":500.0,
        "local_attention":9,"norm_eps":1e-5,"norm_bias":false,"mlp_bias":true,
        "hidden_activation":"gelu","position_embedding_type":"absolute"}"#;
    const NEW: &str = r#"{"model_type":"modernbert","vocab_size":30,"hidden_size":32,"num_hidden_layers":4,
        "num_attention_heads":4,"intermediate_size":64,"max_position_embeddings":16,
        "layer_types":["full_attention","sliding_attention","full_attention","sliding_attention"],
        "rope_parameters":{"sliding_attention":{"rope_type":"default","rope_theta":500.0},
        "full_attention":{"rope_type":"default","rope_theta":160000.0}},
        "local_attention":8,"mlp_bias":true}"#;

    fn read(json: &str) -> ModernBertConfig {
        let config = EncoderConfig::from_json(json.as_bytes()).unwrap();
        assert_eq!((config.positions, config.token_types, config.norm_epsilon), (16, 0, 1e-5));
        match config.architecture {
            Architecture::ModernBert(modern) => modern,
            Architecture::Bert => panic!("a ModernBERT"),
        }
    }

    fn error(json: &str, from: &str, to: &str) -> String {
        assert!(json.contains(from), "{from}");
        EncoderConfig::from_json(json.replace(from, to).as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn both_formats_are_equivalent() {
        let old = read(OLD);
        assert_eq!(old, read(NEW));
        assert_eq!((old.is_global, old.local_reach), (vec![true, false, true, false], 4));
        assert_eq!((old.global_base, old.local_base, old.mlp_bias), (160_000.0, 500.0, true));
    }

    #[test]
    fn defaults_match_transformers() {
        let json = r#"{"model_type":"modernbert","vocab_size":30,"hidden_size":32,"num_hidden_layers":4,
            "num_attention_heads":4,"intermediate_size":64,"max_position_embeddings":16}"#;
        let expected = ModernBertConfig {
            is_global: vec![true, false, false, true],
            local_reach: 64,
            global_base: 160_000.0,
            local_base: 10_000.0,
            norm_bias: false,
            attention_bias: false,
            mlp_bias: false,
        };
        assert_eq!(read(json), expected);
        let without = OLD.replace("\"local_rope_theta\":500.0", "\"local_rope_theta\":null");
        assert_eq!(read(&without).local_base, 160_000.0);
    }

    #[test]
    fn unsupported_variants_are_refused_by_field() {
        assert_eq!(
            error(OLD, "\"gelu\"", "\"silu\""),
            "`hidden_activation` is silu, which is not supported (expected gelu)"
        );
        assert_eq!(
            error(NEW, "\"default\"", "\"yarn\""),
            "`rope_type` is yarn, which is not supported (expected default)"
        );
        let with = |field: &str| error(NEW, "{\"model", &format!("{{{field},\"model"));
        assert!(with(r#""rope_scaling":{"type":"linear"}"#).starts_with("`rope_scaling` is present"));
        assert!(with(r#""head_dim":16"#).starts_with("`head_dim` is different"));
        assert!(with(r#""is_decoder":true"#).starts_with("`is_decoder` is true"));
        assert!(with(r#""quantization_config":{}"#).starts_with("`quantization_config` is present"));
        let flat = error(NEW, "\"sliding_attention\":{", "\"rope_theta\":1,\"other\":{");
        assert!(flat.starts_with("`rope_parameters` is one for all layers"), "{flat}");
        let other = error(NEW, "[\"full_attention\"", "[\"chunked_attention\"");
        assert!(other.starts_with("`layer_types` is chunked_attention"), "{other}");
        let few = error(NEW, "[\"full_attention\",", "[");
        assert_eq!(few, "`layer_types` lists 3 layers, but the model has 4");
    }

    #[test]
    fn sizes_out_of_range_are_refused_by_field() {
        let cases = [
            ("\"local_attention\":9", "\"local_attention\":0", "`local_attention` is 0"),
            ("n_layers\":2", "n_layers\":0", "`global_attn_every_n_layers` is 0"),
            ("embeddings\":16", "embeddings\":32769", "`max_position_embeddings` is 32769"),
            (
                "heads\":4",
                "heads\":32",
                "`hidden_size / heads` is odd, which is not supported (expected an even number)",
            ),
            ("heads\":4", "heads\":5", "5 heads do not divide the hidden size 32"),
            ("theta\":500.0", "theta\":0.5", "the base of a rotation is 0.5"),
            ("eps\":1e-5", "eps\":0.2", "`norm_eps` is 0.2"),
            ("\"vocab_size\":30,", "", "parse the configuration"),
        ];
        for (from, to, expected) in cases {
            let found = error(OLD, from, to);
            assert!(found.starts_with(expected), "{found}");
        }
        let wide =
            OLD.replace("\"hidden_size\":32", "\"hidden_size\":8192").replace("heads\":4", "heads\":1");
        let found = error(&wide, "embeddings\":16", "embeddings\":4096");
        assert_eq!(found, "`max_position_embeddings` is 4096; it must be 1 to 2048");
    }
}
