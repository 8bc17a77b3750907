//! What was learnt, in the forms that others read, and the proof that they read it right.

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

/// Modules by the names of transformers and of GGUF files.
const MODULES: [(&str, &str); 7] = [
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// Why what was learnt could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecoderExportError {
    /// A disk that is full, or a folder that cannot be written.
    #[error("write the weights")]
    Write(#[from] WriteWeightsError),
    /// A file beside the weights.
    #[error("write {}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The base cannot be read again.
    #[error("open the base")]
    Base(#[from] OpenWeightsError),
    /// A tensor of the base that has no numbers.
    #[error("read a tensor of the base")]
    Dequantise(#[from] DequantiseError),
    /// A tensor of the base whose type cannot be written.
    #[error("write a tensor in the base's type")]
    Quantise(#[from] QuantiseError),
    /// Training that left a form which the export does not have.
    #[error("{what}")]
    Form {
        /// What does not go together.
        what: &'static str,
    },
}

impl DecoderExportError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Write(_) | Self::File { .. } => {
                "make room or name another folder; nothing that was there is lost"
            }
            Self::Base(_) | Self::Dequantise(_) => "the base has changed since training: bring it back",
            Self::Quantise(_) => {
                "export an adapter in place of a merged model, or train over an F16 or Q8_0 base"
            }
            Self::Form { .. } => "choose the other kind of export",
        }
    }
}

/// A module's change, `scale · B A`.
struct Change<'c> {
    layer: usize,
    /// Its names in transformers and in GGUF files.
    names: (&'static str, &'static str),
    a: &'c [f32],
    b: &'c [f32],
    inputs: usize,
    outputs: usize,
    rank: usize,
}

impl Change<'_> {
    /// Returns the rows of `matrix`, which has `width` numbers for each output, in a file's order.
    fn in_file(&self, matrix: &[f32], width: usize, interleaved: Option<usize>) -> Vec<f32> {
        let mut numbers = vec![0.0; matrix.len()];
        for (output, row) in matrix.chunks_exact(width).enumerate() {
            let at = place_in_file(output, interleaved);
            numbers[at * width..(at + 1) * width].copy_from_slice(row);
        }
        numbers
    }

    /// Returns the rows of a file's `matrix` in our order.
    fn in_order(&self, matrix: &[f32], width: usize, interleaved: Option<usize>) -> Vec<f32> {
        let outputs = 0..matrix.len() / width.max(1);
        let row = |output| &matrix[place_in_file(output, interleaved) * width..][..width];
        outputs.flat_map(row).copied().collect()
    }

    /// The size of the heads whose pairs lie side by side in GGUF files, where they do for this module.
    fn interleaved(&self, config: &DecoderConfig) -> Option<usize> {
        let is_turned = matches!(self.names.1, "attn_q" | "attn_k");
        (config.architecture == Architecture::Llama && is_turned).then_some(config.head_size)
    }
}

/// The row of a file that holds an output, where heads' pairs lie side by side there, or not.
fn place_in_file(output: usize, interleaved: Option<usize>) -> usize {
    interleaved.map_or(output, |size| {
        let (head, within, half) = (output / size, output % size, size / 2);
        head * size + 2 * (within % half) + within / half
    })
}

/// All changes, in the layout's order.
fn changes<'c>(network: &DecoderNetwork, layout: &Layout, parameters: &'c [f32]) -> Vec<Change<'c>> {
    let Some((rank, _)) = network.change() else { return Vec::new() };
    let find = |name: &str| layout.parameters().iter().find(|parameter| parameter.name == name);
    let change = |parameter: &crate::layout::Parameter| {
        let base = parameter.name.strip_suffix(".lora_A.weight")?;
        let b = find(&format!("{base}.lora_B.weight"))?;
        let (layer, module) = base.strip_prefix("model.layers.")?.split_once('.')?;
        Some(Change {
            layer: layer.parse().ok()?,
            names: *MODULES.iter().find(|(name, _)| *name == module)?,
            a: &parameters[parameter.range.clone()],
            b: &parameters[b.range.clone()],
            inputs: parameter.shape[1],
            outputs: b.shape[0],
            rank,
        })
    };
    layout.parameters().iter().filter_map(change).collect()
}

fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// Writes the folder that `peft` loads: `adapter_config.json` and `adapter_model.safetensors`. `base` is the name that
/// the base is known by.
///
/// # Errors
/// [`DecoderExportError`], when the folder cannot be written or all of the network was trained.
pub fn write_peft(
    folder: &Path,
    base: &str,
    (network, layout, parameters): (&DecoderNetwork, &Layout, &[f32]),
) -> Result<(), DecoderExportError> {
    let Some((rank, alpha)) = network.change() else { return Err(no_adapter()) };
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
/// [`DecoderExportError`], when the file cannot be written or all of the network was trained.
pub fn write_gguf_adapter(
    path: &Path,
    (network, layout, parameters): (&DecoderNetwork, &Layout, &[f32]),
) -> Result<(), DecoderExportError> {
    let Some((_, alpha)) = network.change() else { return Err(no_adapter()) };
    let mut named: Vec<(String, Vec<u8>, [usize; 2])> = Vec::new();
    for change in changes(network, layout, parameters) {
        let name = format!("blk.{}.{}.weight", change.layer, change.names.1);
        let b = change.in_file(change.b, change.rank, change.interleaved(network.config()));
        named.push((format!("{name}.lora_a"), bytes(change.a), [change.rank, change.inputs]));
        named.push((format!("{name}.lora_b"), bytes(&b), [change.outputs, change.rank]));
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
    DecoderExportError::Form { what: "a decoder that was trained whole has no adapter" }
}
