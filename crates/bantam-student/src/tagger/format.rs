//! The body of a tagger's file; reader and writer side by side.
//!
//! Description (length, JSON), the head's weights, a row of the base's width for each tag, its biases, and the changes
//! of the base; then, where the report has a factor for it, the chain over words as in a linear tagger's file.

use bantam_engine::EncoderAdapter;

use super::linear::format::{read_chain, write_chain};
use super::linear::scorer::Scorer;
use super::{SLOTS_MAX, TaggerDescription, WordChain};
use crate::container::LoadStudentErrorKind;
use crate::encoder::adapter::{read_adapter, write_adapter};
use crate::linear::format::{Reader, size, write_count, write_floats};

/// Bounds of what a file may ask for.
const WIDTH_MAX: u32 = 1 << 16;
/// Bound that keeps every sum in a prediction finite.
const WEIGHT_MAX: f32 = 1e6;
/// Bound of what the chain's numbers are multiplied with.
const FACTOR_MAX: f32 = 1e3;
/// Tokens that are enough for a word between what begins and ends a sequence.
const TOKENS_MIN: u32 = 4;

/// Everything an extraction needs but the base.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) weights: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) description: TaggerDescription,
    pub(super) adapter: EncoderAdapter,
    /// What words themselves say, the factor already in its numbers.
    pub(super) words: Option<Scorer>,
}

/// The bytes of a head's weights and biases, of changes, of what words say and of their description.
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
    let certainty = description.report.certainty.as_ref();
    size(certainty.is_none_or(super::Certainty::is_sound), "weights of the certainty")?;
    size((TOKENS_MIN..=description.base.tokens_max).contains(&description.tokens_max), "tokens of a window")?;
    let factor = description.report.words_factor;
    if factor.is_some_and(|factor| !(0.0..=FACTOR_MAX).contains(&factor)) {
        return Err(LoadStudentErrorKind::Number { what: "factor of the words" });
    }
    let (tags, width) = (1 + 2 * slots, width as usize);
    let numbers = tags * (width + 1) + description.adapter.numbers()?;
    let bytes = numbers.checked_mul(4).and_then(|bytes| reader.rest.len().checked_sub(bytes));
    size(bytes.is_some_and(|rest| (rest > 0) == factor.is_some()), "arrays and bytes left")?;
    let weights = reader.floats(tags * width, "weight", -WEIGHT_MAX, WEIGHT_MAX)?;
    let bias = reader.floats(tags, "bias", -WEIGHT_MAX, WEIGHT_MAX)?;
    let adapter = read_adapter(&mut reader, &description.adapter)?;
    let words = factor.map(|factor| read_chain(&mut reader, slots, factor)).transpose()?;
    Ok(Head { weights, bias, description, adapter, words })
}
