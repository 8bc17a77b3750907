//! Makes a student of a base that was tuned for a task and the head trained with it.
//!
//! A tuned base is overconfident on its training rows, so nothing else can be fitted on those. The weights of the tuned
//! head and of the n-grams of a linear student, and the calibration of their sum, are therefore fitted on held-out
//! rows, with the base as it will be served, including its adapter and quantisation.

use std::path::PathBuf;
use std::sync::Arc;

use bantam_engine::EncoderAdapter;
use bantam_types::Cancel;
use serde::{Deserialize, Serialize};

use super::EncoderStudent;
use super::adapter::AdapterDescription;
use super::base::EncoderBase;
use super::config::{EncoderConfig, Features};
use super::describe::EncoderDescription;
use crate::example::Example;
use crate::linear::calibrate::{self, HeldOut};
use crate::linear::lookup::FeatureLookup;
use crate::linear::matrix::{Dense, stride};
use crate::linear::model::{Model, Scratch};
use crate::linear::train::{CREATED_BY, FittedClassifier, Ngrams, check, data_hash, fit};
use crate::linear::{LinearConfig, TrainLinearError, TrainingReport};
use crate::seen::SeenTexts;

/// The number of steps in the search for the n-grams' weight.
const WEIGHT_STEPS: u32 = 20;

/// A head on a tuned base's vectors of length 1.
#[derive(Clone, Copy, Debug)]
pub struct TunedHead<'h> {
    /// One row of the base's width for each label, in the labels' byte order.
    pub weights: &'h [f32],
    /// One number for each label.
    pub bias: &'h [f32],
}

/// A tuned base and its head.
#[derive(Clone, Copy, Debug)]
pub struct TunedParts<'t> {
    /// The base with the adapter applied, in the precision it will be served in.
    pub base: &'t Arc<EncoderBase>,
    /// The adapter.
    pub adapter: &'t EncoderAdapter,
    /// The head.
    pub head: TunedHead<'t>,
}

impl TunedParts<'_> {
    /// Returns the index of the head's most probable label for each text, computed as it is served.
    pub fn labels(&self, texts: &[&str]) -> Vec<u32> {
        let classes = self.head.bias.len();
        let best = |row: &[f32]| (0..classes).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap_or(0) as u32;
        head_logits(*self, texts, classes).chunks_exact(classes).map(best).collect()
    }
}

/// The weights with which a tuned head and n-grams are combined, fitted on held-out rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blend {
    /// Factor on the head's logits.
    pub tuned: f32,
    /// Factor on the n-grams' logits.
    pub ngrams: f32,
    /// Measurements on the held-out rows, and the temperature and threshold of the sum.
    pub report: TrainingReport,
    /// The accuracy of the tuned head alone.
    pub tuned_accuracy: f64,
}

/// Fits on `held_out` how `parts`, trained on `learnt`, and n-grams of the same rows are combined.
///
/// # Errors
/// [`TrainLinearError`], as for a linear student.
pub fn blend(
    learnt: &[Example],
    held_out: &[Example],
    parts: TunedParts<'_>,
    config: &EncoderConfig,
) -> Result<Blend, TrainLinearError> {
    let labels: Vec<String> = check(learnt, &config.linear)?.into_iter().map(str::to_owned).collect();
    let target = |row: &Example| labels.binary_search(&row.label).ok().map(|at| at as u32);
    let known: Vec<(&Example, u32)> = held_out.iter().filter_map(|row| Some((row, target(row)?))).collect();
    let targets: Vec<u32> = known.iter().map(|(_, target)| *target).collect();
    let texts: Vec<&str> = known.iter().map(|(row, _)| row.text.as_str()).collect();
    let held = |logits: Vec<f32>| HeldOut { logits, targets: targets.clone(), classes: labels.len() };
    let tuned = held(head_logits(parts, &texts, labels.len()));
    let tuned_temperature = tuned.best_temperature();
    let (mut best, mut ngram_factor, mut features) = (0, 0.0, 0);
    let mut joined = scaled(&tuned.logits, 1.0 / tuned_temperature);
    if config.features == Features::Joined {
        let model = ngrams(learnt, &config.linear)?.model;
        features = model.scales.len() as u64;
        let ngram_rows = held(ngram_logits(&model, &texts));
        let temperature = ngram_rows.best_temperature();
        let mix = |step: u32| {
            let share = step as f32 / WEIGHT_STEPS as f32;
            let pairs = tuned.logits.iter().zip(&ngram_rows.logits);
            pairs.map(|(t, n)| (1.0 - share) * t / tuned_temperature + share * n / temperature).collect()
        };
        let loss = |step: u32| {
            let mixed = held(mix(step));
            mixed.loss(mixed.best_temperature())
        };
        let losses: Vec<f64> = (0..=WEIGHT_STEPS).map(loss).collect();
        best = (0..=WEIGHT_STEPS)
            .min_by(|a, b| losses[*a as usize].total_cmp(&losses[*b as usize]))
            .unwrap_or(0);
        ngram_factor = best as f32 / WEIGHT_STEPS as f32 / temperature;
        joined = mix(best);
    }
    let tuned_accuracy = calibrate::accuracy(&tuned.outcomes(1.0, None));
    let report =
        measured(&held(joined), (learnt.len() + held_out.len(), features), (&labels, &config.linear));
    let tuned = (1.0 - best as f32 / WEIGHT_STEPS as f32) / tuned_temperature;
    Ok(Blend { tuned, ngrams: ngram_factor, report, tuned_accuracy })
}

