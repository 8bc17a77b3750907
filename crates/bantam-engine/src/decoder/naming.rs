//! Maps linear layers to the tensors of a file.

use super::config::{Architecture, DecoderConfig};

/// The naming scheme of tensors in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// llama.cpp's: `blk.0.attn_q.weight`.
    Gguf,
    /// transformers': `model.layers.0.self_attn.q_proj.weight`.
    Transformers,
}

/// The linear layers of a transformer layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinearPart {
    /// Queries, keys and values in one product.
    Qkv,
    /// The output projection of attention.
    Output,
    /// Gate and up in one product.
    GateUp,
    /// The down projection after the gate.
    Down,
}

impl LinearPart {
    /// All parts, in execution order.
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

/// Rows of a linear layer that are one tensor in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TensorPiece {
    /// The tensor's name without `.weight`.
    pub(super) tensor: String,
    /// Number of rows.
    pub(super) outputs: usize,
    /// The head size and its rotated part, if the file stores rotation pairs side by side; the products here need
    /// them in halves.
    pub(super) interleaved: Option<(usize, usize)>,
}

impl TensorPiece {
    /// Returns the tensor's row for output `output`.
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

/// The tensors that make up a linear layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LinearSource {
    /// Its outputs, tensor by tensor.
    pub(super) pieces: Vec<TensorPiece>,
    pub(super) inputs: usize,
    pub(super) has_bias: bool,
}

impl LinearSource {
    pub(super) fn outputs(&self) -> usize {
        self.pieces.iter().map(|piece| piece.outputs).sum()
    }

    /// Returns an identifying name: that of its first tensor.
    pub(super) fn name(&self) -> &str {
        self.pieces.first().map_or("", |piece| &piece.tensor)
    }
}

impl Naming {
    /// Returns the source of the layer's linear layer `part`.
    pub(super) fn linear_source(
        self,
        config: &DecoderConfig,
        layer: usize,
        part: LinearPart,
    ) -> LinearSource {
        let (queries, keys, wide) = (config.query_width(), config.kv_width(), config.intermediate);
        // Either one fused tensor or separate ones.
        let (fused, each): (_, &[(&str, &str, usize)]) = match part {
            LinearPart::Qkv => (
                Some(("attn_qkv", "self_attn.qkv_proj")),
                &[
                    ("attn_q", "self_attn.q_proj", queries),
                    ("attn_k", "self_attn.k_proj", keys),
                    ("attn_v", "self_attn.v_proj", keys),
                ],
            ),
            LinearPart::Output => (None, &[("attn_output", "self_attn.o_proj", config.hidden)]),
            LinearPart::GateUp => (
                Some(("ffn_up", "mlp.gate_up_proj")),
                &[("ffn_gate", "mlp.gate_proj", wide), ("ffn_up", "mlp.up_proj", wide)],
            ),
            LinearPart::Down => (None, &[("ffn_down", "mlp.down_proj", config.hidden)]),
        };
        let rotated = 2 * config.rope.frequencies.len();
        let is_interleaved = self == Self::Gguf && config.architecture == Architecture::Llama;
        let pieces = match fused.filter(|_| config.is_fused()) {
            Some((gguf, transformers)) => vec![TensorPiece {
                tensor: self.tensor(layer, gguf, transformers),
                outputs: each.iter().map(|(_, _, outputs)| outputs).sum(),
                interleaved: None,
            }],
            None => each
                .iter()
                .map(|(gguf, transformers, outputs)| TensorPiece {
                    tensor: self.tensor(layer, gguf, transformers),
                    outputs: *outputs,
                    interleaved: (is_interleaved && matches!(*gguf, "attn_q" | "attn_k"))
                        .then_some((config.head_size, rotated)),
                })
                .collect(),
        };
        LinearSource { pieces, inputs: self.inputs(config, part), has_bias: has_bias(config, part) }
    }

    fn inputs(self, config: &DecoderConfig, part: LinearPart) -> usize {
        match part {
            LinearPart::Qkv | LinearPart::GateUp => config.hidden,
            LinearPart::Output => config.query_width(),
            LinearPart::Down => config.intermediate,
        }
    }

    /// Returns the output head, which computes the logits.
    pub(super) fn head(self, config: &DecoderConfig) -> LinearSource {
        let tensor = match (self, config.is_tied) {
            (_, true) => self.embeddings(),
            (Self::Gguf, false) => "output",
            (Self::Transformers, false) => "lm_head",
        };
        let piece = TensorPiece { tensor: tensor.to_owned(), outputs: config.vocabulary, interleaved: None };
        LinearSource { pieces: vec![piece], inputs: config.hidden, has_bias: false }
    }

    /// Returns the name of the embeddings, without `.weight`.
    pub(super) fn embeddings(self) -> &'static str {
        match self {
            Self::Gguf => "token_embd",
            Self::Transformers => "model.embed_tokens",
        }
    }

    /// Returns the name of the norm before the output head, without `.weight`.
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
            // Without post-norms, transformers names the norm between the parts after the part before it.
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

fn has_bias(config: &DecoderConfig, part: LinearPart) -> bool {
    match part {
        LinearPart::Qkv => config.biases.qkv,
        LinearPart::Output => config.biases.output,
        LinearPart::GateUp | LinearPart::Down => config.biases.feed_forward,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interleaved_pairs_become_halves() {
        let piece =
            |rotated| TensorPiece { tensor: String::new(), outputs: 16, interleaved: Some((8, rotated)) };
        let rows: Vec<usize> = (0..16).map(|output| piece(8).row(output)).collect();
        assert_eq!(rows, [0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15]);
        let rows: Vec<usize> = (0..8).map(|output| piece(4).row(output)).collect();
        assert_eq!(rows, [0, 2, 1, 3, 4, 5, 6, 7]);
    }
}
