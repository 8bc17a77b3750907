//! The body of a linear student's file; reader and writer are side by side.
//!
//! Description (length, JSON), then the counts of word n-grams, n-grams and classes, the out-of-scope class, the
//! calibration, and the arrays in the order of [`Model`]. Weights are stored without padding.

use super::config::FEATURES_MAX;
use super::describe::Description;
use super::lookup::FeatureLookup;
use super::matrix::stride;
use super::model::Model;
use super::vocabulary::{Vocabulary, Weighting};
use crate::container::LoadStudentErrorKind;
use crate::seen::SeenTexts;

const CLASSES_MAX: usize = 10_000;
const NO_CLASS: u32 = u32::MAX;

/// Bounds on the numbers, which keep every sum in a prediction finite.
const RARITY_MAX: f32 = 1e3;
const SCALE_MAX: f32 = 1e6;
const BIAS_MAX: f32 = 1e6;
const BLOCK_WEIGHT_MAX: f32 = 1e3;
const TEMPERATURE_MIN: f32 = 1e-3;
const TEMPERATURE_MAX: f32 = 1e3;

/// Returns the bytes of a model and its description. The description is passed as JSON, because parsing and writing it
/// again could change the last digit of a number, and so the file's hash.
pub(crate) fn encode(model: &Model, description: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + description.len() + model.scales.len() * (16 + model.classes()));
    write_count(&mut out, description.len());
    out.extend_from_slice(description);
    write_model(&mut out, model);
    out
}

/// Appends a number.
pub(crate) fn write_count(out: &mut Vec<u8>, value: usize) {
    out.extend_from_slice(&(value as u32).to_le_bytes());
}

