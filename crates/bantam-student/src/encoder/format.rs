//! The body of an encoder student's file; reader and writer are side by side.
//!
//! Description (length, JSON), the model of a linear student (without n-grams if it does not use them), and the
//! weights of the base's vector: one row of labels for each of its numbers. If the description names an adapter of the
//! base, its numbers follow.

use bantam_engine::EncoderAdapter;

use super::adapter::{AdapterDescription, read_adapter, write_adapter};
use super::describe::EncoderDescription;
use crate::container::LoadStudentErrorKind;
use crate::linear::format::{Reader, read_model, size, write_count, write_floats, write_model};
use crate::linear::lookup::FeatureLookup;
use crate::linear::matrix::stride;
use crate::linear::model::Model;

/// The largest width of a vector, far above any encoder's.
const WIDTH_MAX: u32 = 1 << 16;
/// The largest weight, which keeps every sum in a prediction finite.
const WEIGHT_MAX: f32 = 1e6;

/// Everything that a prediction needs besides the base.
#[derive(Debug, Clone)]
pub(super) struct EncoderHead {
    pub(super) model: Model,
    pub(super) lookup: FeatureLookup,
    /// One row of padded labels for each number of the base's vector.
    pub(super) dense: Vec<f32>,
    pub(super) description: EncoderDescription,
    /// The base's adapter, if it was tuned.
    pub(super) adapter: Option<Box<EncoderAdapter>>,
}

/// Returns the bytes of a description, a model, the weights of the base's vector and the base's adapter.
pub(super) fn encode(
    model: &Model,
    dense: &[f32],
    adapter: Option<&EncoderAdapter>,
    description: &[u8],
) -> Vec<u8> {
    let mut out = Vec::new();
    write_count(&mut out, description.len());
    out.extend_from_slice(description);
    write_model(&mut out, model);
    for row in dense.chunks_exact(stride(model.classes())) {
        write_floats(&mut out, &row[..model.classes()]);
    }
    if let Some(adapter) = adapter {
        write_adapter(&mut out, adapter);
    }
    out
}

/// Parses a body. All sizes are checked against the actual length before anything is allocated, and all numbers
/// against the ranges that training can produce.
pub(super) fn decode(body: &[u8]) -> Result<EncoderHead, LoadStudentErrorKind> {
    let mut reader = Reader { rest: body };
    let json = reader.description()?;
    let description: EncoderDescription =
        serde_json::from_slice(json).map_err(LoadStudentErrorKind::Description)?;
    let width = description.base.width;
    size((1..=WIDTH_MAX).contains(&width), "width of the base's vector")?;
    let (width, classes) = (width as usize, description.labels.len());
    let adapter_numbers = description.adapter.as_deref().map_or(Ok(0), AdapterDescription::numbers)?;
    let bytes_after = classes.saturating_mul(4 * width).saturating_add(4 * adapter_numbers);
    let (model, lookup) = read_model(&mut reader, &description.labels, &description.seen, bytes_after)?;
    let stride = stride(classes);
    let mut dense = vec![0.0; width * stride];
    for row in dense.chunks_exact_mut(stride) {
        let weights = reader.floats(classes, "weight", -WEIGHT_MAX, WEIGHT_MAX)?;
        row[..classes].copy_from_slice(&weights);
    }
    let adapter =
        description.adapter.as_deref().map(|adapter| read_adapter(&mut reader, adapter)).transpose()?;
    Ok(EncoderHead { model, lookup, dense, description, adapter: adapter.map(Box::new) })
}
