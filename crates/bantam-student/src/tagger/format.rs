//! The body of a tagger's file; reader and writer side by side.
//!
//! Description (length, JSON), the head's weights, a row of the base's width for each tag, its biases, and the changes
//! of the base.

use bantam_engine::EncoderAdapter;

use super::{SLOTS_MAX, TaggerDescription};
use crate::container::LoadStudentErrorKind;
use crate::encoder::adapter::{read_adapter, write_adapter};
use crate::linear::format::{Reader, size, write_count, write_floats};

/// Bounds of what a file may ask for.
const WIDTH_MAX: u32 = 1 << 16;
/// Bound that keeps every sum in a prediction finite.
const WEIGHT_MAX: f32 = 1e6;

/// Everything an extraction needs but the base.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) weights: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) description: TaggerDescription,
    pub(super) adapter: EncoderAdapter,
}

/// The bytes of a head, of changes and of their description.
pub(super) fn encode(description: &[u8], weights: &[f32], bias: &[f32], adapter: &EncoderAdapter) -> Vec<u8> {
    let mut out = Vec::new();
    write_count(&mut out, description.len());
    out.extend_from_slice(description);
    write_floats(&mut out, weights);
    write_floats(&mut out, bias);
    write_adapter(&mut out, adapter);
    out
}

/// What a body holds. All sizes are checked against the bytes there are before anything is allocated, and all
/// numbers against what training can give.
pub(super) fn decode(body: &[u8]) -> Result<Head, LoadStudentErrorKind> {
    let mut reader = Reader { rest: body };
    let json = reader.description()?;
    let description: TaggerDescription =
        serde_json::from_slice(json).map_err(LoadStudentErrorKind::Description)?;
    let (slots, width) = (description.slots.len(), description.base.width);
    size((1..=SLOTS_MAX).contains(&slots), "slots")?;
    size(description.slots.is_sorted_by(|a, b| a < b), "slots that repeat or are out of order")?;
    size((1..=WIDTH_MAX).contains(&width), "numbers of the base's states")?;
    size(description.seen.is_sound(), "hashes of training texts")?;
    let temperature = description.report.temperature;
    if !(1e-3..=1e3).contains(&temperature) {
        return Err(LoadStudentErrorKind::Number { what: "temperature" });
    }
    let (tags, width) = (1 + 2 * slots, width as usize);
    let numbers = tags * (width + 1) + description.adapter.numbers()?;
    size(numbers.checked_mul(4) == Some(reader.rest.len()), "arrays and bytes left")?;
    let weights = reader.floats(tags * width, "weight", -WEIGHT_MAX, WEIGHT_MAX)?;
    let bias = reader.floats(tags, "bias", -WEIGHT_MAX, WEIGHT_MAX)?;
    let adapter = read_adapter(&mut reader, &description.adapter)?;
    Ok(Head { weights, bias, description, adapter })
}
