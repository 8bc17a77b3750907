//! Writing GGUF, version 3.

use std::io::Write;
use std::path::Path;

use super::{NewTensor, WriteWeightsError, WriteWeightsErrorKind, atomic, check, check_keys};
use crate::gguf::{ALIGNMENT_DEFAULT, ALIGNMENT_KEY, DIMENSIONS_MAX, MAGIC};
use crate::hash::WeightsHash;
use crate::metadata::ValueType;
use crate::tensor::{TensorError, TensorErrorKind};

const VERSION: u32 = 3;

/// A value to be written.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum NewValue<'a> {
    /// 32 bits, unsigned.
    U32(u32),
    /// 32 bits, signed.
    I32(i32),
    /// 64 bits, unsigned.
    U64(u64),
    /// A single.
    F32(f32),
    /// True or false.
    Bool(bool),
    /// A text.
    Text(&'a str),
    /// Several texts.
    Texts(&'a [&'a str]),
    /// Several signed numbers, such as token types.
    I32s(&'a [i32]),
    /// Several singles, such as token scores.
    F32s(&'a [f32]),
}

/// Writes a GGUF file atomically and returns its hash; keys and tensors stay in the order given.
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
    for tensor in tensors {
        if let Some(dimension) = tensor.shape.iter().rev().position(|&size| size == 0) {
            return Err(TensorError::new(tensor.name, TensorErrorKind::ZeroDimension { dimension }).into());
        }
    }
    check_keys(metadata.iter().map(|(key, _)| *key), Some(ALIGNMENT_KEY))?;
    let header = header(metadata, tensors);
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

fn header(metadata: &[(&str, NewValue<'_>)], tensors: &[NewTensor<'_>]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend(VERSION.to_le_bytes());
    put_u64(&mut out, tensors.len());
    put_u64(&mut out, metadata.len());
    for (key, value) in metadata {
        put_text(&mut out, key);
        put_value(&mut out, *value);
    }
    let mut offset = 0usize;
    for tensor in tensors {
        put_text(&mut out, tensor.name);
        out.extend((tensor.shape.len() as u32).to_le_bytes());
        tensor.shape.iter().rev().for_each(|&size| put_u64(&mut out, size));
        out.extend(tensor.dtype.gguf_number().unwrap_or_default().to_le_bytes());
        put_u64(&mut out, offset);
        offset = (offset + tensor.bytes.len()).next_multiple_of(ALIGNMENT_DEFAULT);
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
