//! Exports the base with the adapter merged into its weights.

use std::borrow::Cow;
use std::path::Path;

use bantam_kernels::{Matrix, MatrixMut, Write, multiply};
use bantam_weights::{
    Array, Dtype, Format, Metadata, NewTensor, NewValue, Value, WeightFile, quantise, write_gguf,
    write_safetensors,
};

use super::{DecoderExportError, LoraUpdate, updates};
use crate::decoder::DecoderNetwork;
use crate::layout::Layout;

/// A tensor's name, type, shape and bytes.
type Merged<'m> = (&'m str, Dtype, &'m [usize], Cow<'m, [u8]>);

/// Writes the base with its adapter merged in: for a GGUF base, a GGUF file; for a folder, `model.safetensors` in the
/// folder `out` with copies of the base's other files. Tensors keep their types, so a quantised base is rounded again.
///
/// # Errors
/// [`DecoderExportError`] if the base can no longer be read or the result cannot be written.
pub fn write_merged(
    base: &Path,
    out: &Path,
    (network, layout, parameters): (&DecoderNetwork, &Layout, &[f32]),
) -> Result<(), DecoderExportError> {
    let Some((rank, alpha)) = network.adapter() else {
        return Err(DecoderExportError::Form {
            what: "a decoder trained from scratch has no base to merge into",
        });
    };
    let file = WeightFile::open(base)?;
    let is_gguf = matches!(file.format(), Format::Gguf { .. });
    let updates = updates(network, layout, parameters);
    let scale = alpha / rank as f32;
    let mut all: Vec<Merged<'_>> = Vec::new();
    for (name, view) in file.tensors() {
        let named = |update: &&LoraUpdate<'_>| match is_gguf {
            true => name == format!("blk.{}.{}.weight", update.layer, update.names.1),
            false => name == format!("model.layers.{}.{}.weight", update.layer, update.names.0),
        };
        let bytes = match updates.iter().find(named) {
            None => Cow::Borrowed(view.bytes()),
            Some(update) => {
                let mut numbers = view.to_f32()?;
                let interleaved = update.interleaved(network.config()).filter(|_| is_gguf);
                let b = update.to_file_order(update.b, rank, interleaved);
                let (outputs, inputs) = (update.outputs, update.inputs);
                let into = MatrixMut::new(&mut numbers, outputs, inputs);
                let a = Matrix::new(update.a, rank, inputs);
                multiply(Matrix::new(&b, outputs, rank), a, scale, into, Write::Add);
                Cow::Owned(quantise(view.dtype(), &numbers)?)
            }
        };
        all.push((name, view.dtype(), view.shape(), bytes));
    }
    let tensors: Vec<NewTensor<'_>> = all
        .iter()
        .map(|(name, dtype, shape, bytes)| NewTensor { name, dtype: *dtype, shape, bytes })
        .collect();
    if is_gguf {
        let arrays = arrays(file.metadata());
        write_gguf(out, &values(file.metadata(), &arrays), &tensors)?;
        return Ok(());
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| DecoderExportError::File { path, source }
    };
    std::fs::create_dir_all(out).map_err(failed(out))?;
    let folder = if base.is_dir() { base } else { base.parent().unwrap_or(base) };
    for entry in std::fs::read_dir(folder).map_err(failed(folder))?.flatten() {
        let path = entry.path();
        let is_config = path.extension().is_some_and(|extension| extension == "json" || extension == "jinja");
        let is_index = path.to_string_lossy().ends_with(".index.json");
        if is_config && !is_index && path.is_file() {
            let to = out.join(entry.file_name());
            std::fs::copy(&path, &to).map_err(failed(&to))?;
        }
    }
    write_safetensors(out.join("model.safetensors"), &[("format", "pt")], &tensors)?;
    Ok(())
}

/// An array of a file's metadata.
enum Items<'m> {
    Texts(Vec<&'m str>),
    I32s(Vec<i32>),
    F32s(Vec<f32>),
}

fn items<'m>(array: &Array<'m>) -> Items<'m> {
    let values: Vec<Value<'m>> = array.iter().collect();
    match values.first() {
        Some(Value::Text(_)) => Items::Texts(
            values
                .iter()
                .filter_map(|value| if let Value::Text(text) = value { Some(*text) } else { None })
                .collect(),
        ),
        Some(Value::Float(_)) => Items::F32s(
            values
                .iter()
                .filter_map(
                    |value| if let Value::Float(number) = value { Some(*number as f32) } else { None },
                )
                .collect(),
        ),
        _ => Items::I32s(
            values
                .iter()
                .filter_map(|value| match value {
                    Value::Unsigned(number) => i32::try_from(*number).ok(),
                    Value::Signed(number) => i32::try_from(*number).ok(),
                    Value::Bool(is) => Some(i32::from(*is)),
                    _ => None,
                })
                .collect(),
        ),
    }
}

fn arrays<'m>(metadata: Metadata<'m>) -> Vec<(&'m str, Items<'m>)> {
    let array = |key| match metadata.get(key) {
        Some(Value::Array(array)) => Some((key, items(&array))),
        _ => None,
    };
    metadata.keys().filter_map(array).collect()
}

fn values<'a>(metadata: Metadata<'a>, arrays: &'a [(&'a str, Items<'a>)]) -> Vec<(&'a str, NewValue<'a>)> {
    let plain = metadata.keys().filter_map(|key| {
        // The writer sets this key itself.
        if key == "general.alignment" {
            return None;
        }
        let value = match metadata.get(key)? {
            Value::Unsigned(number) => u32::try_from(number).map_or(NewValue::U64(number), NewValue::U32),
            Value::Signed(number) => NewValue::I32(i32::try_from(number).ok()?),
            Value::Float(number) => NewValue::F32(number as f32),
            Value::Bool(is) => NewValue::Bool(is),
            Value::Text(text) => NewValue::Text(text),
            _ => return None,
        };
        Some((key, value))
    });
    let arrays = arrays.iter().map(|(key, items)| {
        let value = match items {
            Items::Texts(texts) => NewValue::Texts(texts),
            Items::I32s(numbers) => NewValue::I32s(numbers),
            Items::F32s(numbers) => NewValue::F32s(numbers),
        };
        (*key, value)
    });
    plain.chain(arrays).collect()
}
