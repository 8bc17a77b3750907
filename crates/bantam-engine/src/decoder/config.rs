//! Decoder configurations, from `config.json` or the metadata of a GGUF file.

mod error;
mod gguf;
mod json;
mod rope;

use bantam_kernels::{KvPrecision, KvShape};

use super::DecoderPrecision;
pub use error::DecoderConfigError;
pub use rope::Rope;

/// Upper limits of a configuration: far above any real decoder, far below what would overflow.
const LIMITS: [(&str, usize); 7] = [
    ("vocabulary", 1 << 22),
    ("hidden size", 1 << 14),
    ("layers", 512),
    ("attention heads", 512),
    ("head size", 512),
    ("feed-forward size", 1 << 17),
    ("positions", 1 << 24),
];

/// The supported decoder families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Llama and models with the same structure: SmolLM, Mistral.
    Llama,
    /// Biases on queries, keys and values.
    Qwen2,
    /// Norms on queries and keys.
    Qwen3,
    /// Norms before and after each part, and windows in most layers.
    Gemma3,
    /// Queries, keys and values in one tensor.
    Phi3,
}

impl Architecture {
    /// Returns the name used in GGUF files and their keys.
    pub fn name(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Gemma3 => "gemma3",
            Self::Phi3 => "phi3",
        }
    }
}

/// Which linear layers have a bias.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Biases {
    /// Queries, keys and values.
    pub qkv: bool,
    /// The output projection of attention.
    pub output: bool,
    /// Gate, up and down.
    pub feed_forward: bool,
}

/// A decoder's dimensions and options.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderConfig {
    /// Its family.
    pub architecture: Architecture,
    /// Number of tokens in the vocabulary.
    pub vocabulary: usize,
    /// Size of a token's hidden state, and of an embedding.
    pub hidden: usize,
    /// Number of layers.
    pub layers: usize,
    /// Number of query heads.
    pub heads: usize,
    /// Number of key and value heads; a divisor of `heads`.
    pub kv_heads: usize,
    /// Elements per head.
    pub head_size: usize,
    /// Inner width of a layer's feed-forward part.
    pub intermediate: usize,
    /// Longest sequence, in tokens.
    pub positions: usize,
    /// What norms add to the mean square.
    pub norm_epsilon: f32,
    /// Factor for the products of queries and keys.
    pub attention_scale: f32,
    /// If set, scores `x` become `c tanh(x / c)`.
    pub attention_softcap: Option<f32>,
    /// If set, logits `x` become `c tanh(x / c)`.
    pub logit_softcap: Option<f32>,
    /// Factor for embeddings.
    pub embedding_scale: f32,
    /// Whether the output head shares the embeddings' weights.
    pub is_tied: bool,
    /// The rotation of queries and keys.
    pub rope: Rope,
    /// A separate rotation for layers with a window.
    pub local_rope: Option<Rope>,
    /// For each layer, how many positions a token sees, including its own; `None` for all before it.
    pub windows: Vec<Option<usize>>,
    /// Which linear layers have a bias.
    pub biases: Biases,
}

impl DecoderConfig {
    /// Returns the number of elements in one token's queries.
    pub fn query_width(&self) -> usize {
        self.heads * self.head_size
    }

    /// Returns the number of elements in one token's keys, and in its values.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_size
    }

    /// Returns the shape of the KV cache for a decoder of this precision.
    pub(super) fn kv_shape(&self, precision: DecoderPrecision) -> KvShape {
        let precision = match precision {
            DecoderPrecision::F32 => KvPrecision::F32,
            DecoderPrecision::Quantised => KvPrecision::F16,
        };
        let (layers, kv_heads, head_size) = (self.layers, self.kv_heads, self.head_size);
        KvShape { layers, kv_heads, head_size, precision }
    }

    /// Whether gates use GELU (tanh approximation) instead of SiLU.
    pub(super) fn has_gelu(&self) -> bool {
        self.architecture == Architecture::Gemma3
    }

    /// Whether each head's queries and keys are normalised.
    pub(super) fn has_head_norms(&self) -> bool {
        matches!(self.architecture, Architecture::Qwen3 | Architecture::Gemma3)
    }

    /// Whether the output of each part is normalised before it is added.
    pub(super) fn has_post_norms(&self) -> bool {
        self.architecture == Architecture::Gemma3
    }

    /// Whether queries, keys and values are one tensor in the file, as are gate and up.
    pub(super) fn is_fused(&self) -> bool {
        self.architecture == Architecture::Phi3
    }

    /// Refuses impossible sizes and values out of range.
    fn check(self) -> Result<Self, DecoderConfigError> {
        let found = [
            self.vocabulary,
            self.hidden,
            self.layers,
            self.heads,
            self.head_size,
            self.intermediate,
            self.positions,
        ];
        for ((what, at_most), found) in LIMITS.into_iter().zip(found) {
            if found == 0 || found > at_most {
                return Err(DecoderConfigError::Size { what, found, at_most });
            }
        }
        if self.kv_heads == 0 || !self.heads.is_multiple_of(self.kv_heads) {
            let (heads, kv_heads) = (self.heads, self.kv_heads);
            return Err(DecoderConfigError::KvHeads { heads, kv_heads });
        }
        let is_scale = |number: f32| number.is_finite() && number > 0.0;
        let positive = [
            ("attention scale", Some(self.attention_scale)),
            ("attention softcap", self.attention_softcap),
            ("logit softcap", self.logit_softcap),
            ("embedding scale", Some(self.embedding_scale)),
            ("norm epsilon", Some(self.norm_epsilon)),
        ];
        for (what, number) in positive {
            if let Some(found) = number.filter(|number| !is_scale(*number)) {
                return Err(DecoderConfigError::Number { what, found });
            }
        }
        if self.norm_epsilon > 0.1 {
            return Err(DecoderConfigError::Number { what: "norm epsilon", found: self.norm_epsilon });
        }
        Ok(self)
    }
}

/// Normalises a window for [`DecoderConfig::windows`]: one that covers all positions becomes `None`.
fn window(tokens: usize, positions: usize) -> Option<usize> {
    (tokens < positions).then_some(tokens)
}
