//! Tunes a base on rows into a student, in two runs. The first trains on a part of the rows and evaluates the rest as
//! they would be served; the second trains on all rows with the settings that the first one found.

mod classifier;
mod phase;
mod tagger;

use std::path::Path;

use bantam_kernels::Pool;
use bantam_student::encoder::{BaseIdentity, BaseParts, LoadBaseError};
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

/// How far the served student's accuracy may fall behind the trained one's, in standard errors.
const DEVIATIONS_MAX: f64 = 3.0;
/// How far it may always fall behind, because int8 rounds.
const DIFFERENCE_MAX: f64 = 0.01;

/// Settings of tuning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TuneConfig {
    /// The base's adapters.
    pub lora: LoraConfig,
    /// Both runs.
    pub run: RunConfig,
    /// Label smoothing, for classifiers.
    pub smoothing: f32,
    /// Dropout rate of the head's inputs.
    pub head_dropout: f32,
    /// Factor on the initial logits of a classifier's head.
    pub sharpness: f32,
    /// Share of the rows held out in the first run.
    pub held_out: f64,
    /// The first run stops after this many passes without a better held-out result.
    pub patience: u32,
    /// Maximum number of tokens per text, including special ones; the base's own limit also applies.
    pub tokens_max: usize,
    /// The precision in which the base is served.
    pub precision: BasePrecision,
    /// The features that complement a classifier's head.
    pub student: EncoderConfig,
}

impl TuneConfig {
    /// Returns settings to start with, tried on Banking77 with MiniLM but not searched.
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

    /// Returns settings to start with, tried on restaurant8k and SNIPS with MiniLM but not searched.
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

    /// Returns the name and the allowed range of the first invalid setting.
    pub fn fault(&self) -> Option<(&'static str, &'static str)> {
        let own = [
            ((0.02..=0.5).contains(&self.held_out), "held_out", "from 0.02 to 0.5"),
            ((0.0..0.5).contains(&self.smoothing), "smoothing", "at least 0 and below 0.5"),
            ((0.0..0.9).contains(&self.head_dropout), "head_dropout", "at least 0 and below 0.9"),
            ((0.0..=1000.0).contains(&self.sharpness), "sharpness", "from 0 to 1,000"),
            ((8..=8192).contains(&self.tokens_max), "tokens_max", "from 8 to 8,192"),
        ];
        let own = own.into_iter().find(|(fine, _, _)| !fine).map(|(_, name, range)| (name, range));
        own.or_else(|| self.lora.fault()).or_else(|| self.run.fault())
    }

    fn check(&self) -> Result<(), TuneError> {
        match self.fault() {
            Some((setting, range)) => Err(RunError::Config { setting, range }.into()),
            None => Ok(()),
        }
    }
}

/// Where and how often a run's state is saved.
#[derive(Clone, Copy, Debug)]
pub struct Checkpoint<'c> {
    /// The file. It is removed once the student is complete.
    pub path: &'c Path,
    /// Whether to resume the run in the file, if it exists.
    pub resume: bool,
    /// Steps between two checkpoints; the end of a pass and of a run are always saved.
    pub every: u64,
}

/// The inputs of tuning, besides the rows.
#[derive(Clone, Copy, Debug)]
pub struct TuningJob<'l> {
    /// The base's folder.
    pub folder: &'l Path,
    /// The base's identity in the precision that it is served in, from [`EncoderBase::identify`]. The weights were
    /// hashed there, and are not hashed again.
    ///
    /// [`EncoderBase::identify`]: bantam_student::encoder::EncoderBase::identify
    pub identity: &'l BaseIdentity,
    /// The base's path as the student's file records it, relative to that file's folder.
    pub base_path: &'l Path,
    /// Opens the bases as they are served.
    pub bases: &'l Bases,
    /// The settings.
    pub config: &'l TuneConfig,
    /// Where the state is saved, if at all.
    pub checkpoint: Option<Checkpoint<'l>>,
}

/// Which of the two runs is in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Trains on a part of the rows and evaluates the rest.
    Measure,
    /// Trains on all rows.
    Final,
}

/// Progress of tuning.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum TuneEvent {
    /// A step was taken.
    Step(Phase, Step),
    /// A pass ended with this accuracy on the held-out rows (for taggers: words).
    HeldOut(Phase, u32, f64),
    /// A run resumed after this many steps.
    Resumed(Phase, u64),
}

