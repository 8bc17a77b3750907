//! The body of a linear tagger's file; reader and writer are side by side.
//!
//! Description (length, JSON), the counts of features and of weights, the transitions, the features' fingerprints in
//! order, the number of weights of each, the weights' tags (two bytes each), the weights.

use super::fit::{Chain, Entry, Weights};
use super::scorer::Scorer;
use super::{LinearTaggerDescription, LinearTaggerModel};
use crate::container::LoadStudentErrorKind;
use crate::linear::format::{Reader, size, write_count, write_floats};
use crate::linear::lookup::Table;
use crate::tagger::SLOTS_MAX;
use crate::tagger::lattice::Transitions;

const FEATURES_MAX: usize = 4_000_000;
/// The largest weight, which keeps every sum in a reading finite: a word has fewer than two hundred features.
const WEIGHT_MAX: f32 = 1e4;

/// Returns the bytes of a description and of a chain over features with these fingerprints, which are in order.
pub(super) fn encode(description: &[u8], keys: &[u64], chain: &Chain) -> Vec<u8> {
    let mut out = Vec::new();
    write_count(&mut out, description.len());
    out.extend_from_slice(description);
    write_chain(&mut out, keys, chain);
    out
}

/// Appends a chain over features with these fingerprints, which are in order.
pub(crate) fn write_chain(out: &mut Vec<u8>, keys: &[u64], chain: &Chain) {
    write_count(out, keys.len());
    write_count(out, chain.weights.entries.len());
    chain.transitions.parts().into_iter().for_each(|part| write_floats(out, part));
    out.extend(keys.iter().flat_map(|key| key.to_le_bytes()));
    for feature in 0..keys.len() {
        write_count(out, chain.weights.of(feature as u32).len());
    }
    out.extend(chain.weights.entries.iter().flat_map(|entry| (entry.tag as u16).to_le_bytes()));
    out.extend(chain.weights.entries.iter().flat_map(|entry| entry.value.to_le_bytes()));
}

/// Parses a body. All sizes are checked against the actual length before anything is allocated, and all numbers
/// against the ranges that training can produce.
pub(super) fn decode(body: &[u8]) -> Result<LinearTaggerModel, LoadStudentErrorKind> {
    let mut reader = Reader { rest: body };
    let json = reader.description()?;
    let description: LinearTaggerDescription =
        serde_json::from_slice(json).map_err(LoadStudentErrorKind::Description)?;
    let slots = description.slots.len();
    size((1..=SLOTS_MAX).contains(&slots), "slots")?;
    size(description.slots.is_sorted_by(|a, b| a < b), "slots that repeat or are out of order")?;
    size(description.seen.is_sound(), "hashes of training texts")?;
    let certainty = description.report.certainty.as_ref();
    size(certainty.is_none_or(super::super::Certainty::is_sound), "weights of the certainty")?;
    let temperature = description.report.temperature;
    if !(1e-3..=1e3).contains(&temperature) {
        return Err(LoadStudentErrorKind::Number { what: "temperature" });
    }
    let scorer = read_chain(&mut reader, slots, 1.0 / temperature)?;
    let exponentials = scorer.transitions.exponentials();
    Ok(LinearTaggerModel { scorer, exponentials, description })
}

/// Reads the chain with this number of slots at the end of a body, and multiplies its numbers by `scale`.
pub(crate) fn read_chain(
    reader: &mut Reader<'_>,
    slots: usize,
    scale: f32,
) -> Result<Scorer, LoadStudentErrorKind> {
    let features = reader.count("features")?;
    let entries = reader.count("weights")?;
    size(features <= FEATURES_MAX, "features")?;
    let mut transitions = Transitions::uniform(slots);
    let transition_count: usize = transitions.parts().iter().map(|part| part.len()).sum();
    let rest =
        entries.checked_mul(6).and_then(|bytes| bytes.checked_add(features * 12 + 4 * transition_count));
    size(rest == Some(reader.rest.len()), "arrays and remaining bytes")?;
    for part in transitions.parts_mut() {
        *part = reader.floats(part.len(), "transition", -WEIGHT_MAX, WEIGHT_MAX)?;
    }
    let keys = reader.keys(features)?;
    let mut ends = Vec::with_capacity(features);
    let mut end = 0usize;
    for _ in 0..features {
        end = end.saturating_add(reader.count("weights of a feature")?);
        ends.push(end as u32);
    }
    size(end == entries, "weights of the features")?;
    let (pairs, _) = reader.take(2 * entries, "tags")?.as_chunks::<2>();
    let tags: Vec<u16> = pairs.iter().map(|bytes| u16::from_le_bytes(*bytes)).collect();
    size(tags.iter().all(|tag| usize::from(*tag) < transitions.tags()), "tags")?;
    let values = reader.floats(entries, "weight", -WEIGHT_MAX, WEIGHT_MAX)?;
    let entry = |(tag, value): (u16, f32)| Entry { tag: u32::from(tag), value: scale * value };
    let entries = tags.into_iter().zip(values).map(entry).collect();
    transitions.parts_mut().into_iter().flatten().for_each(|step| *step *= scale);
    let table = Table::new(&keys, 0)
        .ok_or(LoadStudentErrorKind::Number { what: "fingerprints that repeat or cluster" })?;
    Ok(Scorer { table, weights: Weights { ends, entries }, transitions })
}
