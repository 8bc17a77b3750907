//! A decoder's training from its first step to what is served: judged on rows held out, ended when they no longer get
//! better, kept so that it can be taken up after any step.

use std::path::{Path, PathBuf};

use bantam_kernels::Pool;
use bantam_weights::WriteWeightsError;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{ResumeError, RunId, load, save};
use crate::optimiser::Moments;
use crate::run::{Control, Objective, RunConfig, RunError, State, Step, run};
use crate::tune::Checkpoint;

/// What can be judged on rows that it does not learn from.
pub trait Judged: Objective {
    /// Returns the mean loss over the rows held out, the same on any number of threads; nothing where there are none.
    fn held_out_loss(&self, parameters: &[f32], pool: &Pool) -> Option<f64>;
}

/// Settings of a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TeachConfig {
    /// The run.
    pub run: RunConfig,
    /// Passes without a smaller loss on the rows held out after which it ends.
    pub patience: u32,
}

/// What happens in a training.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum TeachEvent {
    /// A step was taken.
    Step(Step),
    /// A pass ended with this mean loss on the rows held out.
    HeldOut {
        /// Steps taken.
        step: u64,
        /// The pass, from 1.
        epoch: u32,
        /// The loss.
        loss: f64,
    },
    /// A training that had come so far was taken up again.
    Resumed(u64),
}

/// What a training came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Taught {
    /// What was learnt, as it was after the best pass.
    pub parameters: Vec<f32>,
    /// The loss on the rows held out with these, where there are any.
    pub held_out_loss: Option<f64>,
    /// The step that they are from.
    pub step: u64,
    /// Steps taken in all.
    pub steps: u64,
}

/// Why a training came to nothing.
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
    #[error("keep the state of the training")]
    Save(#[from] WriteWeightsError),
    /// It was stopped from outside; its state is kept, where there is a place for it.
    #[error("training was stopped after step {step} of {steps}")]
    Stopped {
        /// Steps taken.
        step: u64,
        /// Steps in all.
        steps: u64,
    },
}

impl TeachError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Run(error) => error.hint(),
            Self::Resume(error) => error.kind.hint(),
            Self::Save(_) => {
                "make room on the disk, then train again with --resume: the last checkpoint is whole"
            }
            Self::Stopped { .. } => "train again with --resume to go on from there",
        }
    }
}

/// The best pass so far.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Best {
    /// The loss's bits, which text would round.
    loss: Option<u64>,
    step: u64,
    /// Passes since.
    worse: u32,
}

