//! Trains a linear student on labelled texts.

use std::collections::BTreeSet;

use bantam_types::Cancel;

use super::LinearStudent;
use super::calibrate;
use super::config::LinearConfig;
use super::describe::{Description, TrainingReport};
use super::fit::Fitting;
use super::matrix::{Dense, stride};
use super::model::Model;
use super::vocabulary::{self, Vocabulary};
use crate::example::{Example, LABEL_BYTES_MAX, ROWS_PER_LABEL_MIN};
use crate::hash::FileHash;
use crate::seen::SeenTexts;

/// The program and version that students' files state.
pub(crate) const CREATED_BY: &str = concat!("bantam-student ", env!("CARGO_PKG_VERSION"));
/// The most labels of a student.
const LABELS_MAX: usize = 10_000;
/// The largest product of rows and labels (rounded up to tiles); training keeps about 28 numbers of four bytes for
/// each.
const CELLS_MAX: usize = 100_000_000;

/// Why training failed.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TrainLinearError {
    /// A setting is invalid.
    #[error("`{setting}` must be {range}")]
    Config {
        /// The setting.
        setting: &'static str,
        /// Its allowed range.
        range: &'static str,
    },
    /// There are no rows.
    #[error("there are no rows")]
    NoRows,
    /// There is only one label.
    #[error("every row has the label `{label}`")]
    OneLabel {
        /// The only label.
        label: String,
    },
    /// A label is empty or too long.
    #[error("row {row} has a label that is empty or longer than {LABEL_BYTES_MAX} bytes")]
    Label {
        /// The row, from 1.
        row: usize,
    },
    /// A label has too few rows to train and validate on.
    #[error("label `{label}` has {rows} row; at least {ROWS_PER_LABEL_MIN} are needed")]
    LabelTooRare {
        /// The label.
        label: String,
        /// The number of its rows.
        rows: usize,
    },
    /// There are more labels than a student can have.
    #[error("there are {labels} labels; at most {LABELS_MAX} are supported")]
    TooManyLabels {
        /// The number of labels.
        labels: usize,
    },
    /// Training would need too much memory.
    #[error("{rows} rows with {labels} labels are too many: rows times labels may be at most {CELLS_MAX}")]
    TooLarge {
        /// The number of rows.
        rows: usize,
        /// The number of labels.
        labels: usize,
    },
    /// The texts have no n-gram in common.
    #[error("no n-gram occurs in {rows_min} rows: the texts have nothing in common to learn from")]
    NothingShared {
        /// The setting `document_rows_min`.
        rows_min: u32,
    },
    /// The trained numbers are outside the range of the file format, because regularisation is far too weak.
    #[error("training produced numbers that are not finite")]
    NotFinite,
    /// The caller cancelled it.
    #[error("training was stopped")]
    Stopped,
}

impl TrainLinearError {
    /// Returns what the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Config { .. } => "start from the recommended settings",
            Self::NoRows | Self::LabelTooRare { .. } => "add rows, at least two for every label",
            Self::OneLabel { .. } => "add rows of at least one other label",
            Self::Label { .. } => "a label is a short name; check that text and label are not swapped",
            Self::TooManyLabels { .. } => "check that text and label are not swapped, or merge labels",
            Self::TooLarge { .. } => "train on a sample of the rows",
            Self::NothingShared { .. } => "add rows, or lower `document_rows_min` to 1",
            Self::NotFinite => "lower `cost`",
            Self::Stopped => "train again",
        }
    }
}

/// The progress of training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// The model, from 1: the first is the final model, the others predict held-out rows.
    pub model: usize,
    /// The number of models to fit; several are fitted at a time.
    pub models: usize,
    /// Passes over this model's rows so far.
    pub pass: usize,
    /// The most passes.
    pub passes_max: usize,
    /// How much the pass changed a row's probabilities, summed over labels, on average; the goal is the tolerance.
    pub moved: f32,
}

/// Trains a student. Equal rows and settings give equal bytes, on any number of threads.
pub fn train(
    rows: &[Example],
    config: &LinearConfig,
) -> Result<(LinearStudent, TrainingReport), TrainLinearError> {
    train_with_progress(rows, config, &mut |_| {})
}

/// Like [`train`], but reports to `on_progress` after every pass over the rows.
pub fn train_with_progress(
    rows: &[Example],
    config: &LinearConfig,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<(LinearStudent, TrainingReport), TrainLinearError> {
    train_until(rows, config, on_progress, &Cancel::new())
}

/// Like [`train_with_progress`], but `cancel` ends it after the current pass.
///
/// # Errors
/// [`TrainLinearError`]; [`TrainLinearError::Stopped`] if it was cancelled.
pub fn train_until(
    rows: &[Example],
    config: &LinearConfig,
    on_progress: &mut dyn FnMut(Progress),
    cancel: &Cancel,
) -> Result<(LinearStudent, TrainingReport), TrainLinearError> {
    let FittedClassifier { model, report, labels, .. } =
        fit(rows, config, Ngrams::Learnt, &Dense::default(), (on_progress, cancel))?;
    let description = Description {
        created_by: CREATED_BY.to_owned(),
        labels,
        config: config.clone(),
        report: report.clone(),
        data_hash: data_hash(rows),
        seen: SeenTexts::of(rows),
    };
    let student = LinearStudent::assemble(&model, &description).ok_or(TrainLinearError::NotFinite)?;
    Ok((student, report))
}

/// Whether a student uses n-grams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ngrams {
    /// Uses those that several rows contain.
    Learnt,
    /// Uses none.
    Unused,
}

