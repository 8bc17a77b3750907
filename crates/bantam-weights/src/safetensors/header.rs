//! The header of one file.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::HEADER_BYTES_MAX;
use super::json::Pairs;
use crate::dtype::Dtype;
use crate::metadata::{Entries, MetadataEntry, Stored};
use crate::tensor::{self, Entry, TensorError, TensorErrorKind};

const LENGTH_BYTES: usize = 8;
const DIMENSIONS_MAX: usize = 16;
const METADATA_KEY: &str = "__metadata__";

/// What is wrong with a safetensors file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SafetensorsError {
    /// Too short for a header.
    #[error("the file has {found} bytes, too few for a header")]
    TooShort {
        /// Its length.
        found: u64,
    },
    /// A header beyond its limit.
    #[error("the header has {found} bytes; at most {HEADER_BYTES_MAX} are read")]
    HeaderTooLong {
        /// Its length.
        found: u64,
    },
    /// A header beyond the end.
    #[error("the header has {header} bytes and the file only {left} after its length")]
    HeaderOutOfFile {
        /// Its length.
        header: u64,
        /// What the file has for it.
        left: u64,
    },
    /// A header that is no such JSON.
    #[error("cannot read the header")]
    Json(#[source] serde_json::Error),
    /// A tensor that is described wrongly.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// Bytes after the last tensor.
    #[error("{bytes} bytes follow the last tensor")]
    Trailing {
        /// How many.
        bytes: u64,
    },
}

impl SafetensorsError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Tensor(TensorError { kind: TensorErrorKind::UnknownType { .. }, .. }) => {
                "get the model in F32, F16 or BF16"
            }
            Self::TooShort { .. }
            | Self::HeaderOutOfFile { .. }
            | Self::Trailing { .. }
            | Self::Tensor(_) => "the file is damaged or incomplete: download it again and compare its hash",
            Self::HeaderTooLong { .. } | Self::Json(_) => {
                "the file was not written by a correct program: get it from its original source"
            }
        }
    }
}

/// What a header says, checked against the file.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) metadata: Entries,
    pub(crate) tensors: Vec<Entry>,
}

/// Reads and checks the header of a whole file.
pub(crate) fn read(bytes: &[u8]) -> Result<Header, SafetensorsError> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return Err(SafetensorsError::TooShort { found: bytes.len() as u64 });
    };
    let length = u64::from_le_bytes(*length);
    if length > HEADER_BYTES_MAX {
        return Err(SafetensorsError::HeaderTooLong { found: length });
    }
    let split = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length));
    let Some((header, data)) = split else {
        return Err(SafetensorsError::HeaderOutOfFile { header: length, left: rest.len() as u64 });
    };
    let items: Pairs<Item> = serde_json::from_slice(header).map_err(SafetensorsError::Json)?;
    let start = bytes.len() - data.len();
    let mut header = Header { metadata: Vec::new(), tensors: Vec::new() };
    for (name, item) in items.0 {
        match (item, name.as_str() == METADATA_KEY) {
            (Item::Metadata(pairs), true) => header.metadata = entries(pairs),
            (Item::Tensor(tensor), false) => header.tensors.push(entry(&name, &tensor)?),
            (_, is_metadata) => {
                let expected = if is_metadata { "texts" } else { "dtype, shape and data_offsets" };
                let shown: String = name.chars().take(64).collect();
                let message = format_args!("{shown:?} must have {expected}");
                return Err(SafetensorsError::Json(serde_json::Error::custom(message)));
            }
        }
    }
    let end = tensor::check_layout(&header.tensors, data.len(), 1)?;
    if end < data.len() {
        return Err(SafetensorsError::Trailing { bytes: (data.len() - end) as u64 });
    }
    for tensor in &mut header.tensors {
        // Both fit: `check_layout` held every end against the data, which ends with the file.
        tensor.range = tensor.range.start + start..tensor.range.end + start;
    }
    Ok(header)
}

fn entries(pairs: Vec<(String, String)>) -> Entries {
    let own =
        |(key, text): (String, String)| MetadataEntry { key: key.into(), stored: Stored::Own(text.into()) };
    let mut entries: Entries = pairs.into_iter().map(own).collect();
    entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    entries
}

