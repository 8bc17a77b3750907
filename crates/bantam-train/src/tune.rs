//! From rows and a base to a student, in two runs: one on a part of the rows, judged on the rest as it would be
//! served, then one on all of them with what the first has shown.

mod classifier;
mod phase;
mod tagger;

use std::path::Path;

use bantam_kernels::Pool;
use bantam_student::encoder::{BaseParts, LoadBaseError};
use bantam_student::linear::TrainLinearError;
use bantam_student::tagger::TrainTaggerError;
use bantam_student::{BasePrecision, Bases, EncoderConfig, Features};
use bantam_weights::WriteWeightsError;
use serde::{Deserialize, Serialize};

use crate::checkpoint::ResumeError;
use crate::encoder::{LoadNetworkError, LoraConfig};
use crate::random::Key;
use crate::run::{Control, RunConfig, RunError, Step};
pub use classifier::tune_classifier;
pub use tagger::tune_tagger;

/// How far the served student may fall behind the trained one, in standard errors of the difference.
const DEVIATIONS_MAX: f64 = 3.0;
/// And how far it always may: int8 rounds.
const DIFFERENCE_MAX: f64 = 0.01;

/// Settings of tuning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TuneConfig {
    /// The changes of the base.
    pub lora: LoraConfig,
    /// The runs.
    pub run: RunConfig,
    /// Share of a row's label that is spread over all labels; for classifiers.
    pub smoothing: f32,
    /// Share of the head's inputs that are dropped.
    pub head_dropout: f32,
    /// How sharply a classifier's head begins to tell vectors apart.
    pub sharpness: f32,
    /// Share of the rows that judge the first run.
    pub held_out: f64,
    /// Passes without a better result on held-out rows after which the first run ends.
    pub patience: u32,
    /// Tokens of a text at most, the special ones included, as far as the base goes.
    pub tokens_max: usize,
    /// What the base is served in.
    pub precision: BasePrecision,
    /// What stands beside the head of a classifier.
    pub student: EncoderConfig,
}

impl TuneConfig {
    /// Returns settings to begin with: tried on Banking77 with MiniLM, not searched for.
    pub fn for_classifiers(precision: BasePrecision) -> Self {
        Self {
            lora: LoraConfig { rank: 16, alpha: 32.0, lora_dropout: 0.0, dropout: 0.1, recompute: false },
            run: RunConfig {
                epochs: 6,
                batch_rows: 32,
                slice_tokens: 512,
                lanes: 2,
                rate: 1e-3,
                head_rate: 1e-2,
                warmup: 0.06,
                decay: 0.01,
                clip: 1.0,
                seed: 7,
            },
            smoothing: 0.1,
            head_dropout: 0.1,
            sharpness: 20.0,
            held_out: 0.15,
            patience: 3,
            tokens_max: 128,
            precision,
            student: EncoderConfig::recommended(Features::Joined),
        }
    }

    /// Returns settings to begin with: tried on restaurant8k and SNIPS with MiniLM, not searched for.
    pub fn for_taggers(precision: BasePrecision) -> Self {
        let recommended = Self::for_classifiers(precision);
        Self {
            run: RunConfig { epochs: 5, rate: 2e-3, head_rate: 2e-3, ..recommended.run.clone() },
            smoothing: 0.0,
            held_out: 0.1,
            tokens_max: 256,
            ..recommended
        }
    }

    fn check(&self) -> Result<(), TuneError> {
        let own = [
            ((0.02..=0.5).contains(&self.held_out), "held_out", "from 0.02 to 0.5"),
            ((0.0..0.5).contains(&self.smoothing), "smoothing", "at least 0 and below 0.5"),
            ((0.0..0.9).contains(&self.head_dropout), "head_dropout", "at least 0 and below 0.9"),
            ((0.0..=1000.0).contains(&self.sharpness), "sharpness", "from 0 to 1,000"),
            ((8..=8192).contains(&self.tokens_max), "tokens_max", "from 8 to 8,192"),
        ];
        let own = own.into_iter().find(|(fine, _, _)| !fine).map(|(_, name, range)| (name, range));
        match own.or_else(|| self.lora.fault()).or_else(|| self.run.fault()) {
            Some((setting, range)) => Err(RunError::Config { setting, range }.into()),
            None => Ok(()),
        }
    }
}