/// Why tuning failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TuneError {
    /// The base's folder cannot be used.
    #[error(transparent)]
    Base(#[from] Box<LoadBaseError>),
    /// The base cannot be trained.
    #[error(transparent)]
    Network(#[from] LoadNetworkError),
    /// The rows cannot be used.
    #[error(transparent)]
    Rows(#[from] TrainLinearError),
    /// The rows' words cannot be used.
    #[error(transparent)]
    Words(#[from] TrainTaggerError),
    /// There are too few rows to train on some and hold out others.
    #[error("{rows} rows are too few to train on some and hold out others; at least {least} are needed")]
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
    #[error("save the training checkpoint")]
    Save(#[from] WriteWeightsError),
    /// The caller stopped the run; its state is in the checkpoint, if there is one.
    #[error("training was stopped after step {step} of {steps}")]
    Stopped {
        /// Steps taken.
        step: u64,
        /// Total number of steps.
        steps: u64,
    },
    /// The served student is less accurate than the trained one.
    #[error(
        "the student is {:.2} % accurate on held-out rows when served from its file, but was {:.2} % in training",
        100.0 * .served,
        100.0 * .trained
    )]
    Differs {
        /// Accuracy as served.
        served: f64,
        /// Accuracy in training.
        trained: f64,
    },
    /// The parameters do not fit into a student's file.
    #[error("the trained parameters exceed the range that a student's file can hold")]
    Unstorable,
}

impl TuneError {
    /// Returns what to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Base(error) => error.kind.hint(),
            Self::Network(error) => error.kind.hint(),
            Self::Rows(error) => error.hint(),
            Self::Words(error) => error.hint(),
            Self::TooFewRows { .. } => "add rows, or train without tuning the base, which needs fewer",
            Self::Run(error) => error.hint(),
            Self::Resume(error) => error.kind.hint(),
            Self::Save(_) => {
                "make room on the disk, then train again with `resume`: the last checkpoint is intact"
            }
            Self::Stopped { .. } => "train again with `resume` to continue from there",
            Self::Differs { .. } => {
                "serve the base in the precision it was trained in: set `precision` to f32"
            }
            Self::Unstorable => "lower `rate`, the learning rate",
        }
    }
}

/// Holds out rows of each group: at most `share` of it, always leaving `rest` to train on. Returns the training rows,
/// then the held-out ones.
fn split(groups: &[Vec<usize>], share: f64, rest: usize, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let (mut training, mut held_out) = (Vec::new(), Vec::new());
    for (index, group) in groups.iter().enumerate() {
        let mut group = group.clone();
        Key::new(seed).part(5).part(index as u64).shuffle(&mut group);
        let count = ((group.len() as f64 * share).round() as usize).min(group.len().saturating_sub(rest));
        held_out.extend_from_slice(&group[..count]);
        training.extend_from_slice(&group[count..]);
    }
    training.sort_unstable();
    held_out.sort_unstable();
    (training, held_out)
}

/// Refuses a student that is noticeably less accurate when served than in training.
fn check_served(trained: f64, served: f64, rows: usize) -> Result<(), TuneError> {
    let deviation = (trained * (1.0 - trained) / rows.max(1) as f64).sqrt();
    if trained - served > DIFFERENCE_MAX.max(DEVIATIONS_MAX * deviation) {
        return Err(TuneError::Differs { served, trained });
    }
    Ok(())
}

/// Opens the base, and returns the token limit that the student will have.
fn base_parts(job: &TuningJob<'_>) -> Result<(BaseParts, usize), TuneError> {
    job.config.check()?;
    let parts = BaseParts::open(job.folder, job.identity.clone()).map_err(Box::new)?;
    let tokens_max = (parts.identity.tokens_max as usize).min(job.config.tokens_max);
    Ok((parts, tokens_max))
}

/// Returns everything that identifies a run in its checkpoint.
fn facts(job: &TuningJob<'_>, parts: &BaseParts, data: &str, phase: Phase) -> [String; 4] {
    [
        serde_json::to_string(job.config).unwrap_or_default(),
        parts.identity.weights_sha256.clone(),
        data.to_owned(),
        format!("{phase:?}"),
    ]
}

fn pool(job: &TuningJob<'_>) -> Pool {
    Pool::new(job.bases.threads())
}

/// The result of the first run, on which the second one is based.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Measurement<T> {
    /// The pass after which it ended.
    epoch: u32,
    /// What was fitted and measured on the held-out rows.
    found: T,
}

/// Receives events, and may stop a run.
type Listener<'l> = &'l mut dyn FnMut(TuneEvent) -> Control;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_held_out_of_every_group_that_can_spare_some() {
        let groups = [(0..20).collect(), (20..23).collect(), vec![23, 24], vec![25]];
        let (training, held_out) = split(&groups, 0.25, 2, 7);
        assert_eq!(training.len() + held_out.len(), 26);
        assert_eq!(held_out.iter().filter(|row| **row < 20).count(), 5);
        assert_eq!(held_out.iter().filter(|row| (20..23).contains(*row)).count(), 1);
        assert!(held_out.iter().all(|row| *row < 23));
        assert_ne!(held_out, split(&groups, 0.25, 2, 8).1, "the seed decides");
    }

    #[test]
    fn a_student_that_serves_worse_than_noise_explains_is_refused() {
        assert!(check_served(0.95, 0.945, 10_000).is_ok());
        assert!(check_served(0.95, 0.90, 100).is_ok());
        let refused = check_served(0.95, 0.90, 10_000).unwrap_err();
        assert!(matches!(refused, TuneError::Differs { .. }) && !refused.hint().is_empty());
    }

    #[test]
    fn recommended_settings_are_valid_and_an_invalid_one_is_named() {
        for precision in [BasePrecision::Int8, BasePrecision::F32] {
            TuneConfig::for_classifiers(precision).check().unwrap();
            TuneConfig::for_taggers(precision).check().unwrap();
        }
        let wrong = TuneConfig { held_out: 0.9, ..TuneConfig::for_taggers(BasePrecision::F32) };
        let error = wrong.check().unwrap_err();
        assert_eq!(error.to_string(), "`held_out` must be from 0.02 to 0.5");
    }
}