/// The result of fitting any kind of classifier.
pub(crate) struct FittedClassifier {
    pub(crate) model: Model,
    /// The weights of the dense features: one row of padded classes for each.
    pub(crate) dense: Vec<f32>,
    pub(crate) report: TrainingReport,
    pub(crate) labels: Vec<String>,
}

/// Fits a classifier to the n-grams and dense features of every row, and calibrates its probabilities.
pub(crate) fn fit(
    rows: &[Example],
    config: &LinearConfig,
    ngrams: Ngrams,
    dense: &Dense,
    (on_progress, cancel): (&mut dyn FnMut(Progress), &Cancel),
) -> Result<FittedClassifier, TrainLinearError> {
    let labels = check(rows, config)?;
    let target = |row: &Example| labels.binary_search(&row.label.as_str()).ok().map(|at| at as u32);
    let targets: Vec<u32> = rows.iter().filter_map(target).collect();
    let texts: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
    let all = || texts.iter().copied();
    let vocabulary = match ngrams {
        Ngrams::Learnt => vocabulary::collect(all(), config.document_rows_min, config.features_max),
        Ngrams::Unused => Vocabulary::default(),
    };
    if ngrams == Ngrams::Learnt && vocabulary.keys.is_empty() {
        return Err(TrainLinearError::NothingShared { rows_min: config.document_rows_min });
    }
    let counts = vocabulary::count(&vocabulary, all());
    let fitting = Fitting {
        config,
        vocabulary: &vocabulary,
        counts: &counts,
        dense,
        targets: &targets,
        classes: labels.len(),
        cancel,
    };
    let fitted = fitting.fit_all(&texts, on_progress);
    if cancel.is_cancelled() {
        return Err(TrainLinearError::Stopped);
    }
    let (fitted, held_out) = fitted.ok_or(TrainLinearError::NotFinite)?;

    let out_of_scope = labels.binary_search(&config.out_of_scope_label.as_str()).ok().map(|at| at as u32);
    let temperature = held_out.best_temperature();
    let outcomes = held_out.outcomes(temperature, out_of_scope);
    let scope_threshold = calibrate::scope_threshold(&outcomes, out_of_scope, config.out_of_scope_share);
    let report = TrainingReport {
        rows: rows.len() as u64,
        labels: labels.len() as u64,
        features: vocabulary.keys.len() as u64,
        held_out_accuracy: calibrate::accuracy(&outcomes),
        held_out_calibration_error: calibrate::calibration_error(&outcomes),
        held_out_accepted_at_2_percent_error: calibrate::coverage(&outcomes, 0.02),
        held_out_loss: held_out.loss(temperature),
        temperature,
        scope_threshold,
        passes: fitted.passes as u64,
        converged: fitted.converged,
    };
    let model = Model {
        vocabulary,
        weighting: fitted.weighting,
        scales: fitted.scales,
        weights: fitted.weights,
        bias: fitted.bias,
        temperature,
        scope_threshold,
        out_of_scope,
    };
    let labels = labels.into_iter().map(str::to_owned).collect();
    Ok(FittedClassifier { model, dense: fitted.dense, report, labels })
}

/// Checks settings and rows, and returns the labels in order.
pub(crate) fn check<'a>(
    rows: &'a [Example],
    config: &LinearConfig,
) -> Result<Vec<&'a str>, TrainLinearError> {
    match config.fault() {
        Some((setting, range)) => Err(TrainLinearError::Config { setting, range }),
        None => labels(rows),
    }
}

/// Checks that the rows can be trained on, and returns their labels in order.
fn labels(rows: &[Example]) -> Result<Vec<&str>, TrainLinearError> {
    let fits = |label: &str| !label.trim().is_empty() && label.len() <= LABEL_BYTES_MAX;
    if let Some(row) = rows.iter().position(|row| !fits(&row.label)) {
        return Err(TrainLinearError::Label { row: row + 1 });
    }
    let labels: Vec<&str> =
        rows.iter().map(|row| row.label.as_str()).collect::<BTreeSet<_>>().into_iter().collect();
    match labels.as_slice() {
        [] => return Err(TrainLinearError::NoRows),
        [label] => return Err(TrainLinearError::OneLabel { label: (*label).to_owned() }),
        _ if labels.len() > LABELS_MAX => {
            return Err(TrainLinearError::TooManyLabels { labels: labels.len() });
        }
        _ => {}
    }
    if rows.len().saturating_mul(stride(labels.len())) > CELLS_MAX {
        return Err(TrainLinearError::TooLarge { rows: rows.len(), labels: labels.len() });
    }
    let mut frequencies = vec![0; labels.len()];
    for row in rows {
        if let Ok(class) = labels.binary_search(&row.label.as_str()) {
            frequencies[class] += 1;
        }
    }
    match frequencies.iter().position(|&rows| rows < ROWS_PER_LABEL_MIN) {
        Some(class) => {
            Err(TrainLinearError::LabelTooRare { label: labels[class].to_owned(), rows: frequencies[class] })
        }
        None => Ok(labels),
    }
}

/// Returns the hash of rows. Lengths are hashed too, so that no two sets of rows have the same hash input.
pub(crate) fn data_hash(rows: &[Example]) -> String {
    let mut bytes = Vec::new();
    for row in rows {
        for part in [&row.text, &row.label] {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
    }
    FileHash::of(&[&bytes]).to_hex()
}
