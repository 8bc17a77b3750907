//! From labelled texts to a student.

use std::collections::BTreeSet;

use super::calibrate::{self, HeldOut};
use super::config::LinearConfig;
use super::describe::{Description, TrainingReport};
use super::matrix::{Sparse, stride};
use super::model::{Model, quantise};
use super::parallel;
use super::solve::{Problem, Solution, solve};
use super::vocabulary::{self, Counts, Vocabulary, Weighting};
use super::{LinearStudent, folds};
use crate::example::{Example, LABEL_BYTES_MAX, ROWS_PER_LABEL_MIN};
use crate::hash::FileHash;
use crate::seen::SeenTexts;

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
    if let Some((setting, range)) = config.fault() {
        return Err(TrainLinearError::Config { setting, range });
    }
    let labels = labels(rows)?;
    let targets: Vec<u32> = rows
        .iter()
        .filter_map(|row| labels.binary_search(&row.label.as_str()).ok())
        .map(|at| at as u32)
        .collect();
    let texts = || rows.iter().map(|row| row.text.as_str());
    let vocabulary = vocabulary::collect(texts(), config.document_rows_min, config.features_max);
    if vocabulary.keys.is_empty() {
        return Err(TrainLinearError::NothingShared { rows_min: config.document_rows_min });
    }
    let counts = vocabulary::count(&vocabulary, texts());
    let run =
        Run { config, vocabulary: &vocabulary, counts: &counts, targets: &targets, classes: labels.len() };
    let out_of_scope = labels.binary_search(&config.out_of_scope_label.as_str()).ok().map(|at| at as u32);

    let texts: Vec<&str> = texts().collect();
    let (fitted, held_out) = run.fit_all(&texts, on_progress).ok_or(TrainLinearError::NotFinite)?;
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
    let description = Description {
        created_by: concat!("bantam-student ", env!("CARGO_PKG_VERSION")).to_owned(),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        config: config.clone(),
        report: report.clone(),
        data_hash: data_hash(rows),
        seen: SeenTexts::of(rows),
    };
    let student = LinearStudent::assemble(&model, &description).ok_or(TrainLinearError::NotFinite)?;
    Ok((student, report))
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
fn data_hash(rows: &[Example]) -> String {
    let mut bytes = Vec::new();
    for row in rows {
        for part in [&row.text, &row.label] {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
    }
    FileHash::of(&[&bytes]).to_hex()
}

struct Run<'a> {
    config: &'a LinearConfig,
    vocabulary: &'a Vocabulary,
    counts: &'a Counts,
    targets: &'a [u32],
    classes: usize,
}

struct Fitted {
    weighting: Weighting,
    scales: Vec<f32>,
    weights: Vec<i8>,
    bias: Vec<f32>,
    passes: usize,
    converged: bool,
}

/// What one job gives: the model that stays, or a fold's logits.
enum Part {
    Final(Box<Fitted>),
    Fold { targets: Vec<u32>, logits: Vec<f32> },
}

impl Run<'_> {
    /// The model that stays, and every row's logits under a model that has not seen it.
    fn fit_all(&self, texts: &[&str], on_progress: &mut dyn FnMut(Progress)) -> Option<(Fitted, HeldOut)> {
        let folds = self.config.folds;
        let assigned = folds::assign(texts, self.targets, self.classes, folds, self.config.seed);
        let jobs = std::iter::once(None).chain((0..folds).map(Some)).collect();
        let work = |fold: Option<usize>, send: &mut dyn FnMut(Progress)| match fold {
            None => Some(Part::Final(Box::new(self.fit_final(send)))),
            Some(fold) => self.fit_fold(fold, &assigned, send),
        };
        let mut held_out = HeldOut { classes: self.classes, ..HeldOut::default() };
        let mut fitted = None;
        for part in parallel::run(self.config.threads, jobs, work, on_progress) {
            match part {
                Some(Part::Final(last)) => fitted = Some(*last),
                Some(Part::Fold { targets, logits }) => {
                    held_out.targets.extend(targets);
                    held_out.logits.extend(logits);
                }
                None => {}
            }
        }
        fitted.map(|fitted| (fitted, held_out))
    }

    /// The logits of one fold's rows under a model fitted to all others.
    fn fit_fold(&self, fold: usize, assigned: &[usize], send: &mut dyn FnMut(Progress)) -> Option<Part> {
        let (inside, outside): (Vec<usize>, Vec<usize>) =
            (0..self.targets.len()).partition(|&row| assigned[row] != fold);
        if inside.is_empty() || outside.is_empty() {
            return None;
        }
        let weighting = self.weighting(&inside);
        let (design, targets) = self.design(&weighting, &inside);
        let weights = self.solve(&design, &targets, fold + 2, send).weights;
        let (design, targets) = self.design(&weighting, &outside);
        let mut logits = Vec::with_capacity(outside.len() * self.classes);
        let mut row_logits = vec![0.0; stride(self.classes)];
        for row in 0..outside.len() {
            weights.logits(design.row(row), &mut row_logits);
            logits.extend_from_slice(&row_logits[..self.classes]);
        }
        Some(Part::Fold { targets, logits })
    }

    /// The model that stays, fitted to every row, its weights as bytes.
    fn fit_final(&self, send: &mut dyn FnMut(Progress)) -> Fitted {
        let all: Vec<usize> = (0..self.targets.len()).collect();
        let weighting = self.weighting(&all);
        let (design, targets) = self.design(&weighting, &all);
        let solution = self.solve(&design, &targets, 1, send);
        let features = design.columns;
        let mut weights = vec![0i8; features * stride(self.classes)];
        let rows = weights.chunks_exact_mut(stride(self.classes)).enumerate();
        let scales = rows.map(|(feature, row)| quantise(solution.weights.row(feature), row)).collect();
        let bias = solution.weights.row(features)[..self.classes].to_vec();
        Fitted { weighting, scales, weights, bias, passes: solution.passes, converged: solution.converged }
    }

    fn solve(
        &self,
        design: &Sparse,
        targets: &[u32],
        model: usize,
        send: &mut dyn FnMut(Progress),
    ) -> Solution {
        let problem = Problem {
            design,
            targets,
            classes: self.classes,
            cost: self.config.cost,
            passes_max: self.config.passes_max,
            tolerance: self.config.tolerance,
            seed: self.config.seed,
        };
        let (models, passes_max) = (self.config.folds + 1, self.config.passes_max);
        solve(&problem, &mut |pass, moved| send(Progress { model, models, pass, passes_max, moved }))
    }

    fn weighting(&self, rows: &[usize]) -> Weighting {
        Weighting::learn(
            self.counts,
            self.vocabulary.keys.len(),
            rows.iter().copied(),
            self.config.document_rows_min,
            [self.config.word_weight, self.config.char_weight],
        )
    }

    fn design(&self, weighting: &Weighting, rows: &[usize]) -> (Sparse, Vec<u32>) {
        let design = weighting.design(self.counts, self.vocabulary.words, rows.iter().copied());
        (design, rows.iter().map(|&row| self.targets[row]).collect())
    }
}
