//! Encoder configurations, from `config.json`.

mod modernbert;

use serde::Deserialize;
use serde::de::IgnoredAny;

pub use modernbert::ModernBertConfig;

/// Upper limits of a configuration: far above any real encoder, far below what would overflow.
const LIMITS: [(&str, usize); 7] = [
    ("vocab_size", 1 << 22),
    ("hidden_size", 1 << 13),
    ("num_hidden_layers", 256),
    ("num_attention_heads", 256),
    ("intermediate_size", bantam_kernels::INPUTS_MAX),
    ("max_position_embeddings", 1 << 15),
    ("type_vocab_size", 16),
];

/// An encoder's dimensions and options.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderConfig {
    /// Number of tokens in the vocabulary.
    pub vocabulary: usize,
    /// Size of a token's hidden state, and of an embedding.
    pub hidden: usize,
    /// Number of layers.
    pub layers: usize,
    /// Number of attention heads; a divisor of `hidden`.
    pub heads: usize,
    /// Inner width of a layer's feed-forward part.
    pub intermediate: usize,
    /// Longest sequence, in tokens.
    pub positions: usize,
    /// Number of token types; 0 if the model has none and reads a pair as one text.
    pub token_types: usize,
    /// What norms add to the variance.
    pub norm_epsilon: f32,
    /// The architecture.
    pub architecture: Architecture,
}

/// An encoder's architecture.
#[derive(Clone, Debug, PartialEq)]
pub enum Architecture {
    /// Learned positions, post-norm.
    Bert,
    /// Rotary positions, pre-norm, windows.
    ModernBert(ModernBertConfig),
}

