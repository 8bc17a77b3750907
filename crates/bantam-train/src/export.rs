//! Exports trained weights in the formats that other programs read, and checks that they reproduce the trainer's
//! output.

mod merged;
mod read;
mod replay;
mod whole;

pub use merged::write_merged;
pub use read::{ReadAdapterError, ReadAdapterErrorKind, read_gguf_adapter};
pub use replay::{Replay, ReplayError, replay};
pub use whole::{whole_config, write_whole};

use std::path::{Path, PathBuf};

use bantam_engine::{Architecture, DecoderConfig};
use bantam_weights::{
    DequantiseError, Dtype, NewTensor, NewValue, OpenWeightsError, QuantiseError, WriteWeightsError,
    write_file, write_gguf, write_safetensors,
};

use crate::decoder::DecoderNetwork;
use crate::layout::Layout;

/// The modules' names in transformers and in GGUF files.
const MODULES: [(&str, &str); 7] = [
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// Why trained weights could not be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecoderExportError {
    /// The disk is full, or the folder is not writable.
    #[error("write the weights")]
    Write(#[from] WriteWeightsError),
    /// A file that accompanies the weights cannot be written.
    #[error("write {}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The base can no longer be read.
    #[error("open the base")]
    Base(#[from] OpenWeightsError),
    /// A tensor of the base cannot be dequantised.
    #[error("read a tensor of the base")]
    Dequantise(#[from] DequantiseError),
    /// A tensor of the base has a type that cannot be written.
    #[error("write a tensor in the base's type")]
    Quantise(#[from] QuantiseError),
    /// The export format does not fit what was trained.
    #[error("{what}")]
    Form {
        /// What does not fit.
        what: &'static str,
    },
}

impl DecoderExportError {
    /// Returns what to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Write(_) | Self::File { .. } => {
                "make room on the disk or name another folder; existing files are untouched"
            }
            Self::Base(_) | Self::Dequantise(_) => "the base has changed since training: restore it",
            Self::Quantise(_) => {
                "export an adapter instead of a merged model, or train over an F16 or Q8_0 base"
            }
            Self::Form { .. } => "choose another export format",
        }
    }
}

/// The low-rank update of one module, `scale · B A`.
struct LoraUpdate<'u> {
    layer: usize,
    /// Its names in transformers and in GGUF files.
    names: (&'static str, &'static str),
    a: &'u [f32],
    b: &'u [f32],
    inputs: usize,
    outputs: usize,
    rank: usize,
}

impl LoraUpdate<'_> {
    /// Returns `matrix`, which has `width` numbers per output, with its rows in a file's order.
    fn to_file_order(&self, matrix: &[f32], width: usize, interleaved: Option<usize>) -> Vec<f32> {
        let mut numbers = vec![0.0; matrix.len()];
        for (output, row) in matrix.chunks_exact(width).enumerate() {
            let at = file_row(output, interleaved);
            numbers[at * width..(at + 1) * width].copy_from_slice(row);
        }
        numbers
    }

    /// Returns a file's `matrix` with its rows in this crate's order.
    fn restored_order(&self, matrix: &[f32], width: usize, interleaved: Option<usize>) -> Vec<f32> {
        let outputs = 0..matrix.len() / width.max(1);
        let row = |output| &matrix[file_row(output, interleaved) * width..][..width];
        outputs.flat_map(row).copied().collect()
    }

    /// Returns the head size, if GGUF files interleave this module's rotated pairs.
    fn interleaved(&self, config: &DecoderConfig) -> Option<usize> {
        let is_rotated = matches!(self.names.1, "attn_q" | "attn_k");
        (config.architecture == Architecture::Llama && is_rotated).then_some(config.head_size)
    }
}

/// Returns the row of a file that holds `output`. `interleaved` is the head size if the file interleaves rotated pairs.
fn file_row(output: usize, interleaved: Option<usize>) -> usize {
    interleaved.map_or(output, |size| {
        let (head, within, half) = (output / size, output % size, size / 2);
        head * size + 2 * (within % half) + within / half
    })
}

