//! The header of a GGUF file, versions 2 and 3, checked completely before use.
//!
//! | Bytes | Content |
//! |---|---|
//! | 4 | `GGUF` |
//! | 4 | version, little-endian like all numbers |
//! | 8, 8 | number of tensors, number of keys |
//! | … | keys: name, type, value |
//! | … | tensors: name, dimensions (fastest first), type, offset into the data |
//! | … | padding to `general.alignment` (32), then the data |

mod cursor;
mod error;

pub use error::GgufError;

use cursor::Cursor;

use crate::dtype::Dtype;
use crate::metadata::{Metadata, MetadataEntries, MetadataEntry, Stored, Value, ValueType};
use crate::tensor::{self, TensorEntry, TensorError, TensorErrorKind};

pub(crate) const MAGIC: &[u8; 4] = b"GGUF";
pub(crate) const ALIGNMENT_KEY: &str = "general.alignment";
pub(crate) const ALIGNMENT_DEFAULT: usize = 32;
pub(crate) const DIMENSIONS_MAX: usize = 4;
/// The format requires a multiple of this alignment.
const ALIGNMENT_UNIT: u64 = 8;
const ALIGNMENT_MAX: u64 = 1 << 16;
const KEY_BYTES_MAX: u64 = 65_535;
/// Largest nesting depth of arrays; real files have none.
const DEPTH_MAX: u32 = 4;
/// Smallest size in bytes of a key with its value, and of a tensor's description. They bound the counts.
const KEY_BYTES_MIN: u64 = 8 + 1 + 4 + 1;
const TENSOR_BYTES_MIN: u64 = 8 + 1 + 4 + 8 + 4 + 8;

/// A header, checked against the file.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) version: u32,
    pub(crate) metadata: MetadataEntries,
    pub(crate) tensors: Vec<TensorEntry>,
}

/// Reads and checks the header of a file, given all its bytes.
pub(crate) fn read(bytes: &[u8]) -> Result<Header, GgufError> {
    let mut cursor = Cursor::new(bytes);
    cursor.take(MAGIC.len() as u64, "the magic number")?;
    let version = cursor.u32("the version")?;
    if !(2..=3).contains(&version) {
        let is_swapped = (1..=3).contains(&version.swap_bytes());
        return Err(if is_swapped { GgufError::BigEndian } else { GgufError::Version { found: version } });
    }
    let tensor_count = cursor.u64("the number of tensors")?;
    let key_count = cursor.u64("the number of keys")?;
    let metadata = read_metadata(&mut cursor, key_count)?;
    let view = Metadata { entries: &metadata, bytes };
    if let Some(parts) = view.u64("split.count").filter(|&parts| parts > 1) {
        return Err(GgufError::Split { parts });
    }
    let alignment = alignment(&view)?;
    let mut tensors = read_tensors(&mut cursor, tensor_count, alignment)?;
    locate_data(&mut tensors, cursor.at(), bytes.len(), alignment)?;
    Ok(Header { version, metadata, tensors })
}

fn read_metadata(cursor: &mut Cursor<'_>, count: u64) -> Result<MetadataEntries, GgufError> {
    let count = cursor.count(count, KEY_BYTES_MIN, "keys")?;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let key = cursor.text(KEY_BYTES_MAX, "a key")?;
        if key.is_empty() {
            return Err(GgufError::EmptyKey);
        }
        let stored = read_value(cursor, key)?;
        entries.push(MetadataEntry { key: key.into(), stored });
    }
    entries.sort_unstable_by(|a: &MetadataEntry, b| a.key.cmp(&b.key));
    match entries.windows(2).find(|pair| pair[0].key == pair[1].key) {
        Some(pair) => Err(GgufError::DuplicateKey { key: pair[0].key.clone() }),
        None => Ok(entries),
    }
}

fn read_value(cursor: &mut Cursor<'_>, key: &str) -> Result<Stored, GgufError> {
    let value = read_type(cursor, key)?;
    if value != ValueType::Array {
        let start = cursor.at();
        skip(cursor, key, value, 0)?;
        return Ok(Stored::Plain { value, range: start..cursor.at() });
    }
    let (element, len) = read_array_head(cursor, key)?;
    let start = cursor.at();
    skip_elements(cursor, key, element, len, 0)?;
    Ok(Stored::Array { element, len, range: start..cursor.at() })
}

fn read_type(cursor: &mut Cursor<'_>, key: &str) -> Result<ValueType, GgufError> {
    let found = cursor.u32("a value's type")?;
    ValueType::from_number(found).ok_or_else(|| GgufError::ValueType { key: key.into(), found })
}

fn read_array_head(cursor: &mut Cursor<'_>, key: &str) -> Result<(ValueType, usize), GgufError> {
    let element = read_type(cursor, key)?;
    let count = cursor.u64("an array's length")?;
    let bytes_min = match element {
        ValueType::Text => 8,
        ValueType::Array => 4 + 8,
        fixed => fixed.fixed_bytes().unwrap_or(1),
    };
    Ok((element, cursor.count(count, bytes_min, "values of an array")?))
}

