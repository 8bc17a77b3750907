//! The body of an encoder student's file; reader and writer side by side.
//!
//! Description (length, JSON), the model of a linear student (without n-grams, where it looks at none), and the
//! weights of the base's vector: one row of labels for each of its numbers. Then, where the description names them, the
//! changes of the base.

use bantam_engine::EncoderAdapter;

use super::adapter::{AdapterDescription, read_adapter, write_adapter};
use super::describe::EncoderDescription;
use crate::container::LoadStudentErrorKind;
use crate::linear::format::{Reader, read_model, size, write_count, write_floats, write_model};
use crate::linear::lookup::Lookup;
use crate::linear::matrix::stride;
use crate::linear::model::Model;

/// Numbers of a vector at most, far above any encoder's.
const WIDTH_MAX: u32 = 1 << 16;
/// Bound that keeps every sum in a prediction finite.
const WEIGHT_MAX: f32 = 1e6;

/// Everything a prediction needs but the base.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) model: Model,
    pub(super) lookup: Lookup,
    /// For each number of the base's vector one row of padded labels.
    pub(super) dense: Vec<f32>,
    pub(super) description: EncoderDescription,
    /// The changes of the base.
    pub(super) adapter: Option<Box<EncoderAdapter>>,
}

/// The bytes of a model, of the weights of the base's vector and of their description.
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

/// What a body holds. All sizes are checked against the bytes there are before anything is allocated, and all
/// numbers against what training can give.
pub(super) fn decode(body: &[u8]) -> Result<Head, LoadStudentErrorKind> {
    let mut reader = Reader { rest: body };
    let json = reader.description()?;
    let description: EncoderDescription =
        serde_json::from_slice(json).map_err(LoadStudentErrorKind::Description)?;
    let width = description.base.width;
    size((1..=WIDTH_MAX).contains(&width), "numbers of the base's vector")?;
    let (width, classes) = (width as usize, description.labels.len());
    let of_adapter = description.adapter.as_deref().map_or(Ok(0), AdapterDescription::numbers)?;
    let bytes_after = classes.saturating_mul(4 * width).saturating_add(4 * of_adapter);
    let (model, lookup) = read_model(&mut reader, &description.labels, &description.seen, bytes_after)?;
    let stride = stride(classes);
    let mut dense = vec![0.0; width * stride];
    for row in dense.chunks_exact_mut(stride) {
        let weights = reader.floats(classes, "weight", -WEIGHT_MAX, WEIGHT_MAX)?;
        row[..classes].copy_from_slice(&weights);
    }
    let adapter =
        description.adapter.as_deref().map(|adapter| read_adapter(&mut reader, adapter)).transpose()?;
    Ok(Head { model, lookup, dense, description, adapter: adapter.map(Box::new) })
}
