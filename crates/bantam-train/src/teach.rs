//! Trains a decoder from its first step to its best parameters: evaluates held-out rows, stops early when they no
//! longer improve, and saves checkpoints from which training can resume after any step.

use std::path::{Path, PathBuf};

use bantam_kernels::Pool;
use bantam_weights::WriteWeightsError;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{ResumeError, RunId, load, save};
use crate::optimiser::Moments;
use crate::run::{Control, Objective, RunConfig, RunError, State, Step, run};
use crate::tune::Checkpoint;

/// An objective with held-out rows.
pub trait Judged: Objective {
    /// Returns the mean loss over the held-out rows, or `None` without such rows. It is the same with any number of
    /// threads.
    fn held_out_loss(&self, parameters: &[f32], pool: &Pool) -> Option<f64>;
}

/// Settings of a decoder training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TeachConfig {
    /// The run.
    pub run: RunConfig,
    /// Stop after this many passes without a smaller held-out loss.
    pub patience: u32,
}

/// Progress of a decoder training.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum TeachEvent {
    /// A step was taken.
    Step(Step),
    /// A pass ended with this mean held-out loss.
    HeldOut {
        /// Steps taken.
        step: u64,
        /// The pass, from 1.
        epoch: u32,
        /// The loss.
        loss: f64,
    },
    /// Training resumed after this many steps.
    Resumed(u64),
}

/// The result of a decoder training.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainedDecoder {
    /// The parameters after the best pass.
    pub parameters: Vec<f32>,
    /// Their held-out loss, if there are held-out rows.
    pub held_out_loss: Option<f64>,
    /// The step they are from.
    pub step: u64,
    /// Total number of steps taken.
    pub steps: u64,
}

/// Why a decoder training failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TeachError {
    /// The run failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Resume(#[from] ResumeError),
    /// The checkpoint cannot be written.
    #[error("save the training checkpoint")]
    Save(#[from] WriteWeightsError),
    /// The caller stopped the training; its state is in the checkpoint, if there is one.
    #[error("training was stopped after step {step} of {steps}")]
    Stopped {
        /// Steps taken.
        step: u64,
        /// Total number of steps.
        steps: u64,
    },
}

impl TeachError {
    /// Returns what to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Run(error) => error.hint(),
            Self::Resume(error) => error.kind.hint(),
            Self::Save(_) => {
                "make room on the disk, then train again with `resume`: the last checkpoint is intact"
            }
            Self::Stopped { .. } => "train again with `resume` to continue from there",
        }
    }
}

/// The best pass so far.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct BestPass {
    /// The loss's bits, because text would round it.
    loss: Option<u64>,
    step: u64,
    /// Number of passes since.
    worse: u32,
}

