//! The header of a safetensors file.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::HEADER_BYTES_MAX;
use super::json::UniquePairs;
use crate::dtype::Dtype;
use crate::metadata::{MetadataEntries, MetadataEntry, Stored};
use crate::tensor::{self, TensorEntry, TensorError, TensorErrorKind};

const LENGTH_BYTES: usize = 8;
const DIMENSIONS_MAX: usize = 16;
const METADATA_KEY: &str = "__metadata__";

/// Why a safetensors file is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SafetensorsError {
    /// The file is too short for a header.
    #[error("the file is {found} bytes long, too short for a header")]
    TooShort {
        /// Its length in bytes.
        found: u64,
    },
    /// The header exceeds its limit.
    #[error("the header is {found} bytes long; the limit is {HEADER_BYTES_MAX}")]
    HeaderTooLong {
        /// Its length in bytes.
        found: u64,
    },
    /// The header extends beyond the end of the file.
    #[error("the header is {header} bytes long, but only {left} bytes are left")]
    HeaderOutOfFile {
        /// Its length in bytes.
        header: u64,
        /// Number of bytes after the length.
        left: u64,
    },
    /// The header is not valid JSON of the expected form.
    #[error("cannot read the header")]
    Json(#[source] serde_json::Error),
    /// A tensor's description is invalid.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// Bytes follow the last tensor.
    #[error("{bytes} bytes follow the last tensor")]
    Trailing {
        /// Number of bytes.
        bytes: u64,
    },
}

impl SafetensorsError {
    /// Returns what the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Tensor(TensorError { kind: TensorErrorKind::UnknownType { .. }, .. }) => {
                "use a version of the model in F32, F16 or BF16"
            }
            Self::TooShort { .. }
            | Self::HeaderOutOfFile { .. }
            | Self::Trailing { .. }
            | Self::Tensor(_) => {
                "the file is damaged or incomplete: download it again and compare its checksum"
            }
            Self::HeaderTooLong { .. } | Self::Json(_) => {
                "the file is malformed: get it from its original source"
            }
        }
    }
}

/// A header, checked against the file.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) metadata: MetadataEntries,
    pub(crate) tensors: Vec<TensorEntry>,
}

/// Reads and checks the header of a file, given all its bytes.
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
    let items: UniquePairs<HeaderItem> = serde_json::from_slice(header).map_err(SafetensorsError::Json)?;
    let start = bytes.len() - data.len();
    let mut header = Header { metadata: Vec::new(), tensors: Vec::new() };
    for (name, item) in items.0 {
        match (item, name.as_str() == METADATA_KEY) {
            (HeaderItem::Metadata(pairs), true) => header.metadata = entries(pairs),
            (HeaderItem::Tensor(tensor), false) => header.tensors.push(entry(&name, &tensor)?),
            (_, is_metadata) => {
                let expected = if is_metadata { "strings" } else { "dtype, shape and data_offsets" };
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
        // No overflow: `check_layout` compared every end with the data, which ends with the file.
        tensor.range = tensor.range.start + start..tensor.range.end + start;
    }
    Ok(header)
}

fn entries(pairs: Vec<(String, String)>) -> MetadataEntries {
    let own =
        |(key, text): (String, String)| MetadataEntry { key: key.into(), stored: Stored::Own(text.into()) };
    let mut entries: MetadataEntries = pairs.into_iter().map(own).collect();
    entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    entries
}

fn entry(name: &str, described: &TensorDescription) -> Result<TensorEntry, TensorError> {
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
    Ok(TensorEntry { name: name.into(), dtype, shape, range: start..end, part: 0 })
}

/// A value in the header's object. Its key decides which of the two it must be.
#[derive(Debug)]
enum HeaderItem {
    Tensor(TensorDescription),
    Metadata(Vec<(String, String)>),
}

#[derive(Debug)]
struct TensorDescription {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

impl<'de> Deserialize<'de> for HeaderItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderItemVisitor)
    }
}

struct HeaderItemVisitor;

impl<'de> Visitor<'de> for HeaderItemVisitor {
    type Value = HeaderItem;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a tensor description or metadata")
    }

    /// Distinguishes the two by their values: a `shape` that is a list makes it a tensor.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HeaderItem, A::Error> {
        let mut texts: Vec<(String, String)> = Vec::new();
        let (mut shape, mut data_offsets) = (None, None);
        let mut seen = std::collections::HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom("a key appears twice in a tensor description or the metadata"));
            }
            match map.next_value::<TextOrNumbers>()? {
                TextOrNumbers::Text(text) => texts.push((key, text)),
                TextOrNumbers::Numbers(numbers) if key == "shape" => shape = Some(numbers),
                TextOrNumbers::Numbers(numbers) if key == "data_offsets" => data_offsets = Some(numbers),
                TextOrNumbers::Numbers(_) => return Err(A::Error::custom("unknown list of numbers")),
            }
        }
        let (shape, offsets) = match (shape, data_offsets) {
            (None, None) => return Ok(HeaderItem::Metadata(texts)),
            (Some(shape), Some(offsets)) => (shape, offsets),
            _ => return Err(A::Error::custom("a tensor needs shape and data_offsets")),
        };
        let data_offsets =
            offsets.try_into().map_err(|_| A::Error::custom("data_offsets must be two numbers"))?;
        match <[(String, String); 1]>::try_from(texts) {
            Ok([(key, dtype)]) if key == "dtype" => {
                Ok(HeaderItem::Tensor(TensorDescription { dtype, shape, data_offsets }))
            }
            _ => Err(A::Error::custom("a tensor must have exactly dtype, shape and data_offsets")),
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
        formatter.write_str("a string or a list of unsigned integers")
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
