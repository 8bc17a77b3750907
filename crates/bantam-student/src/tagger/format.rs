//! The body of a tagger's file; reader and writer are side by side.
//!
//! Description (length, JSON), the head's weights (one row of the base's width for each tag), its biases, and the
//! base's adapter. If the report has a factor for it, the chain over words follows, as in a linear tagger's file.

use bantam_engine::EncoderAdapter;

use super::linear::format::{read_chain, write_chain};
use super::linear::scorer::Scorer;
use super::{SLOTS_MAX, TaggerDescription, WordChain};
use crate::container::LoadStudentErrorKind;
use crate::encoder::adapter::{read_adapter, write_adapter};
use crate::linear::format::{Reader, size, write_count, write_floats};

/// The largest width of a state.
const WIDTH_MAX: u32 = 1 << 16;
/// The largest weight, which keeps every sum in a prediction finite.
const WEIGHT_MAX: f32 = 1e6;
/// The largest factor on the chain's numbers.
const FACTOR_MAX: f32 = 1e3;
/// The fewest tokens that fit a word between the special tokens.
const TOKENS_MIN: u32 = 4;

/// Everything that an extraction needs besides the base.
#[derive(Debug, Clone)]
pub(super) struct TaggerHead {
    pub(super) weights: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) description: TaggerDescription,
    pub(super) adapter: EncoderAdapter,
    /// The chain over words, already multiplied by its factor.
    pub(super) words: Option<Scorer>,
}

/// Returns the bytes of a description, a head's weights and biases, an adapter and a chain over words.
pub(super) fn encode(
    description: &[u8],
    (weights, bias): (&[f32], &[f32]),
    adapter: &EncoderAdapter,
    words: Option<&WordChain>,
) -> Vec<u8> {
    let mut out = Vec::new();
    write_count(&mut out, description.len());
    out.extend_from_slice(description);
    write_floats(&mut out, weights);
    write_floats(&mut out, bias);
    write_adapter(&mut out, adapter);
    if let Some(words) = words {
        write_chain(&mut out, &words.keys, &words.chain);
    }
    out
}

/// Parses a body. All sizes are checked against the actual length before anything is allocated, and all numbers
/// against the ranges that training can produce.
pub(super) fn decode(body: &[u8]) -> Result<TaggerHead, LoadStudentErrorKind> {
    let mut reader = Reader { rest: body };
    let json = reader.description()?;
    let description: TaggerDescription =
        serde_json::from_slice(json).map_err(LoadStudentErrorKind::Description)?;
    let (slots, width) = (description.slots.len(), description.base.width);
    size((1..=SLOTS_MAX).contains(&slots), "slots")?;
    size(description.slots.is_sorted_by(|a, b| a < b), "slots that repeat or are out of order")?;
    size((1..=WIDTH_MAX).contains(&width), "width of the base's states")?;
    size(description.seen.is_sound(), "hashes of training texts")?;
    let temperature = description.report.temperature;
    if !(1e-3..=1e3).contains(&temperature) {
        return Err(LoadStudentErrorKind::Number { what: "temperature" });
    }
    let certainty = description.report.certainty.as_ref();
    size(certainty.is_none_or(super::Certainty::is_sound), "weights of the certainty")?;
    size((TOKENS_MIN..=description.base.tokens_max).contains(&description.tokens_max), "tokens per window")?;
    let factor = description.report.words_factor;
    if factor.is_some_and(|factor| !(0.0..=FACTOR_MAX).contains(&factor)) {
        return Err(LoadStudentErrorKind::Number { what: "factor of the word chain" });
    }
    let (tags, width) = (1 + 2 * slots, width as usize);
    let numbers = tags * (width + 1) + description.adapter.numbers()?;
    let bytes = numbers.checked_mul(4).and_then(|bytes| reader.rest.len().checked_sub(bytes));
    size(bytes.is_some_and(|rest| (rest > 0) == factor.is_some()), "arrays and remaining bytes")?;
    let weights = reader.floats(tags * width, "weight", -WEIGHT_MAX, WEIGHT_MAX)?;
    let bias = reader.floats(tags, "bias", -WEIGHT_MAX, WEIGHT_MAX)?;
    let adapter = read_adapter(&mut reader, &description.adapter)?;
    let words = factor.map(|factor| read_chain(&mut reader, slots, factor)).transpose()?;
    Ok(TaggerHead { weights, bias, description, adapter, words })
}