/// Why a configuration is not supported.
#[derive(Debug, thiserror::Error)]
pub enum EncoderConfigError {
    /// The file is not JSON or lacks a field.
    #[error("parse the configuration")]
    Parse(#[source] serde_json::Error),
    /// The architecture is not supported.
    #[error("the architecture `{found}` is not supported; supported are `bert` and `modernbert`")]
    Architecture {
        /// The value of `model_type`.
        found: Box<str>,
    },
    /// The model needs an unsupported variant.
    #[error("`{field}` is {found}, which is not supported (expected {expected})")]
    Unsupported {
        /// The field.
        field: &'static str,
        /// Its value.
        found: Box<str>,
        /// The supported values.
        expected: &'static str,
    },
    /// A size is 0 or too large.
    #[error("`{field}` is {found}; it must be 1 to {at_most}")]
    Size {
        /// The field.
        field: &'static str,
        /// Its value.
        found: usize,
        /// The limit.
        at_most: usize,
    },
    /// The heads do not divide the hidden size.
    #[error("{heads} heads do not divide the hidden size {hidden}")]
    Heads {
        /// Number of heads.
        heads: usize,
        /// The hidden size.
        hidden: usize,
    },
    /// The norm's epsilon is out of range.
    #[error("`{field}` is {found}; it must be from 0 to 0.1")]
    Epsilon {
        /// The field.
        field: &'static str,
        /// Its value.
        found: f64,
    },
    /// `layer_types` has the wrong length.
    #[error("`layer_types` lists {found} layers, but the model has {layers}")]
    LayerTypes {
        /// Number of listed layers.
        found: usize,
        /// Number of layers.
        layers: usize,
    },
    /// The base of a rotation is out of range.
    #[error("the base of a rotation is {found}; it must be from 1 to 1e12")]
    RopeBase {
        /// Its value.
        found: f64,
    },
}

/// The fields that affect inference; the others describe the training.
#[derive(Deserialize)]
struct BertJson {
    #[serde(default)]
    hidden_act: Option<String>,
    #[serde(default)]
    position_embedding_type: Option<String>,
    #[serde(default)]
    is_decoder: bool,
    #[serde(default)]
    add_cross_attention: bool,
    #[serde(default)]
    quantization_config: Option<IgnoredAny>,
    #[serde(default)]
    embedding_size: Option<usize>,
    #[serde(default = "layer_norm_eps")]
    layer_norm_eps: f64,
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    max_position_embeddings: usize,
    type_vocab_size: usize,
}

/// transformers' default.
fn layer_norm_eps() -> f64 {
    1e-12
}

impl EncoderConfig {
    /// Reads a `config.json`.
    pub fn from_json(bytes: &[u8]) -> Result<Self, EncoderConfigError> {
        // The architecture first: another one lacks these fields, and its name is the more useful error.
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(EncoderConfigError::Parse)?;
        let architecture = value.get("model_type").and_then(serde_json::Value::as_str);
        match architecture {
            Some("bert") => read_bert(bytes),
            Some("modernbert") => modernbert::read(bytes),
            other => Err(EncoderConfigError::Architecture { found: other.unwrap_or("unnamed").into() }),
        }
    }
}

fn read_bert(bytes: &[u8]) -> Result<EncoderConfig, EncoderConfigError> {
    let json: BertJson = serde_json::from_slice(bytes).map_err(EncoderConfigError::Parse)?;
    json.check_kind()?;
    check_sizes([
        json.vocab_size,
        json.hidden_size,
        json.num_hidden_layers,
        json.num_attention_heads,
        json.intermediate_size,
        json.max_position_embeddings,
        json.type_vocab_size,
    ])?;
    check_heads(json.num_attention_heads, json.hidden_size)?;
    check_epsilon("layer_norm_eps", json.layer_norm_eps)?;
    Ok(EncoderConfig {
        vocabulary: json.vocab_size,
        hidden: json.hidden_size,
        layers: json.num_hidden_layers,
        heads: json.num_attention_heads,
        intermediate: json.intermediate_size,
        positions: json.max_position_embeddings,
        token_types: json.type_vocab_size,
        norm_epsilon: json.layer_norm_eps as f32,
        architecture: Architecture::Bert,
    })
}

impl BertJson {
    fn check_kind(&self) -> Result<(), EncoderConfigError> {
        expect_value("hidden_act", self.hidden_act.as_deref(), "gelu")?;
        expect_value("position_embedding_type", self.position_embedding_type.as_deref(), "absolute")?;
        expect_value("is_decoder", self.is_decoder.then_some("true"), "false")?;
        expect_value("add_cross_attention", self.add_cross_attention.then_some("true"), "false")?;
        expect_value("quantization_config", self.quantization_config.map(|_| "present"), "no quantization")?;
        let is_factored = self.embedding_size.is_some_and(|size| size != self.hidden_size);
        expect_value("embedding_size", is_factored.then_some("different"), "hidden_size")
    }
}

/// Checks that a field, if present, has the expected value.
fn expect_value(
    field: &'static str,
    found: Option<&str>,
    expected: &'static str,
) -> Result<(), EncoderConfigError> {
    let found = found.unwrap_or(expected);
    if found == expected {
        return Ok(());
    }
    Err(EncoderConfigError::Unsupported { field, found: found.into(), expected })
}

/// Checks sizes in the order of [`LIMITS`].
fn check_sizes(found: [usize; LIMITS.len()]) -> Result<(), EncoderConfigError> {
    for ((field, at_most), found) in LIMITS.into_iter().zip(found) {
        if found == 0 || found > at_most {
            return Err(EncoderConfigError::Size { field, found, at_most });
        }
    }
    Ok(())
}

fn check_heads(heads: usize, hidden: usize) -> Result<(), EncoderConfigError> {
    if hidden.is_multiple_of(heads) { Ok(()) } else { Err(EncoderConfigError::Heads { heads, hidden }) }
}

fn check_epsilon(field: &'static str, found: f64) -> Result<(), EncoderConfigError> {
    if (0.0..=0.1).contains(&found) { Ok(()) } else { Err(EncoderConfigError::Epsilon { field, found }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"model_type":"bert","vocab_size":30,"hidden_size":32,"num_hidden_layers":2,
        "num_attention_heads":4,"intermediate_size":64,"max_position_embeddings":16,"type_vocab_size":2,
        "hidden_act":"gelu","layer_norm_eps":1e-12,"hidden_dropout_prob":0.1}"#;

    fn error(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from));
        EncoderConfig::from_json(GOOD.replace(from, to).as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_bert_config_is_read() {
        let config = EncoderConfig::from_json(GOOD.as_bytes()).unwrap();
        assert_eq!((config.vocabulary, config.hidden, config.layers, config.heads), (30, 32, 2, 4));
        assert_eq!((config.intermediate, config.positions, config.token_types), (64, 16, 2));
    }

    #[test]
    fn unsupported_architectures_are_refused_by_name() {
        let runs = "is not supported; supported are `bert` and `modernbert`";
        assert_eq!(error("bert", "roberta"), format!("the architecture `roberta` {runs}"));
        assert_eq!(error("model_type", "kind"), format!("the architecture `unnamed` {runs}"));
    }

    #[test]
    fn unsupported_variants_are_refused_by_field() {
        assert_eq!(
            error("\"gelu\"", "\"relu\""),
            "`hidden_act` is relu, which is not supported (expected gelu)"
        );
        let with = |field: &str| error("{", &format!("{{{field},"));
        assert_eq!(
            with(r#""is_decoder":true"#),
            "`is_decoder` is true, which is not supported (expected false)"
        );
        assert!(with(r#""position_embedding_type":"relative_key""#).contains("expected absolute"));
        assert!(with(r#""quantization_config":{}"#).contains("expected no quantization"));
        assert!(with(r#""embedding_size":16"#).contains("`embedding_size`"));
    }

    #[test]
    fn sizes_out_of_range_are_refused_by_field() {
        assert_eq!(error(":64", ":0"), "`intermediate_size` is 0; it must be 1 to 32768");
        assert!(error(":30,", ":99999999,").starts_with("`vocab_size` is 99999999"));
        assert_eq!(error("heads\":4", "heads\":5"), "5 heads do not divide the hidden size 32");
        assert!(error("1e-12", "7").starts_with("`layer_norm_eps` is 7"));
        assert_eq!(error("\"vocab_size\":30,", ""), "parse the configuration");
        assert_eq!(error(":30", ":-1"), "parse the configuration");
    }
}
