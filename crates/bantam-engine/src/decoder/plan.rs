//! Which tensors of a file make up which linear layer.

use super::config::{Architecture, DecoderConfig};

/// How a file names its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// As llama.cpp does: `blk.0.attn_q.weight`.
    Gguf,
    /// As transformers does: `model.layers.0.self_attn.q_proj.weight`.
    Transformers,
}

/// What a layer is made of, but for its norms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Queries, keys and values in one product.
    Qkv,
    /// What follows attention.
    Output,
    /// Gate and up in one product.
    GateUp,
    /// What follows the gate.
    Down,
}

impl Part {
    /// All, in the order in which they run.
    pub(super) const ALL: [Self; 4] = [Self::Qkv, Self::Output, Self::GateUp, Self::Down];
}

/// A norm of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Norm {
    Attention,
    Queries,
    Keys,
    AfterAttention,
    FeedForward,
    AfterFeedForward,
}

/// Rows of a linear layer that are one tensor of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Its name without `.weight`.
    pub(super) tensor: String,
    /// Its rows.
    pub(super) outputs: usize,
    /// Size of the heads, and how much of it is rotated, where the file has the two numbers of a pair side by
    /// side; the products here have them in halves.
    pub(super) interleaved: Option<(usize, usize)>,
}

impl Piece {
    /// Returns the row of the tensor that is row `output` here.
    pub(super) fn row(&self, output: usize) -> usize {
        let Some((size, rotated)) = self.interleaved else { return output };
        let (head, within) = (output / size, output % size);
        if within >= rotated {
            return output;
        }
        let half = rotated / 2;
        head * size + 2 * (within % half) + within / half
    }
}

/// A linear layer as it lies in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Its outputs, tensor after tensor.
    pub(super) pieces: Vec<Piece>,
    pub(super) inputs: usize,
    pub(super) has_bias: bool,
}

impl Plan {
    pub(super) fn outputs(&self) -> usize {
        self.pieces.iter().map(|piece| piece.outputs).sum()
    }

    /// Returns a name to tell it by, that of its first tensor.
    pub(super) fn name(&self) -> &str {
        self.pieces.first().map_or("", |piece| &piece.tensor)
    }
}

impl Naming {
    /// Returns the layer's linear layer `part`.
    pub(super) fn plan(self, config: &DecoderConfig, layer: usize, part: Part) -> Plan {
        let (queries, keys, wide) = (config.query_width(), config.kv_width(), config.intermediate);
        // One tensor that holds several, or each on its own.
        let (fused, each): (_, &[(&str, &str, usize)]) = match part {
            Part::Qkv => (
                Some(("attn_qkv", "self_attn.qkv_proj")),
                &[
                    ("attn_q", "self_attn.q_proj", queries),
                    ("attn_k", "self_attn.k_proj", keys),
                    ("attn_v", "self_attn.v_proj", keys),
                ],
            ),
            Part::Output => (None, &[("attn_output", "self_attn.o_proj", config.hidden)]),
            Part::GateUp => (
                Some(("ffn_up", "mlp.gate_up_proj")),
                &[("ffn_gate", "mlp.gate_proj", wide), ("ffn_up", "mlp.up_proj", wide)],
            ),
            Part::Down => (None, &[("ffn_down", "mlp.down_proj", config.hidden)]),
        };
        let rotated = 2 * config.rope.frequencies.len();
        let is_interleaved = self == Self::Gguf && config.architecture == Architecture::Llama;
        let pieces = match fused.filter(|_| config.is_fused()) {
            Some((gguf, transformers)) => vec![Piece {
                tensor: self.tensor(layer, gguf, transformers),
                outputs: each.iter().map(|(_, _, outputs)| outputs).sum(),
                interleaved: None,
            }],
            None => each
                .iter()
                .map(|(gguf, transformers, outputs)| Piece {
                    tensor: self.tensor(layer, gguf, transformers),
                    outputs: *outputs,
                    interleaved: (is_interleaved && matches!(*gguf, "attn_q" | "attn_k"))
                        .then_some((config.head_size, rotated)),
                })
                .collect(),
        };
        Plan { pieces, inputs: self.inputs(config, part), has_bias: has_bias(config, part) }
    }

    fn inputs(self, config: &DecoderConfig, part: Part) -> usize {
        match part {
            Part::Qkv | Part::GateUp => config.hidden,
            Part::Output => config.query_width(),
            Part::Down => config.intermediate,
        }
    }

    /// Returns the last layer, which gives the logits.
    pub(super) fn head(self, config: &DecoderConfig) -> Plan {
        let tensor = match (self, config.is_tied) {
            (_, true) => self.embeddings(),
            (Self::Gguf, false) => "output",
            (Self::Transformers, false) => "lm_head",
        };
        let piece = Piece { tensor: tensor.to_owned(), outputs: config.vocabulary, interleaved: None };
        Plan { pieces: vec![piece], inputs: config.hidden, has_bias: false }
    }

    /// Returns the name of the embeddings, without `.weight`.
    pub(super) fn embeddings(self) -> &'static str {
        match self {
            Self::Gguf => "token_embd",
            Self::Transformers => "model.embed_tokens",
        }
    }

    /// Returns the name of the norm before the last layer, without `.weight`.
    pub(super) fn last_norm(self) -> &'static str {
        match self {
            Self::Gguf => "output_norm",
            Self::Transformers => "model.norm",
        }
    }

    /// Returns the name of a layer's norm, without `.weight`.
    pub(super) fn norm(self, config: &DecoderConfig, layer: usize, norm: Norm) -> String {
        let (gguf, transformers) = match norm {
            Norm::Attention => ("attn_norm", "input_layernorm"),
            Norm::Queries => ("attn_q_norm", "self_attn.q_norm"),
            Norm::Keys => ("attn_k_norm", "self_attn.k_norm"),
            Norm::AfterAttention => ("post_attention_norm", "post_attention_layernorm"),
            // Without norms after the parts, transformers names the one between them by the part before it.
            Norm::FeedForward if config.has_post_norms() => ("ffn_norm", "pre_feedforward_layernorm"),
            Norm::FeedForward => ("ffn_norm", "post_attention_layernorm"),
            Norm::AfterFeedForward => ("post_ffw_norm", "post_feedforward_layernorm"),
        };
        self.tensor(layer, gguf, transformers)
    }

    fn tensor(self, layer: usize, gguf: &str, transformers: &str) -> String {
        match self {
            Self::Gguf => format!("blk.{layer}.{gguf}"),
            Self::Transformers => format!("model.layers.{layer}.{transformers}"),
        }
    }
}

fn has_bias(config: &DecoderConfig, part: Part) -> bool {
    match part {
        Part::Qkv => config.biases.qkv,
        Part::Output => config.biases.output,
        Part::GateUp | Part::Down => config.biases.feed_forward,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_side_by_side_become_halves() {
        let piece = |rotated| Piece { tensor: String::new(), outputs: 16, interleaved: Some((8, rotated)) };
        let rows: Vec<usize> = (0..16).map(|output| piece(8).row(output)).collect();
        assert_eq!(rows, [0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15]);
        let rows: Vec<usize> = (0..8).map(|output| piece(4).row(output)).collect();
        assert_eq!(rows, [0, 2, 1, 3, 4, 5, 6, 7]);
    }
}