/// Returns all updates in the layout's order.
fn updates<'u>(network: &DecoderNetwork, layout: &Layout, parameters: &'u [f32]) -> Vec<LoraUpdate<'u>> {
    let Some((rank, _)) = network.adapter() else { return Vec::new() };
    let find = |name: &str| layout.parameters().iter().find(|parameter| parameter.name == name);
    let update = |parameter: &crate::layout::Parameter| {
        let base = parameter.name.strip_suffix(".lora_A.weight")?;
        let b = find(&format!("{base}.lora_B.weight"))?;
        let (layer, module) = base.strip_prefix("model.layers.")?.split_once('.')?;
        Some(LoraUpdate {
            layer: layer.parse().ok()?,
            names: *MODULES.iter().find(|(name, _)| *name == module)?,
            a: &parameters[parameter.range.clone()],
            b: &parameters[b.range.clone()],
            inputs: parameter.shape[1],
            outputs: b.shape[0],
            rank,
        })
    };
    layout.parameters().iter().filter_map(update).collect()
}

fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// Writes the folder that `peft` loads: `adapter_config.json` and `adapter_model.safetensors`. `base` is the base's
/// name.
///
/// # Errors
/// [`DecoderExportError`] if the folder cannot be written or the network has no adapter.
pub fn write_peft(
    folder: &Path,
    base: &str,
    (network, layout, parameters): (&DecoderNetwork, &Layout, &[f32]),
) -> Result<(), DecoderExportError> {
    let Some((rank, alpha)) = network.adapter() else { return Err(no_adapter()) };
    std::fs::create_dir_all(folder)
        .map_err(|source| DecoderExportError::File { path: folder.to_owned(), source })?;
    let config = serde_json::json!({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "inference_mode": true,
        "r": rank, "lora_alpha": alpha, "lora_dropout": 0.0, "bias": "none", "use_rslora": false,
        "use_dora": false, "fan_in_fan_out": false, "init_lora_weights": true,
        "target_modules": MODULES.map(|(name, _)| name.rsplit('.').next().unwrap_or(name)),
    });
    let path = folder.join("adapter_config.json");
    write_file(&path, |file| file.write_all(format!("{config:#}\n").as_bytes()))
        .map_err(|source| DecoderExportError::File { path, source })?;
    let named: Vec<(String, Vec<u8>, [usize; 2])> = layout
        .parameters()
        .iter()
        .map(|parameter| {
            let numbers = bytes(&parameters[parameter.range.clone()]);
            (format!("base_model.model.{}", parameter.name), numbers, parameter.shape)
        })
        .collect();
    let tensors: Vec<NewTensor<'_>> = named
        .iter()
        .map(|(name, bytes, shape)| NewTensor { name, dtype: Dtype::F32, shape, bytes })
        .collect();
    write_safetensors(folder.join("adapter_model.safetensors"), &[("format", "pt")], &tensors)?;
    Ok(())
}

/// Writes the GGUF adapter that llama.cpp loads.
///
/// # Errors
/// [`DecoderExportError`] if the file cannot be written or the network has no adapter.
pub fn write_gguf_adapter(
    path: &Path,
    (network, layout, parameters): (&DecoderNetwork, &Layout, &[f32]),
) -> Result<(), DecoderExportError> {
    let Some((_, alpha)) = network.adapter() else { return Err(no_adapter()) };
    let mut named: Vec<(String, Vec<u8>, [usize; 2])> = Vec::new();
    for update in updates(network, layout, parameters) {
        let name = format!("blk.{}.{}.weight", update.layer, update.names.1);
        let b = update.to_file_order(update.b, update.rank, update.interleaved(network.config()));
        named.push((format!("{name}.lora_a"), bytes(update.a), [update.rank, update.inputs]));
        named.push((format!("{name}.lora_b"), bytes(&b), [update.outputs, update.rank]));
    }
    let tensors: Vec<NewTensor<'_>> = named
        .iter()
        .map(|(name, bytes, shape)| NewTensor { name, dtype: Dtype::F32, shape, bytes })
        .collect();
    let metadata = [
        ("general.type", NewValue::Text("adapter")),
        ("general.architecture", NewValue::Text(network.config().architecture.name())),
        ("adapter.type", NewValue::Text("lora")),
        ("adapter.lora.alpha", NewValue::F32(alpha)),
    ];
    write_gguf(path, &metadata, &tensors)?;
    Ok(())
}

fn no_adapter() -> DecoderExportError {
    DecoderExportError::Form { what: "a decoder trained from scratch has no adapter" }
}
