//! Trains a student on labelled texts and a base.

use std::path::PathBuf;
use std::sync::Arc;

use bantam_types::Cancel;

use super::EncoderStudent;
use super::base::EncoderBase;
use super::config::{EncoderConfig, Features};
use super::describe::EncoderDescription;
use crate::example::Example;
use crate::linear::matrix::{Dense, stride};
use crate::linear::train::{CREATED_BY, FittedClassifier, Ngrams, check, data_hash, fit};
use crate::linear::{Progress, TrainLinearError, TrainingReport};
use crate::seen::SeenTexts;

/// The progress of training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EncoderProgress {
    /// Computing the vectors of the texts, the longest part.
    Embedding {
        /// Texts done.
        done: usize,
        /// Texts in total.
        texts: usize,
    },
    /// Fitting the weights.
    Fitting(Progress),
}

/// Trains a student on `base`, whose folder it will look for at `base_path`, relative to the folder of its own file.
/// Equal rows, settings, base and path give equal bytes on machines with the same instructions, on any number of
/// threads.
///
/// # Errors
/// [`TrainLinearError`], as for a linear student.
pub fn train(
    rows: &[Example],
    base: &Arc<EncoderBase>,
    base_path: PathBuf,
    config: &EncoderConfig,
    on_progress: &mut dyn FnMut(EncoderProgress),
) -> Result<(EncoderStudent, TrainingReport), TrainLinearError> {
    train_until(rows, (base, base_path), config, on_progress, &Cancel::new())
}

/// Like [`train`], but `cancel` ends it after the current batch of texts or the current pass.
///
/// # Errors
/// [`TrainLinearError`]; [`TrainLinearError::Stopped`] if it was cancelled.
pub fn train_until(
    rows: &[Example],
    (base, base_path): (&Arc<EncoderBase>, PathBuf),
    config: &EncoderConfig,
    on_progress: &mut dyn FnMut(EncoderProgress),
    cancel: &Cancel,
) -> Result<(EncoderStudent, TrainingReport), TrainLinearError> {
    if let Some((setting, range)) = config.fault() {
        return Err(TrainLinearError::Config { setting, range });
    }
    // Check before spending minutes on vectors.
    check(rows, &config.linear)?;
    let texts: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
    let mut embedded = |done| on_progress(EncoderProgress::Embedding { done, texts: texts.len() });
    let vectors = base.embed_all(&texts, &mut embedded, cancel);
    if cancel.is_cancelled() {
        return Err(TrainLinearError::Stopped);
    }
    let width = base.identity().width as usize;
    let centred = CentredVectors::of(vectors, width, config.dense_weight);
    let ngrams = match config.features {
        Features::Dense => Ngrams::Unused,
        Features::Joined => Ngrams::Learnt,
    };
    let mut fitting = |progress| on_progress(EncoderProgress::Fitting(progress));
    let trained = fit(rows, &config.linear, ngrams, &centred.dense, (&mut fitting, cancel))?;
    let FittedClassifier { model, dense, report, labels } = centred.unfold(trained);
    let description = EncoderDescription {
        created_by: CREATED_BY.to_owned(),
        base: base.identity().clone(),
        base_path,
        adapter: None,
        labels,
        config: config.clone(),
        report: report.clone(),
        data_hash: data_hash(rows),
        seen: SeenTexts::of(rows),
    };
    let student = EncoderStudent::assemble(&model, &dense, None, &description, base);
    Ok((student.ok_or(TrainLinearError::NotFinite)?, report))
}

/// Vectors minus their mean, scaled to a given root-mean-square length. The scale sets how much vectors count against
/// n-grams, because regularisation applies to both together; what all texts share says nothing about labels.
struct CentredVectors {
    dense: Dense,
    mean: Vec<f32>,
    scale: f32,
}

impl CentredVectors {
    fn of(mut vectors: Vec<f32>, width: usize, weight: f32) -> Self {
        let rows = (vectors.len() / width.max(1)).max(1) as f64;
        let mut mean = vec![0.0f64; width];
        for vector in vectors.chunks_exact(width) {
            mean.iter_mut().zip(vector).for_each(|(sum, number)| *sum += f64::from(*number) / rows);
        }
        let mean: Vec<f32> = mean.into_iter().map(|number| number as f32).collect();
        let mut squares = 0.0f64;
        for vector in vectors.chunks_exact_mut(width) {
            for (number, mean) in vector.iter_mut().zip(&mean) {
                *number -= mean;
                squares += f64::from(*number).powi(2);
            }
        }
        let length = (squares / rows).sqrt() as f32;
        // Vectors that are all equal carry no information at any scale.
        let scale = if length > 1e-6 { weight / length } else { 0.0 };
        vectors.iter_mut().for_each(|number| *number *= scale);
        Self { dense: Dense { values: vectors, width }, mean, scale }
    }

    /// Returns the same classifier for the base's original vectors.
    fn unfold(&self, mut trained: FittedClassifier) -> FittedClassifier {
        trained.dense.iter_mut().for_each(|weight| *weight *= self.scale);
        let rows = trained.dense.chunks_exact(stride(trained.labels.len()));
        for (mean, weights) in self.mean.iter().zip(rows) {
            for (bias, weight) in trained.model.bias.iter_mut().zip(weights) {
                *bias -= mean * weight;
            }
        }
        trained
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn centred_vectors_have_zero_mean_and_the_requested_length() {
        let vectors = vec![1.0, 5.0, 3.0, 5.0, 5.0, 5.0];
        let centred = CentredVectors::of(vectors, 2, 3.0);
        assert_eq!(centred.mean, [3.0, 5.0]);
        let squares: f32 = centred.dense.values.iter().map(|number| number * number).sum();
        assert!((squares / 3.0 - 9.0).abs() < 1e-4);
        let flat = CentredVectors::of(vec![2.0; 6], 2, 3.0);
        assert_eq!(flat.dense.values, [0.0; 6]);
    }
}