/// Appends numbers.
pub(crate) fn write_floats(out: &mut Vec<u8>, values: &[f32]) {
    out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

/// Appends a model.
pub(crate) fn write_model(out: &mut Vec<u8>, model: &Model) {
    let classes = model.classes();
    write_count(out, model.vocabulary.words);
    write_count(out, model.scales.len());
    write_count(out, classes);
    write_count(out, model.out_of_scope.unwrap_or(NO_CLASS) as usize);
    write_floats(out, &[model.temperature, model.scope_threshold]);
    write_floats(out, &model.weighting.block_weights);
    write_floats(out, &model.bias);
    out.extend(model.vocabulary.keys.iter().flat_map(|key| key.to_le_bytes()));
    write_floats(out, &model.weighting.rarity);
    write_floats(out, &model.scales);
    for row in model.weights.chunks_exact(stride(classes)) {
        out.extend(row[..classes].iter().map(|weight| weight.to_le_bytes()[0]));
    }
}

/// The parsed content of a body.
pub(crate) struct DecodedBody {
    pub(crate) model: Model,
    pub(crate) lookup: FeatureLookup,
    pub(crate) description: Description,
    /// The description in its original bytes.
    pub(crate) json: Vec<u8>,
}

/// Parses a body. All sizes are checked against the actual length before anything is allocated, and all numbers
/// against the ranges that training can produce.
pub(crate) fn decode(body: &[u8]) -> Result<DecodedBody, LoadStudentErrorKind> {
    let mut reader = Reader { rest: body };
    let json = reader.description()?;
    let description: Description = serde_json::from_slice(json).map_err(LoadStudentErrorKind::Description)?;
    let (model, lookup) = read_model(&mut reader, &description.labels, &description.seen, 0)?;
    Ok(DecodedBody { model, lookup, description, json: json.to_vec() })
}

/// Reads a model with these labels, after which `bytes_after` bytes follow.
pub(crate) fn read_model(
    reader: &mut Reader<'_>,
    labels: &[String],
    seen: &SeenTexts,
    bytes_after: usize,
) -> Result<(Model, FeatureLookup), LoadStudentErrorKind> {
    let words = reader.count("word n-grams")?;
    let features = reader.count("n-grams")?;
    let classes = reader.count("labels")?;
    let out_of_scope = reader.count("out-of-scope label")? as u32;
    size(features <= FEATURES_MAX && words <= features, "n-grams")?;
    size((2..=CLASSES_MAX).contains(&classes) && labels.len() == classes, "labels")?;
    size(labels.is_sorted_by(|a, b| a < b), "labels that repeat or are out of order")?;
    size(seen.is_sound(), "hashes of training texts")?;
    size(out_of_scope == NO_CLASS || (out_of_scope as usize) < classes, "out-of-scope label")?;
    let rest = features.checked_mul(classes + 16).and_then(|bytes| bytes.checked_add(16 + classes * 4));
    let rest = rest.and_then(|bytes| bytes.checked_add(bytes_after));
    size(rest == Some(reader.rest.len()), "arrays and remaining bytes")?;

    let temperature = reader.float("temperature", TEMPERATURE_MIN, TEMPERATURE_MAX)?;
    let scope_threshold = reader.float("out-of-scope threshold", 0.0, 1.0)?;
    let mut block_weight = || reader.float("block weight", 0.0, BLOCK_WEIGHT_MAX);
    let block_weights = [block_weight()?, block_weight()?];
    let bias = reader.floats(classes, "bias", -BIAS_MAX, BIAS_MAX)?;
    let keys = reader.keys(features)?;
    let rarity = reader.floats(features, "rarity", 0.0, RARITY_MAX)?;
    let scales = reader.floats(features, "weight scale", 0.0, SCALE_MAX)?;
    let stride = stride(classes);
    let mut weights = vec![0i8; features * stride];
    let stored = reader.take(features * classes, "weights")?;
    for (into, from) in weights.chunks_exact_mut(stride).zip(stored.chunks_exact(classes)) {
        for (into, from) in into.iter_mut().zip(from) {
            *into = i8::from_le_bytes([*from]);
        }
    }
    let model = Model {
        vocabulary: Vocabulary { keys, words },
        weighting: Weighting { rarity, block_weights },
        scales,
        weights,
        bias,
        temperature,
        scope_threshold,
        out_of_scope: (out_of_scope != NO_CLASS).then_some(out_of_scope),
    };
    let lookup = FeatureLookup::new(&model.vocabulary)
        .ok_or(LoadStudentErrorKind::Number { what: "n-gram fingerprints that repeat or cluster" })?;
    Ok((model, lookup))
}

/// Returns a size error unless `fine`.
pub(crate) fn size(fine: bool, what: &'static str) -> Result<(), LoadStudentErrorKind> {
    if fine { Ok(()) } else { Err(LoadStudentErrorKind::Size { what }) }
}

/// Reads a body from front to back.
pub(crate) struct Reader<'a> {
    pub(crate) rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Returns the description's JSON, which comes first.
    pub(crate) fn description(&mut self) -> Result<&'a [u8], LoadStudentErrorKind> {
        let length = self.count("description")?;
        self.take(length, "description")
    }

    pub(crate) fn take(
        &mut self,
        length: usize,
        what: &'static str,
    ) -> Result<&'a [u8], LoadStudentErrorKind> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(LoadStudentErrorKind::Size { what })?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn count(&mut self, what: &'static str) -> Result<usize, LoadStudentErrorKind> {
        let bytes = self.take(4, what)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
    }

    fn float(&mut self, what: &'static str, min: f32, max: f32) -> Result<f32, LoadStudentErrorKind> {
        Ok(self.floats(1, what, min, max)?[0])
    }

    pub(crate) fn floats(
        &mut self,
        length: usize,
        what: &'static str,
        min: f32,
        max: f32,
    ) -> Result<Vec<f32>, LoadStudentErrorKind> {
        let (chunks, _) = self.take(length.saturating_mul(4), what)?.as_chunks::<4>();
        let values: Vec<f32> = chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        if values.iter().all(|value| *value >= min && *value <= max) {
            Ok(values)
        } else {
            Err(LoadStudentErrorKind::Number { what })
        }
    }

    pub(crate) fn keys(&mut self, length: usize) -> Result<Vec<u64>, LoadStudentErrorKind> {
        let (chunks, _) = self.take(length.saturating_mul(8), "n-gram fingerprints")?.as_chunks::<8>();
        Ok(chunks.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect())
    }
}