/// Where a run's state is kept.
#[derive(Clone, Copy, Debug)]
pub struct Checkpoint<'c> {
    /// The file. It is removed when the student is made.
    pub path: &'c Path,
    /// Whether to take up the run that it holds, if it is there.
    pub resume: bool,
    /// Steps between two writings; the end of a pass and of a run are always written.
    pub every: u64,
}

/// What is settled for students of any kind.
#[derive(Clone, Copy, Debug)]
pub struct Lesson<'l> {
    /// The base's folder.
    pub folder: &'l Path,
    /// Where a student will look for it, seen from the folder of its own file.
    pub base_path: &'l Path,
    /// Where bases that are served are opened.
    pub bases: &'l Bases,
    /// The settings.
    pub config: &'l TuneConfig,
    /// Where the state is kept, if anywhere.
    pub checkpoint: Option<Checkpoint<'l>>,
}

/// Which of the two runs is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// On a part of the rows, judged on the rest.
    Measure,
    /// On all of them.
    Final,
}

/// What happens while a student is tuned.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum TuneEvent {
    /// A step was taken.
    Step(Phase, Step),
    /// A pass ended, and this share of the held-out rows (for taggers: words) was right.
    HeldOut(Phase, u32, f64),
    /// A run that had come so far was taken up again.
    Resumed(Phase, u64),
}

/// Why there is no student.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TuneError {
    /// The base's folder cannot be used.
    #[error(transparent)]
    Base(#[from] Box<LoadBaseError>),
    /// The base cannot be trained on.
    #[error(transparent)]
    Network(#[from] LoadNetworkError),
    /// The rows cannot be learnt from.
    #[error(transparent)]
    Rows(#[from] TrainLinearError),
    /// The rows' words cannot be learnt from.
    #[error(transparent)]
    Words(#[from] TrainTaggerError),
    /// Too little to learn from and to judge on.
    #[error("{rows} rows are too few to hold some back and learn from the rest; at least {least} are needed")]
    TooFewRows {
        /// Rows given.
        rows: usize,
        /// Rows needed.
        least: usize,
    },
    /// The run failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Resume(#[from] ResumeError),
    /// The checkpoint cannot be written.
    #[error("keep the state of the run")]
    Save(#[from] WriteWeightsError),
    /// The run was stopped from outside; its state is kept, where there is a place for it.
    #[error("training was stopped after step {step} of {steps}")]
    Stopped {
        /// Steps taken.
        step: u64,
        /// Steps in all.
        steps: u64,
    },
    /// The student would not be what was trained.
    #[error(
        "served from its file the student has {:.2} % of the held-out rows right, in training it had {:.2} %",
        100.0 * .served,
        100.0 * .trained
    )]
    Differs {
        /// Share of the rows that are right as served.
        served: f64,
        /// Share of the rows that are right as trained.
        trained: f64,
    },
    /// What was learnt does not fit into a student's file.
    #[error("the numbers learnt are beyond what a student's file may hold")]
    Unstorable,
}

impl TuneError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Base(error) => error.kind.hint(),
            Self::Network(error) => error.kind.hint(),
            Self::Rows(error) => error.hint(),
            Self::Words(error) => error.hint(),
            Self::TooFewRows { .. } => "add rows, or train with --tune none, which needs fewer",
            Self::Run(error) => error.hint(),
            Self::Resume(error) => error.kind.hint(),
            Self::Save(_) => {
                "make room on the disk, then train again with --resume: the last checkpoint is whole"
            }
            Self::Stopped { .. } => "train again with --resume to go on from there",
            Self::Differs { .. } => "serve the base as it was trained, with --precision f32",
            Self::Unstorable => "lower the learning rate (--rate)",
        }
    }
}

