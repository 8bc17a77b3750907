//! From labelled texts to a student.

use std::collections::BTreeSet;

use super::LinearStudent;
use super::calibrate;
use super::config::LinearConfig;
use super::describe::{Description, TrainingReport};
use super::fit::Run;
use super::matrix::{Dense, stride};
use super::model::Model;
use super::vocabulary::{self, Vocabulary};
use crate::example::{Example, LABEL_BYTES_MAX, ROWS_PER_LABEL_MIN};
use crate::hash::FileHash;
use crate::seen::SeenTexts;

/// Program and version, as students' files say.
pub(crate) const CREATED_BY: &str = concat!("bantam-student ", env!("CARGO_PKG_VERSION"));
/// Labels a student can tell apart.
const LABELS_MAX: usize = 10_000;
/// Rows times labels (rounded up to tiles) at most: some 28 numbers of four bytes are kept for each while training.
const CELLS_MAX: usize = 100_000_000;

/// Why training refused.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TrainLinearError {
    /// A setting that makes no sense.
    #[error("`{setting}` must be {range}")]
    Config {
        /// Name of the field.
        setting: &'static str,
        /// What it must be.
        range: &'static str,
    },
    /// Nothing to learn from.
    #[error("there are no rows")]
    NoRows,
    /// Nothing to tell apart.
    #[error("every row has the label `{label}`")]
    OneLabel {
        /// The only label.
        label: String,
    },
    /// A label without characters, or one that is a text itself.
    #[error("row {row} has a label that is empty or longer than {LABEL_BYTES_MAX} bytes")]
    Label {
        /// The row, from 1.
        row: usize,
    },
    /// A label that cannot be learnt and checked.
    #[error("label `{label}` has {rows} row; at least {ROWS_PER_LABEL_MIN} are needed")]
    LabelTooRare {
        /// The label.
        label: String,
        /// Its rows.
        rows: usize,
    },
    /// More labels than a student holds.
    #[error("there are {labels} labels; at most {LABELS_MAX} can be told apart")]
    TooManyLabels {
        /// Labels found.
        labels: usize,
    },
    /// More than fits the memory bound.
    #[error("{rows} rows of {labels} labels are too many: rows times labels may reach {CELLS_MAX}")]
    TooLarge {
        /// Rows given.
        rows: usize,
        /// Labels found.
        labels: usize,
    },
    /// Texts that share nothing.
    #[error("no n-gram is in {rows_min} rows: the texts share nothing that could be learnt")]
    NothingShared {
        /// The setting `document_rows_min`.
        rows_min: u32,
    },
    /// The numbers left the range of the format; regularisation is far off.
    #[error("training ended in numbers that are not finite")]
    NotFinite,
}

impl TrainLinearError {
    /// What to do about it.
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
        }
    }
}

/// How far training has come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// The model that moved, from 1: the first is the one that stays, the others judge held-out rows.
    pub model: usize,
    /// Models to fit in all; several are fitted at a time.
    pub models: usize,
    /// Passes over this model's rows so far.
    pub pass: usize,
    /// Passes at most.
    pub passes_max: usize,
    /// How far the pass moved a row's probabilities, in sum, on average; the tolerance is the goal.
    pub moved: f32,
}

/// Trains a student. Equal rows and settings give equal bytes, on any number of threads.
pub fn train(
    rows: &[Example],
    config: &LinearConfig,
) -> Result<(LinearStudent, TrainingReport), TrainLinearError> {
    train_with_progress(rows, config, &mut |_| {})
}

/// [`train`], telling `on_progress` after every pass over the rows.
pub fn train_with_progress(
    rows: &[Example],
    config: &LinearConfig,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<(LinearStudent, TrainingReport), TrainLinearError> {
    let Trained { model, report, labels, .. } =
        fit(rows, config, Ngrams::Learnt, &Dense::default(), on_progress)?;
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

/// Whether a student looks at n-grams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ngrams {
    /// At those that the rows share.
    Learnt,
    /// At none.
    Unused,
}

/// What every kind of classifier comes to.
pub(crate) struct Trained {
    pub(crate) model: Model,
    /// The weights of the rows' further numbers: a row of padded classes for each.
    pub(crate) dense: Vec<f32>,
    pub(crate) report: TrainingReport,
    pub(crate) labels: Vec<String>,
}

/// Fits a classifier to n-grams and to the further numbers of every row, and makes its probabilities honest.
pub(crate) fn fit(
    rows: &[Example],
    config: &LinearConfig,
    ngrams: Ngrams,
    dense: &Dense,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Trained, TrainLinearError> {
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
    let (vocabulary_of_run, targets, classes) = (&vocabulary, &targets, labels.len());
    let run = Run { config, vocabulary: vocabulary_of_run, counts: &counts, dense, targets, classes };
    let (fitted, held_out) = run.fit_all(&texts, on_progress).ok_or(TrainLinearError::NotFinite)?;

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
    Ok(Trained { model, dense: fitted.dense, report, labels })
}

/// The labels of rows that can be trained on with these settings.
pub(crate) fn check<'a>(
    rows: &'a [Example],
    config: &LinearConfig,
) -> Result<Vec<&'a str>, TrainLinearError> {
    match config.fault() {
        Some((setting, range)) => Err(TrainLinearError::Config { setting, range }),
        None => labels(rows),
    }
}

/// The labels in order, once it is known that they can be trained on.
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

/// Names the rows: lengths keep two texts from being mistaken for one.
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