/// Trains from `begin` on, or from the checkpoint on where it is to be resumed and is there, and returns the best of all
/// passes. With equal `facts`, rows and settings the result is the same to the bit, however often it was taken up.
///
/// The checkpoint stays: whoever has made something of the result calls [`forget`].
///
/// # Errors
/// [`TeachError`]; what was kept before is whole.
pub fn teach<O: Judged>(
    objective: &O,
    config: &TeachConfig,
    (begin, facts): (Vec<f32>, &[&str]),
    checkpoint: Option<Checkpoint<'_>>,
    pool: &Pool,
    on_event: &mut dyn FnMut(TeachEvent) -> Control,
) -> Result<Taught, TeachError> {
    let settings = serde_json::to_string(config).unwrap_or_default();
    let facts: Vec<&str> = facts.iter().copied().chain([settings.as_str()]).collect();
    let id = RunId::of(&facts, objective.layout());
    let mut course = Course { state: State::new(begin), best: Best::default(), parameters: None };
    if let Some(Checkpoint { path, resume: true, .. }) = checkpoint
        && path.exists()
    {
        course = Course::load(path, &id, objective)?;
        on_event(TeachEvent::Resumed(course.state.step));
    }
    let steps = config.run.schedule(objective.rows()).steps;
    let mut failed = None;
    let mut was_stopped = false;
    if course.best.worse < config.patience.max(1) {
        let Course { state, best, parameters } = &mut course;
        run(objective, &config.run, pool, state, &mut |state, step| {
            let mut control = on_event(TeachEvent::Step(*step));
            was_stopped = control == Control::Stop;
            let mut kept = Ok(());
            if step.ends_epoch
                && let Some(loss) = objective.held_out_loss(&state.parameters, pool)
            {
                on_event(TeachEvent::HeldOut { step: step.step, epoch: step.epoch, loss });
                if best.loss.is_none_or(|best| loss < f64::from_bits(best)) {
                    *best = Best { loss: Some(loss.to_bits()), step: step.step, worse: 0 };
                    *parameters = Some(state.parameters.clone());
                    kept = save_best(checkpoint, &id, state);
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
                kept = kept.and_then(|()| save(checkpoint.path, &id, state, &note));
            }
            failed = kept.err();
            if failed.is_some() { Control::Stop } else { control }
        })?;
    }
    let is_over = course.state.step == steps || course.best.worse >= config.patience.max(1);
    match failed {
        Some(error) => Err(error.into()),
        None if was_stopped && !is_over => Err(TeachError::Stopped { step: course.state.step, steps }),
        None => Ok(course.taught()),
    }
}

/// Removes a checkpoint that is no longer needed, if it is there.
pub fn forget(checkpoint: &Path) {
    for path in [checkpoint, &beside(checkpoint)] {
        // One that stays does no harm: it is refused by whoever it does not belong to.
        let _ = std::fs::remove_file(path);
    }
}

/// Where a training is.
struct Course {
    state: State,
    best: Best,
    /// What was learnt in the best pass.
    parameters: Option<Vec<f32>>,
}

impl Course {
    fn load<O: Objective>(path: &Path, id: &RunId, objective: &O) -> Result<Self, ResumeError> {
        let (state, note) = load(path, id, objective.layout())?;
        let best: Best = serde_json::from_str(&note).unwrap_or_default();
        let parameters = match best.loss {
            Some(_) => Some(load(&beside(path), id, objective.layout())?.0.parameters),
            None => None,
        };
        Ok(Self { state, best, parameters })
    }

    fn taught(self) -> Taught {
        let Self { state, best, parameters } = self;
        let steps = state.step;
        let held_out_loss = best.loss.map(f64::from_bits);
        match parameters {
            Some(parameters) => Taught { parameters, held_out_loss, step: best.step, steps },
            None => Taught { parameters: state.parameters, held_out_loss, step: steps, steps },
        }
    }
}

/// Where the best pass is kept: written before the state that names it, so that a state never names one that is not
/// there.
fn beside(checkpoint: &Path) -> PathBuf {
    let mut path = checkpoint.as_os_str().to_owned();
    path.push(".best");
    path.into()
}

fn save_best(checkpoint: Option<Checkpoint<'_>>, id: &RunId, state: &State) -> Result<(), WriteWeightsError> {
    let Some(checkpoint) = checkpoint else { return Ok(()) };
    // Nobody goes on from there, so what the optimiser remembers is left out.
    let best = State {
        step: state.step,
        parameters: state.parameters.clone(),
        moments: Moments::new(state.parameters.len()),
    };
    save(&beside(checkpoint.path), id, &best, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{Layout, Pace};
    use crate::random::Key;

    /// Finds the mean of its rows, judged by how far it is from another number.
    struct Mean {
        layout: Layout,
        judged_by: f32,
    }

    impl Mean {
        fn new(judged_by: f32) -> Self {
            let mut layout = Layout::default();
            layout.add("mean".into(), [1, 1], false, Pace::Adapter);
            Self { layout, judged_by }
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

        fn learn(
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
            Some(f64::from((parameters[0] - self.judged_by).abs()))
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

    fn taught(
        judged_by: f32,
        checkpoint: Option<Checkpoint<'_>>,
        on_event: &mut dyn FnMut(TeachEvent) -> Control,
    ) -> Result<Taught, TeachError> {
        let (pool, begin) = (Pool::new(1), (vec![0.0], &["rows"][..]));
        teach(&Mean::new(judged_by), &config(2), begin, checkpoint, &pool, on_event)
    }

    #[test]
    fn it_ends_when_held_out_rows_get_no_better_and_keeps_the_best_pass() {
        let mut passes = Vec::new();
        let found = taught(1.0, None, &mut |event| {
            if let TeachEvent::HeldOut { loss, .. } = event {
                passes.push(loss);
            }
            Control::Continue
        })
        .unwrap();
        let best = passes.iter().copied().fold(f64::INFINITY, f64::min);
        assert_eq!(found.held_out_loss, Some(best));
        assert!(passes.len() < 20, "{passes:?}");
        assert_eq!(passes[passes.len() - 3], best, "two passes more, and no better");
        assert_eq!(f64::from((found.parameters[0] - 1.0).abs()), best);
        assert_eq!((found.step, found.steps), (3 * (passes.len() as u64 - 2), 3 * passes.len() as u64));
    }

    #[test]
    fn stopped_after_any_step_and_taken_up_it_comes_to_the_same_bits() {
        let whole = taught(1.0, None, &mut |_| Control::Continue).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.checkpoint");
        for stop_at in 1..whole.steps {
            let at = |resume| Some(Checkpoint { path: &path, resume, every: 100 });
            let stopped = taught(1.0, at(false), &mut |event| match event {
                TeachEvent::Step(step) if step.step == stop_at => Control::Stop,
                _ => Control::Continue,
            });
            let error = stopped.unwrap_err();
            assert!(matches!(error, TeachError::Stopped { step, .. } if step == stop_at), "{error}");
            let mut resumed = None;
            let found = taught(1.0, at(true), &mut |event| {
                if let TeachEvent::Resumed(step) = event {
                    resumed = Some(step);
                }
                Control::Continue
            });
            assert_eq!((found.unwrap(), resumed), (whole.clone(), Some(stop_at)));
            // What was over stays over.
            assert_eq!(taught(1.0, at(true), &mut |_| Control::Continue).unwrap(), whole);
        }
        forget(&path);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_checkpoint_that_cannot_be_written_ends_it_with_a_hint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none/run.checkpoint");
        let checkpoint = Some(Checkpoint { path: &path, resume: true, every: 1 });
        let error = taught(1.0, checkpoint, &mut |_| Control::Continue).unwrap_err();
        assert!(matches!(error, TeachError::Save(_)) && error.hint().contains("room"), "{error}");
    }
}
