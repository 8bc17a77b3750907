//! Writes GGUF, version 3.

use std::io::Write;
use std::path::Path;

use super::{NewTensor, WriteWeightsError, WriteWeightsErrorKind, atomic, check, check_keys};
use crate::dtype::Dtype;
use crate::gguf::{ALIGNMENT_DEFAULT, ALIGNMENT_KEY, DIMENSIONS_MAX, MAGIC};
use crate::hash::WeightsHash;
use crate::metadata::{RawValue, ValueType};
use crate::tensor::{TensorError, TensorErrorKind};

const VERSION: u32 = 3;

/// A metadata value to write.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum NewValue<'a> {
    /// An unsigned 32-bit integer.
    U32(u32),
    /// A signed 32-bit integer.
    I32(i32),
    /// An unsigned 64-bit integer.
    U64(u64),
    /// A 32-bit float.
    F32(f32),
    /// A boolean.
    Bool(bool),
    /// A string.
    Text(&'a str),
    /// An array of strings.
    Texts(&'a [&'a str]),
    /// An array of signed 32-bit integers, such as token types.
    I32s(&'a [i32]),
    /// An array of 32-bit floats, such as token scores.
    F32s(&'a [f32]),
    /// A raw value of another file.
    Raw(RawValue<'a>),
}

/// A tensor whose bytes are produced when they are written.
#[derive(Debug, Clone)]
pub struct PlannedTensor {
    /// The name.
    pub name: String,
    /// The storage type.
    pub dtype: Dtype,
    /// The dimensions, outermost first.
    pub shape: Vec<usize>,
}

/// Writes a GGUF file atomically with one tensor in memory at a time: `make` returns the bytes of each in turn. If it
/// fails, no file is written.
pub fn write_gguf_planned(
    path: impl AsRef<Path>,
    metadata: &[(&str, NewValue<'_>)],
    tensors: &[PlannedTensor],
    mut make: impl FnMut(&PlannedTensor) -> std::io::Result<Vec<u8>>,
) -> Result<WeightsHash, WriteWeightsError> {
    let path = path.as_ref();
    let mut checked = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let (name, dtype, shape) = (&*tensor.name, tensor.dtype, &*tensor.shape);
        let wrong = |kind| WriteWeightsErrorKind::from(TensorError::new(name, kind)).at(path);
        let Some(bytes) = dtype.bytes_of(shape) else { return Err(wrong(TensorErrorKind::Overflow)) };
        checked.push((name, dtype, shape, bytes));
    }
    check_shapes(checked.iter().map(|(name, _, shape, _)| (*name, *shape))).map_err(|kind| kind.at(path))?;
    check_names_and_types(&checked).map_err(|kind| kind.at(path))?;
    let keys = metadata.iter().map(|(key, _)| *key);
    check_keys(keys, Some(ALIGNMENT_KEY)).map_err(|kind| kind.at(path))?;
    let header = header(metadata, checked.iter().copied());
    let written = atomic::write(path, |sink| {
        sink.write_all(&header)?;
        let mut at = atomic::pad(sink, header.len(), ALIGNMENT_DEFAULT)?;
        for (tensor, (_, _, _, expected)) in tensors.iter().zip(&checked) {
            let bytes = make(tensor)?;
            if bytes.len() != *expected {
                return Err(std::io::Error::other(format!("tensor {:?} has the wrong length", tensor.name)));
            }
            sink.write_all(&bytes)?;
            at = atomic::pad(sink, at + bytes.len(), ALIGNMENT_DEFAULT)?;
        }
        Ok(())
    });
    written.map_err(|error| WriteWeightsErrorKind::from(error).at(path))
}

/// Refuses dimensions of zero and too many dimensions.
fn check_shapes<'t>(
    shapes: impl Iterator<Item = (&'t str, &'t [usize])>,
) -> Result<(), WriteWeightsErrorKind> {
    for (name, shape) in shapes {
        if let Some(dimension) = shape.iter().rev().position(|&size| size == 0) {
            return Err(TensorError::new(name, TensorErrorKind::ZeroDimension { dimension }).into());
        }
        if shape.len() > DIMENSIONS_MAX {
            let (found, at_most) = (shape.len() as u64, DIMENSIONS_MAX as u64);
            return Err(TensorError::new(name, TensorErrorKind::Dimensions { found, at_most }).into());
        }
    }
    Ok(())
}

/// Refuses names that readers would refuse, duplicate names, and types that the format does not have.
fn check_names_and_types(tensors: &[(&str, Dtype, &[usize], usize)]) -> Result<(), WriteWeightsErrorKind> {
    let mut names = std::collections::BTreeSet::new();
    for (name, dtype, _, _) in tensors {
        crate::tensor::check_name(name)?;
        if dtype.gguf_number().is_none() {
            let found = dtype.name().into();
            return Err(TensorError::new(name, TensorErrorKind::UnknownType { found }).into());
        }
        if !names.insert(*name) {
            return Err(TensorError::new(name, TensorErrorKind::Duplicate).into());
        }
    }
    Ok(())
}

/// Writes a GGUF file atomically and returns its hash. Keys and tensors keep the given order.
pub fn write_gguf(
    path: impl AsRef<Path>,
    metadata: &[(&str, NewValue<'_>)],
    tensors: &[NewTensor<'_>],
) -> Result<WeightsHash, WriteWeightsError> {
    let path = path.as_ref();
    write(path, metadata, tensors).map_err(|kind| kind.at(path))
}

fn write(
    path: &Path,
    metadata: &[(&str, NewValue<'_>)],
    tensors: &[NewTensor<'_>],
) -> Result<WeightsHash, WriteWeightsErrorKind> {
    check(tensors, DIMENSIONS_MAX, |dtype| dtype.gguf_number().is_some())?;
    check_shapes(tensors.iter().map(|tensor| (tensor.name, tensor.shape)))?;
    check_keys(metadata.iter().map(|(key, _)| *key), Some(ALIGNMENT_KEY))?;
    let described =
        tensors.iter().map(|tensor| (tensor.name, tensor.dtype, tensor.shape, tensor.bytes.len()));
    let header = header(metadata, described);
    let hash = atomic::write(path, |sink| {
        sink.write_all(&header)?;
        let mut at = atomic::pad(sink, header.len(), ALIGNMENT_DEFAULT)?;
        for tensor in tensors {
            sink.write_all(tensor.bytes)?;
            at = atomic::pad(sink, at + tensor.bytes.len(), ALIGNMENT_DEFAULT)?;
        }
        Ok(())
    })?;
    Ok(hash)
}

/// Returns everything before the data. Each tensor is given as name, type, shape and length.
fn header<'t>(
    metadata: &[(&str, NewValue<'_>)],
    tensors: impl ExactSizeIterator<Item = (&'t str, Dtype, &'t [usize], usize)>,
) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend(VERSION.to_le_bytes());
    put_u64(&mut out, tensors.len());
    put_u64(&mut out, metadata.len());
    for (key, value) in metadata {
        put_text(&mut out, key);
        put_value(&mut out, *value);
    }
    let mut offset = 0usize;
    for (name, dtype, shape, bytes) in tensors {
        put_text(&mut out, name);
        out.extend((shape.len() as u32).to_le_bytes());
        shape.iter().rev().for_each(|&size| put_u64(&mut out, size));
        out.extend(dtype.gguf_number().unwrap_or_default().to_le_bytes());
        put_u64(&mut out, offset);
        offset = (offset + bytes).next_multiple_of(ALIGNMENT_DEFAULT);
    }
    out
}

fn put_u64(out: &mut Vec<u8>, value: usize) {
    out.extend((value as u64).to_le_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_u64(out, text.len());
    out.extend(text.as_bytes());
}

fn put_type(out: &mut Vec<u8>, value: ValueType) {
    out.extend(value.number().to_le_bytes());
}

fn put_value(out: &mut Vec<u8>, value: NewValue<'_>) {
    match value {
        NewValue::U32(value) => put_plain(out, ValueType::U32, &value.to_le_bytes()),
        NewValue::I32(value) => put_plain(out, ValueType::I32, &value.to_le_bytes()),
        NewValue::U64(value) => put_plain(out, ValueType::U64, &value.to_le_bytes()),
        NewValue::F32(value) => put_plain(out, ValueType::F32, &value.to_le_bytes()),
        NewValue::Bool(value) => put_plain(out, ValueType::Bool, &[u8::from(value)]),
        NewValue::Text(text) => {
            put_type(out, ValueType::Text);
            put_text(out, text);
        }
        NewValue::Texts(texts) => {
            put_array_head(out, ValueType::Text, texts.len());
            texts.iter().for_each(|text| put_text(out, text));
        }
        NewValue::I32s(values) => {
            put_array_head(out, ValueType::I32, values.len());
            out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        NewValue::F32s(values) => {
            put_array_head(out, ValueType::F32, values.len());
            out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        NewValue::Raw(raw) => {
            match raw.head {
                Some((element, len)) => put_array_head(out, element, len),
                None => put_type(out, raw.value),
            }
            out.extend(raw.bytes);
        }
    }
}

fn put_plain(out: &mut Vec<u8>, value: ValueType, bytes: &[u8]) {
    put_type(out, value);
    out.extend(bytes);
}

fn put_array_head(out: &mut Vec<u8>, element: ValueType, len: usize) {
    put_type(out, ValueType::Array);
    put_type(out, element);
    put_u64(out, len);
}
