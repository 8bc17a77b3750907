//! Chooses the type in which each tensor is stored.
//!
//! The mixes are llama.cpp's (`llama_tensor_get_type` in `src/llama-quant.cpp`): 6 bits for the output head, and for
//! `attn_v` and `ffn_down` in the first and last eighth of the layers and in every third layer between.

use bantam_weights::Dtype;

/// A quantisation mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantisation {
    /// 8.5 bits per weight.
    Q8_0,
    /// About 5.7 bits per weight.
    Q5KM,
    /// About 4.9 bits per weight.
    Q4KM,
    /// 4.5 bits per weight.
    Q4_0,
}

impl Quantisation {
    /// Returns the name that GGUF tools print.
    pub fn name(self) -> &'static str {
        match self {
            Self::Q8_0 => "Q8_0",
            Self::Q5KM => "Q5_K_M",
            Self::Q4KM => "Q4_K_M",
            Self::Q4_0 => "Q4_0",
        }
    }

    /// Returns GGUF's number for the mix (`general.file_type`).
    pub(crate) fn file_type(self) -> u32 {
        match self {
            Self::Q8_0 => 7,
            Self::Q5KM => 17,
            Self::Q4KM => 15,
            Self::Q4_0 => 2,
        }
    }

    fn base_type(self) -> Dtype {
        match self {
            Self::Q8_0 => Dtype::Q8_0,
            Self::Q5KM => Dtype::Q5K,
            Self::Q4KM => Dtype::Q4K,
            Self::Q4_0 => Dtype::Q4_0,
        }
    }

    /// Returns the type of a tensor in a model with `layers` layers. `is_tied` says that the head shares the
    /// embeddings.
    pub(crate) fn dtype(self, name: &str, shape: &[usize], layers: usize, is_tied: bool) -> Dtype {
        let is_matrix = shape.len() == 2 && name.ends_with(".weight") && !name.contains("norm");
        if !is_matrix || name.starts_with("rope_") {
            return Dtype::F32;
        }
        let is_mixed = matches!(self, Self::Q5KM | Self::Q4KM);
        let is_head = name == "output.weight" || (is_tied && name == "token_embd.weight");
        let part = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
        let layer: Option<usize> = part.and_then(|(layer, _)| layer.parse().ok());
        let wanted = match (part.map(|(_, part)| part), layer) {
            _ if is_head && self != Self::Q8_0 => Dtype::Q6K,
            (Some("attn_v.weight" | "ffn_down.weight"), Some(layer))
                if is_mixed && has_more_bits(layer, layers) =>
            {
                Dtype::Q6K
            }
            (Some("attn_qkv.weight"), _) if self == Self::Q4KM => Dtype::Q5K,
            (Some("attn_qkv.weight"), _) if self == Self::Q5KM => Dtype::Q6K,
            _ => self.base_type(),
        };
        fitting(wanted, shape.last().copied().unwrap_or(1))
    }
}

/// Whether a layer matters more for quality: an eighth at each end, and every third layer between.
fn has_more_bits(layer: usize, layers: usize) -> bool {
    layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2
}

/// Returns the wanted type, or the next larger one whose block length divides a row.
fn fitting(wanted: Dtype, row: usize) -> Dtype {
    let fits = |dtype: &Dtype| row.is_multiple_of(dtype.block_len());
    [wanted, Dtype::Q8_0, Dtype::F16].into_iter().find(fits).unwrap_or(Dtype::F16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(quantisation: Quantisation, name: &str, expected: Dtype) {
        assert_eq!(quantisation.dtype(name, &[512, 512], 32, false), expected, "{name}");
    }

    #[test]
    fn mixes_match_llama_cpp() {
        use Quantisation::{Q4_0, Q4KM, Q5KM, Q8_0};
        check(Q4KM, "blk.0.attn_v.weight", Dtype::Q6K);
        check(Q4KM, "blk.4.attn_v.weight", Dtype::Q4K);
        check(Q4KM, "blk.6.ffn_down.weight", Dtype::Q6K);
        check(Q4KM, "blk.31.ffn_down.weight", Dtype::Q6K);
        check(Q4KM, "blk.0.attn_q.weight", Dtype::Q4K);
        check(Q4KM, "output.weight", Dtype::Q6K);
        check(Q4KM, "token_embd.weight", Dtype::Q4K);
        check(Q4KM, "blk.3.attn_qkv.weight", Dtype::Q5K);
        check(Q5KM, "blk.5.ffn_up.weight", Dtype::Q5K);
        check(Q4_0, "blk.0.attn_v.weight", Dtype::Q4_0);
        check(Q4_0, "output.weight", Dtype::Q6K);
        check(Q8_0, "output.weight", Dtype::Q8_0);
        for name in ["blk.0.attn_norm.weight", "rope_freqs.weight", "blk.0.attn_q.bias"] {
            check(Q4KM, name, Dtype::F32);
        }
        assert_eq!(Q4KM.dtype("token_embd.weight", &[9, 512], 32, true), Dtype::Q6K);
    }

    #[test]
    fn rows_of_partial_blocks_get_a_larger_type() {
        let of = |row| Quantisation::Q4KM.dtype("blk.9.attn_q.weight", &[8, row], 32, false);
        assert_eq!([256, 96, 20].map(of), [Dtype::Q4K, Dtype::Q8_0, Dtype::F16]);
    }
}
