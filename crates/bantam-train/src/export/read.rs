//! A GGUF adapter that was written here, back as what was trained.

use std::path::{Path, PathBuf};

use bantam_weights::{DequantiseError, OpenWeightsError, RequireTensorError, WeightFile};

use super::changes;
use crate::decoder::DecoderNetwork;
use crate::layout::Layout;

/// Why an adapter cannot be read back.
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
    /// Missing, or no file of tensors.
    #[error("open the file")]
    Open(#[from] OpenWeightsError),
    /// A tensor that is missing or has another shape.
    #[error("find a tensor")]
    Tensor(#[from] RequireTensorError),
    /// A tensor that cannot be read.
    #[error("read a tensor")]
    Dequantise(#[from] DequantiseError),
}

/// Returns the parameters of `network`, whose tensors `layout` lists, that
/// [`write_gguf_adapter`](crate::write_gguf_adapter) wrote to `path`, to the bit.
///
/// # Errors
/// [`ReadAdapterError`], when the file is another network's adapter, or none.
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
    let places: Vec<f32> = parameters.clone();
    for change in changes(network, layout, &places) {
        let name = format!("blk.{}.{}.weight", change.layer, change.names.1);
        let a = file.require(&format!("{name}.lora_a"), &[change.rank, change.inputs])?.to_f32()?;
        let b = file.require(&format!("{name}.lora_b"), &[change.outputs, change.rank])?.to_f32()?;
        let b = change.in_order(&b, change.rank, change.interleaved(network.config()));
        let own = format!("model.layers.{}.{}", change.layer, change.names.0);
        for (half, numbers) in [("lora_A", a), ("lora_B", b)] {
            let name = format!("{own}.{half}.weight");
            if let Some(parameter) = layout.parameters().iter().find(|parameter| parameter.name == name) {
                parameters[parameter.range.clone()].copy_from_slice(&numbers);
            }
        }
    }
    Ok(parameters)
}
