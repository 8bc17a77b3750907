//! What is quantised: a GGUF file, or a folder of safetensors seen as one.

mod names;
mod settings;
mod tokens;

use std::path::Path;

use bantam_engine::{Architecture, Decoder, DecoderConfig};
use bantam_weights::{Dtype, Format, NewValue, StoredValue, WeightFile};

use crate::write::QuantiseModelError;

/// Keys that say how a file was quantised.
const OWN_KEYS: [&str; 3] = ["general.file_type", "general.quantization_version", "general.alignment"];

/// A model of whole numbers, as GGUF would have it.
pub(crate) struct Original {
    pub(crate) file: WeightFile,
    pub(crate) config: DecoderConfig,
    /// Keys that stand in no file yet; those of a GGUF file are taken from it.
    pub(crate) keys: Vec<(String, Key)>,
    pub(crate) tensors: Vec<Tensor>,
}

/// A value of a key.
pub(crate) enum Key {
    U32(u32),
    F32(f32),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    I32s(Vec<i32>),
    F32s(Vec<f32>),
}

/// A tensor, and where its numbers come from.
#[derive(Clone, Debug)]
pub(crate) struct Tensor {
    /// What GGUF calls it.
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) from: From,
}

/// Where a tensor's numbers come from.
#[derive(Clone, Debug)]
pub(crate) enum From {
    /// A tensor of the file. `halves` has the size of heads and how much of it is rotated, where the file has pairs in
    /// halves and GGUF has them side by side; `plus_one` where the file has gains less one.
    File { tensor: String, halves: Option<(usize, usize)>, plus_one: bool },
    /// These.
    Numbers(Vec<f32>),
}

impl Original {
    /// Opens a GGUF file or a folder, and refuses one whose numbers are quantised already.
    pub(crate) fn open(path: &Path, scratch: &Path) -> Result<Self, QuantiseModelError> {
        let config = Decoder::inspect(path).map_err(Box::new)?;
        let file = WeightFile::open(path)?;
        let whole = [Dtype::F32, Dtype::F16, Dtype::BF16];
        if let Some((name, view)) = file.tensors().find(|(_, view)| !whole.contains(&view.dtype())) {
            let (tensor, dtype) = (name.to_owned(), view.dtype());
            return Err(QuantiseModelError::Quantised { tensor, dtype });
        }
        if matches!(file.format(), Format::Gguf { .. }) {
            let tensors = file.tensors().map(|(name, view)| Tensor {
                name: name.to_owned(),
                shape: view.shape().to_vec(),
                from: From::File { tensor: name.to_owned(), halves: None, plus_one: false },
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
                from: From::Numbers(factors),
            });
        }
        keys.extend(tokens::keys(path, config.vocabulary, scratch)?);
        Ok(Self { config, keys, tensors, file })
    }

    /// Returns the keys that are written.
    pub(crate) fn metadata<'o>(&'o self, texts: &'o [Vec<&'o str>]) -> Vec<(&'o str, NewValue<'o>)> {
        let own = self.file.metadata();
        let stored = own.keys().filter(|key| !OWN_KEYS.contains(key)).filter_map(|key| {
            let value: StoredValue<'_> = own.stored(key)?;
            Some((key, NewValue::Stored(value)))
        });
        stored.chain(written(&self.keys, texts)).collect()
    }

    /// Returns the lists of texts among the keys, borrowed as they are written.
    pub(crate) fn texts(&self) -> Vec<Vec<&str>> {
        texts(&self.keys)
    }

    /// Writes a row of a tensor. Returns whether there is one.
    pub(crate) fn write_row(&self, tensor: &Tensor, row: usize, numbers: &mut [f32]) -> bool {
        match &tensor.from {
            From::Numbers(all) => {
                let width = numbers.len();
                let found = all.get(row * width..(row + 1) * width);
                found.inspect(|found| numbers.copy_from_slice(found)).is_some()
            }
            From::File { tensor: name, halves, plus_one } => {
                let Some(view) = self.file.tensor(name) else { return false };
                // A bias is one row, of which the numbers are turned.
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

/// Returns keys as they are written; `lists` are the lists of texts among them, in order.
fn written<'k>(
    keys: &'k [(String, Key)],
    lists: &'k [Vec<&'k str>],
) -> impl Iterator<Item = (&'k str, NewValue<'k>)> {
    let mut lists = lists.iter();
    keys.iter().map(move |(key, value)| {
        let value = match value {
            Key::U32(value) => NewValue::U32(*value),
            Key::F32(value) => NewValue::F32(*value),
            Key::Bool(value) => NewValue::Bool(*value),
            Key::Text(text) => NewValue::Text(text),
            Key::Texts(_) => NewValue::Texts(lists.next().map_or(&[], Vec::as_slice)),
            Key::I32s(values) => NewValue::I32s(values),
            Key::F32s(values) => NewValue::F32s(values),
        };
        (&**key, value)
    })
}

/// Returns the lists of texts among keys.
pub(crate) fn texts(keys: &[(String, Key)]) -> Vec<Vec<&str>> {
    let lists = keys.iter().filter_map(|(_, key)| match key {
        Key::Texts(texts) => Some(texts.iter().map(String::as_str).collect()),
        _ => None,
    });
    lists.collect()
}

/// Returns which row of halves is row `row` of pairs side by side.
fn side_by_side(row: usize, (size, rotated): (usize, usize)) -> usize {
    let (head, within) = (row / size, row % size);
    if within >= rotated {
        return row;
    }
    head * size + (within % 2) * (rotated / 2) + within / 2
}

/// Whether GGUF has an architecture's queries and keys with the numbers of a pair side by side.
fn is_interleaved(architecture: Architecture) -> bool {
    architecture == Architecture::Llama
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_become_pairs_side_by_side() {
        let rows: Vec<usize> = (0..16).map(|row| side_by_side(row, (8, 8))).collect();
        assert_eq!(rows, [0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15]);
        let rows: Vec<usize> = (0..8).map(|row| side_by_side(row, (8, 4))).collect();
        assert_eq!(rows, [0, 2, 1, 3, 4, 5, 6, 7]);
    }
}