fn entry(name: &str, described: &Described) -> Result<Entry, TensorError> {
    tensor::check_name(name)?;
    let wrong = |kind| TensorError::new(name, kind);
    let overflow = || wrong(TensorErrorKind::Overflow);
    let Some(dtype) = Dtype::from_safetensors_name(&described.dtype) else {
        let found: String = described.dtype.chars().take(32).collect();
        return Err(wrong(TensorErrorKind::UnknownType { found: found.into() }));
    };
    if described.shape.len() > DIMENSIONS_MAX {
        let (found, at_most) = (described.shape.len() as u64, DIMENSIONS_MAX as u64);
        return Err(wrong(TensorErrorKind::Dimensions { found, at_most }));
    }
    let shape: Result<Box<[usize]>, _> = described.shape.iter().map(|&size| usize::try_from(size)).collect();
    let shape = shape.map_err(|_| overflow())?;
    let expected = dtype.bytes_of(&shape).ok_or_else(overflow)?;
    let [start, end] = described.data_offsets;
    if end.checked_sub(start) != Some(expected as u64) {
        let found = end.saturating_sub(start);
        return Err(wrong(TensorErrorKind::Size { found, expected: expected as u64 }));
    }
    let start = usize::try_from(start).map_err(|_| overflow())?;
    let end = usize::try_from(end).map_err(|_| overflow())?;
    Ok(Entry { name: name.into(), dtype, shape, range: start..end, part: 0 })
}

/// A value of the header's object. Which of the two it must be depends on its key.
#[derive(Debug)]
enum Item {
    Tensor(Described),
    Metadata(Vec<(String, String)>),
}

#[derive(Debug)]
struct Described {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ItemVisitor)
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Item;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a tensor's description")
    }

    /// Tells the two apart by what their values are: a `shape` that is a list makes a tensor.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item, A::Error> {
        let mut texts: Vec<(String, String)> = Vec::new();
        let (mut shape, mut data_offsets) = (None, None);
        let mut seen = std::collections::HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom("a key stands twice in a tensor's description or the metadata"));
            }
            match map.next_value::<TextOrNumbers>()? {
                TextOrNumbers::Text(text) => texts.push((key, text)),
                TextOrNumbers::Numbers(numbers) if key == "shape" => shape = Some(numbers),
                TextOrNumbers::Numbers(numbers) if key == "data_offsets" => data_offsets = Some(numbers),
                TextOrNumbers::Numbers(_) => return Err(A::Error::custom("an unknown list of numbers")),
            }
        }
        let (shape, offsets) = match (shape, data_offsets) {
            (None, None) => return Ok(Item::Metadata(texts)),
            (Some(shape), Some(offsets)) => (shape, offsets),
            _ => return Err(A::Error::custom("a tensor needs shape and data_offsets")),
        };
        let data_offsets =
            offsets.try_into().map_err(|_| A::Error::custom("data_offsets must be two numbers"))?;
        match <[(String, String); 1]>::try_from(texts) {
            Ok([(key, dtype)]) if key == "dtype" => {
                Ok(Item::Tensor(Described { dtype, shape, data_offsets }))
            }
            _ => Err(A::Error::custom("a tensor has dtype, shape and data_offsets, and nothing else")),
        }
    }
}

enum TextOrNumbers {
    Text(String),
    Numbers(Vec<u64>),
}

impl<'de> Deserialize<'de> for TextOrNumbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrNumbersVisitor)
    }
}

struct TextOrNumbersVisitor;

impl<'de> Visitor<'de> for TextOrNumbersVisitor {
    type Value = TextOrNumbers;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text or a list of whole numbers")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<TextOrNumbers, E> {
        Ok(TextOrNumbers::Text(text.to_owned()))
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<TextOrNumbers, A::Error> {
        let mut numbers = Vec::new();
        while let Some(number) = list.next_element()? {
            numbers.push(number);
        }
        Ok(TextOrNumbers::Numbers(numbers))
    }
}