fn measured(
    held_out: &HeldOut,
    (rows, features): (usize, u64),
    (labels, config): (&[String], &LinearConfig),
) -> TrainingReport {
    let out_of_scope = labels.binary_search(&config.out_of_scope_label).ok().map(|at| at as u32);
    let temperature = held_out.best_temperature();
    let outcomes = held_out.outcomes(temperature, out_of_scope);
    TrainingReport {
        rows: rows as u64,
        labels: labels.len() as u64,
        features,
        held_out_accuracy: calibrate::accuracy(&outcomes),
        held_out_calibration_error: calibrate::calibration_error(&outcomes),
        held_out_accepted_at_2_percent_error: calibrate::coverage(&outcomes, 0.02),
        held_out_loss: held_out.loss(temperature),
        temperature,
        scope_threshold: calibrate::scope_threshold(&outcomes, out_of_scope, config.out_of_scope_share),
        passes: 0,
        converged: true,
    }
}

fn scaled(numbers: &[f32], factor: f32) -> Vec<f32> {
    numbers.iter().map(|number| number * factor).collect()
}

/// Makes a student of `parts`, trained on `rows`. The student will look for its base at `base_path`.
///
/// # Errors
/// [`TrainLinearError`], as for a linear student.
pub fn assemble_tuned(
    rows: &[Example],
    parts: TunedParts<'_>,
    base_path: PathBuf,
    blend: &Blend,
    config: &EncoderConfig,
) -> Result<EncoderStudent, TrainLinearError> {
    let labels: Vec<String> = check(rows, &config.linear)?.into_iter().map(str::to_owned).collect();
    let stride = stride(labels.len());
    let width = parts.base.identity().width as usize;
    let mut dense = vec![0.0; width * stride];
    for (class, row) in parts.head.weights.chunks_exact(width).enumerate() {
        for (number, weight) in row.iter().enumerate() {
            dense[number * stride + class] = weight * blend.tuned;
        }
    }
    // N-grams without weight need not be in the file.
    let uses_ngrams = config.features == Features::Joined && blend.ngrams > 0.0;
    let FittedClassifier { mut model, .. } = if uses_ngrams {
        ngrams(rows, &config.linear)?
    } else {
        fit(rows, &quick(&config.linear), Ngrams::Unused, &Dense::default(), (&mut |_| {}, &Cancel::new()))?
    };
    let share = if uses_ngrams { blend.ngrams } else { 0.0 };
    model.scales.iter_mut().for_each(|scale| *scale *= share);
    for (bias, head_bias) in model.bias.iter_mut().zip(parts.head.bias) {
        *bias = *bias * share + head_bias * blend.tuned;
    }
    model.temperature = blend.report.temperature;
    model.scope_threshold = blend.report.scope_threshold;
    let description = EncoderDescription {
        created_by: CREATED_BY.to_owned(),
        base: parts.base.identity().clone(),
        base_path,
        adapter: Some(Box::new(AdapterDescription::of(parts.adapter))),
        labels,
        config: config.clone(),
        report: blend.report.clone(),
        data_hash: data_hash(rows),
        seen: SeenTexts::of(rows),
    };
    EncoderStudent::assemble(&model, &dense, Some(parts.adapter), &description, parts.base)
        .ok_or(TrainLinearError::NotFinite)
}

/// Returns the linear student's settings with the least cross-validation, because its report is not used.
fn quick(config: &LinearConfig) -> LinearConfig {
    LinearConfig { folds: 2, ..config.clone() }
}

fn ngrams(rows: &[Example], config: &LinearConfig) -> Result<FittedClassifier, TrainLinearError> {
    fit(rows, &quick(config), Ngrams::Learnt, &Dense::default(), (&mut |_| {}, &Cancel::new()))
}

fn head_logits(parts: TunedParts<'_>, texts: &[&str], classes: usize) -> Vec<f32> {
    let width = parts.base.identity().width as usize;
    let vectors = parts.base.embed_all(texts, &mut |_| {}, &Cancel::new());
    let mut logits = Vec::with_capacity(texts.len() * classes);
    for vector in vectors.chunks_exact(width) {
        for (weights, bias) in parts.head.weights.chunks_exact(width).zip(parts.head.bias) {
            logits
                .push(bias + weights.iter().zip(vector).map(|(weight, number)| weight * number).sum::<f32>());
        }
    }
    logits
}

fn ngram_logits(model: &Model, texts: &[&str]) -> Vec<f32> {
    let mut logits = Vec::with_capacity(texts.len() * model.classes());
    let Some(lookup) = FeatureLookup::new(&model.vocabulary) else { return logits };
    let mut scratch = Scratch::default();
    for text in texts {
        model.logits(&lookup, text, &mut scratch);
        logits.extend_from_slice(&scratch.logits[..model.classes()]);
    }
    logits
}