/// Trains from the parameters `begin`, or resumes from the checkpoint if it exists and `resume` is set, and returns the
/// parameters of the best pass. With equal `facts`, rows and settings the result is the same to the bit, however often
/// the training was resumed.
///
/// The checkpoint stays; call [`forget`] once the result is saved.
///
/// # Errors
/// [`TeachError`]; the last checkpoint is intact.
pub fn teach<O: Judged>(
    objective: &O,
    config: &TeachConfig,
    (begin, facts): (Vec<f32>, &[&str]),
    checkpoint: Option<Checkpoint<'_>>,
    pool: &Pool,
    on_event: &mut dyn FnMut(TeachEvent) -> Control,
) -> Result<TrainedDecoder, TeachError> {
    let settings = serde_json::to_string(config).unwrap_or_default();
    let facts: Vec<&str> = facts.iter().copied().chain([settings.as_str()]).collect();
    let id = RunId::of(&facts, objective.layout());
    let mut progress =
        Progress { state: State::new(begin), best: BestPass::default(), best_parameters: None };
    if let Some(Checkpoint { path, resume: true, .. }) = checkpoint
        && path.exists()
    {
        progress = Progress::load(path, &id, objective)?;
        on_event(TeachEvent::Resumed(progress.state.step));
    }
    let steps = config.run.schedule(objective.rows()).steps;
    let mut failed = None;
    let mut was_stopped = false;
    if progress.best.worse < config.patience.max(1) {
        let Progress { state, best, best_parameters } = &mut progress;
        run(objective, &config.run, pool, state, &mut |state, step| {
            let mut control = on_event(TeachEvent::Step(*step));
            was_stopped = control == Control::Stop;
            let mut saved = Ok(());
            if step.ends_epoch
                && let Some(loss) = objective.held_out_loss(&state.parameters, pool)
            {
                on_event(TeachEvent::HeldOut { step: step.step, epoch: step.epoch, loss });
                if best.loss.is_none_or(|best| loss < f64::from_bits(best)) {
                    *best = BestPass { loss: Some(loss.to_bits()), step: step.step, worse: 0 };
                    *best_parameters = Some(state.parameters.clone());
                    saved = save_best(checkpoint, &id, state);
                } else {
                    best.worse += 1;
                }
                if best.worse >= config.patience.max(1) {
                    control = Control::Stop;
                }
            }
            if let Some(checkpoint) = checkpoint
                && (step.ends_epoch
                    || control == Control::Stop
                    || step.step.is_multiple_of(checkpoint.every.max(1)))
            {
                let note = serde_json::to_string(best).unwrap_or_default();
                saved = saved.and_then(|()| save(checkpoint.path, &id, state, &note));
            }
            failed = saved.err();
            if failed.is_some() { Control::Stop } else { control }
        })?;
    }
    let is_over = progress.state.step == steps || progress.best.worse >= config.patience.max(1);
    match failed {
        Some(error) => Err(error.into()),
        None if was_stopped && !is_over => Err(TeachError::Stopped { step: progress.state.step, steps }),
        None => Ok(progress.into_result()),
    }
}

/// Removes a checkpoint that is no longer needed.
pub fn forget(checkpoint: &Path) {
    for path in [checkpoint, &best_path(checkpoint)] {
        // A leftover does no harm: any other run refuses it.
        let _ = std::fs::remove_file(path);
    }
}

/// A training so far.
struct Progress {
    state: State,
    best: BestPass,
    best_parameters: Option<Vec<f32>>,
}

impl Progress {
    fn load<O: Objective>(path: &Path, id: &RunId, objective: &O) -> Result<Self, ResumeError> {
        let (state, note) = load(path, id, objective.layout())?;
        let best: BestPass = serde_json::from_str(&note).unwrap_or_default();
        let best_parameters = match best.loss {
            Some(_) => Some(load(&best_path(path), id, objective.layout())?.0.parameters),
            None => None,
        };
        Ok(Self { state, best, best_parameters })
    }

    fn into_result(self) -> TrainedDecoder {
        let Self { state, best, best_parameters } = self;
        let steps = state.step;
        let held_out_loss = best.loss.map(f64::from_bits);
        match best_parameters {
            Some(parameters) => TrainedDecoder { parameters, held_out_loss, step: best.step, steps },
            None => TrainedDecoder { parameters: state.parameters, held_out_loss, step: steps, steps },
        }
    }
}

/// Returns the file of the best pass. It is written before the state that refers to it, so that the reference is always
/// valid.
fn best_path(checkpoint: &Path) -> PathBuf {
    let mut path = checkpoint.as_os_str().to_owned();
    path.push(".best");
    path.into()
}

