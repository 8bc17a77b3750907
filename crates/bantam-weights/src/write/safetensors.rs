//! Writes safetensors.

use std::io::Write;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{NewTensor, WriteWeightsError, WriteWeightsErrorKind, atomic, check, check_keys};
use crate::dtype::Dtype;
use crate::hash::WeightsHash;
use crate::tensor::{TensorError, TensorErrorKind};

const METADATA_KEY: &str = "__metadata__";
/// The header is padded with spaces to this multiple, so that mapped data is aligned.
const ALIGNMENT: usize = 8;
const DIMENSIONS_MAX: usize = 16;

/// Writes a safetensors file atomically and returns its hash.
///
/// Tensors are sorted by width, widest first, then by name, like the reference; so equal tensors give equal files,
/// whatever their given order.
pub fn write_safetensors(
    path: impl AsRef<Path>,
    metadata: &[(&str, &str)],
    tensors: &[NewTensor<'_>],
) -> Result<WeightsHash, WriteWeightsError> {
    let path = path.as_ref();
    write(path, metadata, tensors).map_err(|kind| kind.at(path))
}

fn write(
    path: &Path,
    metadata: &[(&str, &str)],
    tensors: &[NewTensor<'_>],
) -> Result<WeightsHash, WriteWeightsErrorKind> {
    check(tensors, DIMENSIONS_MAX, |dtype| dtype.safetensors_name().is_some())?;
    if let Some(tensor) = tensors.iter().find(|tensor| tensor.name == METADATA_KEY) {
        return Err(TensorError::new(tensor.name, TensorErrorKind::Duplicate).into());
    }
    check_keys(metadata.iter().map(|(key, _)| *key), None)?;
    let mut tensors = tensors.to_vec();
    tensors
        .sort_by(|a, b| b.dtype.block_bytes().cmp(&a.dtype.block_bytes()).then_with(|| a.name.cmp(b.name)));
    let header = header(metadata, &tensors);
    let hash = atomic::write(path, |sink| {
        sink.write_all(&(header.len() as u64).to_le_bytes())?;
        sink.write_all(&header)?;
        tensors.iter().try_for_each(|tensor| sink.write_all(tensor.bytes))
    })?;
    Ok(hash)
}

fn header(metadata: &[(&str, &str)], tensors: &[NewTensor<'_>]) -> Vec<u8> {
    let mut items = Map::new();
    if !metadata.is_empty() {
        let texts = metadata.iter().map(|(key, text)| ((*key).to_owned(), Value::from(*text)));
        items.insert(METADATA_KEY.to_owned(), Value::Object(texts.collect()));
    }
    let mut start = 0;
    for tensor in tensors {
        let end = start + tensor.bytes.len();
        let dtype = Dtype::safetensors_name(tensor.dtype);
        let item = json!({ "dtype": dtype, "shape": tensor.shape, "data_offsets": [start, end] });
        items.insert(tensor.name.to_owned(), item);
        start = end;
    }
    let mut header = Value::Object(items).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');
    header
}