/// Keeps some rows back from each group: at most `share` of it, and always leaving `rest` of them. Returns the rows to
/// learn from, then those kept back.
fn split(groups: &[Vec<usize>], share: f64, rest: usize, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let (mut learnt, mut held) = (Vec::new(), Vec::new());
    for (index, group) in groups.iter().enumerate() {
        let mut group = group.clone();
        Key::new(seed).part(5).part(index as u64).shuffle(&mut group);
        let count = ((group.len() as f64 * share).round() as usize).min(group.len().saturating_sub(rest));
        held.extend_from_slice(&group[..count]);
        learnt.extend_from_slice(&group[count..]);
    }
    learnt.sort_unstable();
    held.sort_unstable();
    (learnt, held)
}

/// Refuses a student that is not what was trained.
fn check_served(trained: f64, served: f64, rows: usize) -> Result<(), TuneError> {
    let deviation = (trained * (1.0 - trained) / rows.max(1) as f64).sqrt();
    if trained - served > DIFFERENCE_MAX.max(DEVIATIONS_MAX * deviation) {
        return Err(TuneError::Differs { served, trained });
    }
    Ok(())
}

/// The base's parts, its texts cut as the student will cut them.
fn base_parts(lesson: &Lesson<'_>) -> Result<(BaseParts, usize), TuneError> {
    lesson.config.check()?;
    let parts = BaseParts::open(lesson.folder, lesson.config.precision).map_err(Box::new)?;
    let tokens_max = (parts.identity.tokens_max as usize).min(lesson.config.tokens_max);
    Ok((parts, tokens_max))
}

/// Everything about a run but its rows, as a checkpoint knows it again.
fn facts(lesson: &Lesson<'_>, parts: &BaseParts, data: &str, phase: Phase) -> [String; 4] {
    [
        serde_json::to_string(lesson.config).unwrap_or_default(),
        parts.identity.weights_sha256.clone(),
        data.to_owned(),
        format!("{phase:?}"),
    ]
}

fn pool(lesson: &Lesson<'_>) -> Pool {
    Pool::new(lesson.bases.threads())
}

/// What the first run has shown, for the second to go by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Shown<T> {
    /// The pass after which it ended.
    epoch: u32,
    /// What was found with its result.
    found: T,
}

/// What hears of events, and may stop a run.
type Listener<'l> = &'l mut dyn FnMut(TuneEvent) -> Control;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_kept_back_from_every_group_that_can_spare_some() {
        let groups = [(0..20).collect(), (20..23).collect(), vec![23, 24], vec![25]];
        let (learnt, held) = split(&groups, 0.25, 2, 7);
        assert_eq!(learnt.len() + held.len(), 26);
        assert_eq!(held.iter().filter(|row| **row < 20).count(), 5);
        assert_eq!(held.iter().filter(|row| (20..23).contains(*row)).count(), 1);
        assert!(held.iter().all(|row| *row < 23));
        assert_ne!(held, split(&groups, 0.25, 2, 8).1, "the seed decides");
    }

    #[test]
    fn a_student_that_is_worse_than_noise_explains_is_refused() {
        assert!(check_served(0.95, 0.945, 10_000).is_ok());
        assert!(check_served(0.95, 0.90, 100).is_ok());
        let refused = check_served(0.95, 0.90, 10_000).unwrap_err();
        assert!(matches!(refused, TuneError::Differs { .. }) && !refused.hint().is_empty());
    }

    #[test]
    fn recommended_settings_are_sound_and_others_are_named() {
        for precision in [BasePrecision::Int8, BasePrecision::F32] {
            TuneConfig::for_classifiers(precision).check().unwrap();
            TuneConfig::for_taggers(precision).check().unwrap();
        }
        let wrong = TuneConfig { held_out: 0.9, ..TuneConfig::for_taggers(BasePrecision::F32) };
        let error = wrong.check().unwrap_err();
        assert_eq!(error.to_string(), "`held_out` must be from 0.02 to 0.5");
    }
}