fn save_best(checkpoint: Option<Checkpoint<'_>>, id: &RunId, state: &State) -> Result<(), WriteWeightsError> {
    let Some(checkpoint) = checkpoint else { return Ok(()) };
    // Training never resumes from here, so the optimiser's moments are left out.
    let best = State {
        step: state.step,
        parameters: state.parameters.clone(),
        moments: Moments::new(state.parameters.len()),
    };
    save(&best_path(checkpoint.path), id, &best, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{Layout, ParameterGroup};
    use crate::random::Key;

    /// Fits the mean of its rows; its held-out loss is the distance to another number.
    struct Mean {
        layout: Layout,
        held_out_target: f32,
    }

    impl Mean {
        fn new(held_out_target: f32) -> Self {
            let mut layout = Layout::default();
            layout.add("mean".into(), [1, 1], false, ParameterGroup::Adapter);
            Self { layout, held_out_target }
        }
    }

    impl Objective for Mean {
        type Scratch = ();

        fn layout(&self) -> &Layout {
            &self.layout
        }

        fn rows(&self) -> usize {
            12
        }

        fn tokens(&self, _: usize) -> usize {
            1
        }

        fn terms(&self, _: usize) -> usize {
            1
        }

        fn add_gradient(
            &self,
            at: &[f32],
            rows: &[(usize, Key)],
            factor: f32,
            (): &mut (),
            gradient: &mut [f32],
        ) -> f64 {
            let distances = rows.iter().map(|(row, _)| at[0] - *row as f32);
            distances.map(|distance| gradient[0] += factor * distance).count() as f64
        }
    }

    impl Judged for Mean {
        fn held_out_loss(&self, parameters: &[f32], _: &Pool) -> Option<f64> {
            Some(f64::from((parameters[0] - self.held_out_target).abs()))
        }
    }

    fn config(patience: u32) -> TeachConfig {
        let run = RunConfig {
            epochs: 40,
            batch_rows: 4,
            slice_tokens: 4,
            lanes: 1,
            rate: 0.2,
            head_rate: 0.2,
            warmup: 0.0,
            decay: 0.0,
            clip: 1.0,
            seed: 7,
        };
        TeachConfig { run, patience }
    }

    fn train(
        held_out_target: f32,
        checkpoint: Option<Checkpoint<'_>>,
        on_event: &mut dyn FnMut(TeachEvent) -> Control,
    ) -> Result<TrainedDecoder, TeachError> {
        let (pool, begin) = (Pool::new(1), (vec![0.0], &["rows"][..]));
        teach(&Mean::new(held_out_target), &config(2), begin, checkpoint, &pool, on_event)
    }

    #[test]
    fn training_stops_when_held_out_rows_stop_improving_and_returns_the_best_pass() {
        let mut passes = Vec::new();
        let found = train(1.0, None, &mut |event| {
            if let TeachEvent::HeldOut { loss, .. } = event {
                passes.push(loss);
            }
            Control::Continue
        })
        .unwrap();
        let best = passes.iter().copied().fold(f64::INFINITY, f64::min);
        assert_eq!(found.held_out_loss, Some(best));
        assert!(passes.len() < 20, "{passes:?}");
        assert_eq!(passes[passes.len() - 3], best, "two more passes without improvement");
        assert_eq!(f64::from((found.parameters[0] - 1.0).abs()), best);
        assert_eq!((found.step, found.steps), (3 * (passes.len() as u64 - 2), 3 * passes.len() as u64));
    }

    #[test]
    fn training_stopped_after_any_step_and_resumed_gives_the_same_bits() {
        let whole = train(1.0, None, &mut |_| Control::Continue).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.checkpoint");
        for stop_at in 1..whole.steps {
            let at = |resume| Some(Checkpoint { path: &path, resume, every: 100 });
            let stopped = train(1.0, at(false), &mut |event| match event {
                TeachEvent::Step(step) if step.step == stop_at => Control::Stop,
                _ => Control::Continue,
            });
            let error = stopped.unwrap_err();
            assert!(matches!(error, TeachError::Stopped { step, .. } if step == stop_at), "{error}");
            let mut resumed = None;
            let found = train(1.0, at(true), &mut |event| {
                if let TeachEvent::Resumed(step) = event {
                    resumed = Some(step);
                }
                Control::Continue
            });
            assert_eq!((found.unwrap(), resumed), (whole.clone(), Some(stop_at)));
            // A finished training stays finished.
            assert_eq!(train(1.0, at(true), &mut |_| Control::Continue).unwrap(), whole);
        }
        forget(&path);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_unwritable_checkpoint_ends_the_training_with_a_hint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing/run.checkpoint");
        let checkpoint = Some(Checkpoint { path: &path, resume: true, every: 1 });
        let error = train(1.0, checkpoint, &mut |_| Control::Continue).unwrap_err();
        assert!(matches!(error, TeachError::Save(_)) && error.hint().contains("make room"), "{error}");
    }
}