/// Walks over one value and checks it. What was walked over can be read without further checks.
fn skip(cursor: &mut Cursor<'_>, key: &str, value: ValueType, depth: u32) -> Result<(), GgufError> {
    match value {
        ValueType::Text => cursor.text(u64::MAX, "a string").map(drop),
        ValueType::Array if depth >= DEPTH_MAX => Err(GgufError::TooDeep { key: key.into() }),
        ValueType::Array => {
            let (element, len) = read_array_head(cursor, key)?;
            skip_elements(cursor, key, element, len, depth + 1)
        }
        fixed => skip_elements(cursor, key, fixed, 1, depth),
    }
}

fn skip_elements(
    cursor: &mut Cursor<'_>,
    key: &str,
    element: ValueType,
    len: usize,
    depth: u32,
) -> Result<(), GgufError> {
    let Some(size) = element.fixed_bytes() else {
        return (0..len).try_for_each(|_| skip(cursor, key, element, depth));
    };
    let bytes = cursor.take(size.saturating_mul(len as u64), "a value")?;
    match bytes.iter().find(|&&byte| element == ValueType::Bool && byte > 1) {
        Some(&found) => Err(GgufError::Bool { key: key.into(), found }),
        None => Ok(()),
    }
}

fn alignment(metadata: &Metadata<'_>) -> Result<usize, GgufError> {
    let Some(value) = metadata.get(ALIGNMENT_KEY) else { return Ok(ALIGNMENT_DEFAULT) };
    let Value::Unsigned(found) = value else { return Err(GgufError::AlignmentType) };
    let is_right = found.is_power_of_two() && (ALIGNMENT_UNIT..=ALIGNMENT_MAX).contains(&found);
    match usize::try_from(found) {
        Ok(alignment) if is_right => Ok(alignment),
        _ => Err(GgufError::Alignment { found }),
    }
}

/// Reads the tensors' descriptions. Their ranges are relative to the start of the data.
fn read_tensors(
    cursor: &mut Cursor<'_>,
    count: u64,
    alignment: usize,
) -> Result<Vec<TensorEntry>, GgufError> {
    let count = cursor.count(count, TENSOR_BYTES_MIN, "tensors")?;
    let mut tensors = Vec::with_capacity(count);
    for _ in 0..count {
        tensors.push(read_tensor(cursor, alignment)?);
    }
    Ok(tensors)
}

fn read_tensor(cursor: &mut Cursor<'_>, alignment: usize) -> Result<TensorEntry, GgufError> {
    let name = cursor.text(u64::MAX, "a tensor's name")?;
    tensor::check_name(name)?;
    let wrong = |kind| TensorError::new(name, kind);
    let dimensions = cursor.u32("a tensor's dimensions")?;
    if dimensions as usize > DIMENSIONS_MAX {
        let (found, at_most) = (u64::from(dimensions), DIMENSIONS_MAX as u64);
        return Err(wrong(TensorErrorKind::Dimensions { found, at_most }).into());
    }
    let mut shape = Vec::with_capacity(DIMENSIONS_MAX);
    for dimension in 0..dimensions as usize {
        let size = cursor.u64("a tensor's dimension")?;
        if size == 0 {
            return Err(wrong(TensorErrorKind::ZeroDimension { dimension }).into());
        }
        shape.push(usize::try_from(size).map_err(|_| wrong(TensorErrorKind::Overflow))?);
    }
    shape.reverse();
    let number = cursor.u32("a tensor's type")?;
    let Some(dtype) = Dtype::from_gguf_number(number) else {
        return Err(wrong(TensorErrorKind::UnknownType { found: error::type_name(number) }).into());
    };
    let offset = cursor.u64("a tensor's offset")?;
    if offset % alignment as u64 != 0 {
        let alignment = alignment as u64;
        return Err(wrong(TensorErrorKind::Misaligned { offset, alignment }).into());
    }
    let row = shape.last().copied().unwrap_or(1);
    if row % dtype.block_len() != 0 {
        return Err(wrong(TensorErrorKind::PartialBlock { row, dtype }).into());
    }
    let overflow = || wrong(TensorErrorKind::Overflow);
    let length = dtype.bytes_of(&shape).ok_or_else(overflow)?;
    let start = usize::try_from(offset).map_err(|_| overflow())?;
    let end = start.checked_add(length).ok_or_else(overflow)?;
    Ok(TensorEntry { name: name.into(), dtype, shape: shape.into(), range: start..end, part: 0 })
}

/// Checks the positions of the tensors and makes their ranges relative to the start of the file.
fn locate_data(
    tensors: &mut [TensorEntry],
    header: usize,
    file: usize,
    alignment: usize,
) -> Result<(), GgufError> {
    if tensors.is_empty() {
        // A file with only a vocabulary: nothing but padding may follow.
        return match file - header {
            padding if padding < alignment => Ok(()),
            bytes => Err(GgufError::Trailing { bytes: bytes as u64 }),
        };
    }
    let (expected, found) = (header.checked_next_multiple_of(alignment), file as u64);
    let start = expected.filter(|&start| start <= file).ok_or(GgufError::NoData { found })?;
    let end = tensor::check_layout(tensors, file - start, alignment)?;
    // Not all writers pad the last tensor; nothing may follow its padding.
    if let Some(bytes @ 1..) = (file - start).checked_sub(end) {
        return Err(GgufError::Trailing { bytes: bytes as u64 });
    }
    for tensor in tensors {
        // No overflow: `check_layout` compared every end with the bytes after `start`.
        tensor.range = tensor.range.start + start..tensor.range.end + start;
    }
    Ok(())
}
