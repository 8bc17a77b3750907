//! The model to quantise: a GGUF file, or a folder of safetensors presented as one.

mod names;
mod settings;
mod tokens;

use std::path::Path;

use bantam_engine::{Architecture, Decoder, DecoderConfig};
use bantam_weights::{Dtype, Format, NewValue, RawValue, WeightFile};

use crate::write::QuantiseModelError;

/// Keys that describe a file's own quantisation and layout; they are written anew.
const OWN_KEYS: [&str; 3] = ["general.file_type", "general.quantization_version", "general.alignment"];

/// An unquantised model as GGUF would hold it.
pub(crate) struct Original {
    pub(crate) file: WeightFile,
    pub(crate) config: DecoderConfig,
    /// Keys that no file holds yet; the keys of a GGUF source are copied from it.
    pub(crate) keys: Vec<(String, MetadataValue)>,
    pub(crate) tensors: Vec<Tensor>,
}

/// A metadata value to write.
pub(crate) enum MetadataValue {
    U32(u32),
    F32(f32),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    I32s(Vec<i32>),
    F32s(Vec<f32>),
}

/// A tensor to write, and where its numbers come from.
#[derive(Clone, Debug)]
pub(crate) struct Tensor {
    /// Its GGUF name.
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) source: NumberSource,
}

/// Where a tensor's numbers come from.
#[derive(Clone, Debug)]
pub(crate) enum NumberSource {
    /// A tensor of the source file. `halves` holds the head size and its rotated part if the file stores rotation
    /// pairs in two halves but GGUF stores them side by side; `plus_one` says that the file stores norm gains minus
    /// one.
    File { tensor: String, halves: Option<(usize, usize)>, plus_one: bool },
    /// These numbers.
    Numbers(Vec<f32>),
}

impl Original {
    /// Opens a GGUF file or a folder. Refuses a model that is already quantised.
    pub(crate) fn open(path: &Path, scratch: &Path) -> Result<Self, QuantiseModelError> {
        let config = Decoder::inspect(path).map_err(Box::new)?;
        let file = WeightFile::open(path)?;
        let unquantised = [Dtype::F32, Dtype::F16, Dtype::BF16];
        if let Some((name, view)) = file.tensors().find(|(_, view)| !unquantised.contains(&view.dtype())) {
            let (tensor, dtype) = (name.to_owned(), view.dtype());
            return Err(QuantiseModelError::Quantised { tensor, dtype });
        }
        if matches!(file.format(), Format::Gguf { .. }) {
            let tensors = file.tensors().map(|(name, view)| Tensor {
                name: name.to_owned(),
                shape: view.shape().to_vec(),
                source: NumberSource::File { tensor: name.to_owned(), halves: None, plus_one: false },
            });
            let tensors = tensors.collect();
            return Ok(Self { config, keys: Vec::new(), tensors, file });
        }
        let mut tensors = names::tensors(&file, &config)?;
        let (mut keys, factors) = settings::keys(path, &config)?;
        if let Some(factors) = factors {
            let shape = vec![factors.len()];
            tensors.push(Tensor {
                name: "rope_freqs.weight".to_owned(),
                shape,
                source: NumberSource::Numbers(factors),
            });
        }
        keys.extend(tokens::keys(path, config.vocabulary, scratch)?);
        Ok(Self { config, keys, tensors, file })
    }

    /// Returns the metadata to write.
    pub(crate) fn metadata<'o>(&'o self, texts: &'o [Vec<&'o str>]) -> Vec<(&'o str, NewValue<'o>)> {
        let own = self.file.metadata();
        let stored = own.keys().filter(|key| !OWN_KEYS.contains(key)).filter_map(|key| {
            let value: RawValue<'_> = own.raw(key)?;
            Some((key, NewValue::Raw(value)))
        });
        stored.chain(written(&self.keys, texts)).collect()
    }

    /// Returns the string lists among the keys, borrowed for writing.
    pub(crate) fn texts(&self) -> Vec<Vec<&str>> {
        texts(&self.keys)
    }

    /// Copies a row of a tensor to `numbers`. Returns whether the row exists.
    pub(crate) fn write_row(&self, tensor: &Tensor, row: usize, numbers: &mut [f32]) -> bool {
        match &tensor.source {
            NumberSource::Numbers(all) => {
                let width = numbers.len();
                let found = all.get(row * width..(row + 1) * width);
                found.inspect(|found| numbers.copy_from_slice(found)).is_some()
            }
            NumberSource::File { tensor: name, halves, plus_one } => {
                let Some(view) = self.file.tensor(name) else { return false };
                // A bias is a single row whose elements are permuted.
                let is_vector = tensor.shape.len() == 1;
                let row = match halves {
                    Some(halves) if !is_vector => side_by_side(row, *halves),
                    _ => row,
                };
                let found = view.write_row(row, numbers).unwrap_or(false);
                if let (Some(halves), true) = (halves, is_vector) {
                    let old = numbers.to_vec();
                    for (place, number) in numbers.iter_mut().enumerate() {
                        *number = old.get(side_by_side(place, *halves)).copied().unwrap_or_default();
                    }
                }
                if *plus_one {
                    numbers.iter_mut().for_each(|number| *number += 1.0);
                }
                found
            }
        }
    }
}

/// Returns keys as values to write; `lists` holds the string lists among them, in order.
fn written<'k>(
    keys: &'k [(String, MetadataValue)],
    lists: &'k [Vec<&'k str>],
) -> impl Iterator<Item = (&'k str, NewValue<'k>)> {
    let mut lists = lists.iter();
    keys.iter().map(move |(key, value)| {
        let value = match value {
            MetadataValue::U32(value) => NewValue::U32(*value),
            MetadataValue::F32(value) => NewValue::F32(*value),
            MetadataValue::Bool(value) => NewValue::Bool(*value),
            MetadataValue::Text(text) => NewValue::Text(text),
            MetadataValue::Texts(_) => NewValue::Texts(lists.next().map_or(&[], Vec::as_slice)),
            MetadataValue::I32s(values) => NewValue::I32s(values),
            MetadataValue::F32s(values) => NewValue::F32s(values),
        };
        (&**key, value)
    })
}

/// Returns the string lists among keys.
pub(crate) fn texts(keys: &[(String, MetadataValue)]) -> Vec<Vec<&str>> {
    let lists = keys.iter().filter_map(|(_, key)| match key {
        MetadataValue::Texts(texts) => Some(texts.iter().map(String::as_str).collect()),
        _ => None,
    });
    lists.collect()
}

/// Returns the row in the half-split layout that becomes row `row` of the interleaved layout.
fn side_by_side(row: usize, (size, rotated): (usize, usize)) -> usize {
    let (head, within) = (row / size, row % size);
    if within >= rotated {
        return row;
    }
    head * size + (within % 2) * (rotated / 2) + within / 2
}

/// Whether GGUF stores an architecture's queries and keys with rotation pairs interleaved.
fn is_interleaved(architecture: Architecture) -> bool {
    architecture == Architecture::Llama
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_halves_become_interleaved_pairs() {
        let rows: Vec<usize> = (0..16).map(|row| side_by_side(row, (8, 8))).collect();
        assert_eq!(rows, [0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15]);
        let rows: Vec<usize> = (0..8).map(|row| side_by_side(row, (8, 4))).collect();
        assert_eq!(rows, [0, 2, 1, 3, 4, 5, 6, 7]);
    }
}
