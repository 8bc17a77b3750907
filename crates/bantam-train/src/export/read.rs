//! Reads a GGUF adapter that this crate wrote back into trained parameters.

use std::path::{Path, PathBuf};

use bantam_weights::{DequantiseError, OpenWeightsError, RequireTensorError, WeightFile};

use super::updates;
use crate::decoder::DecoderNetwork;
use crate::layout::Layout;

/// Why an adapter cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("read the adapter {}", .path.display())]
pub struct ReadAdapterError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub kind: ReadAdapterErrorKind,
}

/// What is wrong with an adapter.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadAdapterErrorKind {
    /// Missing, or not a tensor file.
    #[error("open the file")]
    Open(#[from] OpenWeightsError),
    /// A tensor is missing or has the wrong shape.
    #[error("find a tensor")]
    Tensor(#[from] RequireTensorError),
    /// A tensor cannot be read.
    #[error("read a tensor")]
    Dequantise(#[from] DequantiseError),
}

/// Returns, bit for bit, the parameters that [`write_gguf_adapter`](crate::write_gguf_adapter) wrote to `path`.
/// `layout` lists the tensors of `network`.
///
/// # Errors
/// [`ReadAdapterError`] if the file is missing, not an adapter, or another network's adapter.
pub fn read_gguf_adapter(
    path: &Path,
    network: &DecoderNetwork,
    layout: &Layout,
) -> Result<Vec<f32>, ReadAdapterError> {
    read(path, network, layout).map_err(|kind| ReadAdapterError { path: path.to_owned(), kind })
}

fn read(path: &Path, network: &DecoderNetwork, layout: &Layout) -> Result<Vec<f32>, ReadAdapterErrorKind> {
    let file = WeightFile::open(path)?;
    let mut parameters = vec![0.0; layout.len()];
    // Only the updates' names and shapes matter here.
    let zeros: Vec<f32> = parameters.clone();
    for update in updates(network, layout, &zeros) {
        let name = format!("blk.{}.{}.weight", update.layer, update.names.1);
        let a = file.require(&format!("{name}.lora_a"), &[update.rank, update.inputs])?.to_f32()?;
        let b = file.require(&format!("{name}.lora_b"), &[update.outputs, update.rank])?.to_f32()?;
        let b = update.restored_order(&b, update.rank, update.interleaved(network.config()));
        let module = format!("model.layers.{}.{}", update.layer, update.names.0);
        for (half, numbers) in [("lora_A", a), ("lora_B", b)] {
            let name = format!("{module}.{half}.weight");
            if let Some(parameter) = layout.parameters().iter().find(|parameter| parameter.name == name) {
                parameters[parameter.range.clone()].copy_from_slice(&numbers);
            }
        }
    }
    Ok(parameters)
}
