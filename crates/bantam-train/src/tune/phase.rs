//! One run of tuning, from its start or its checkpoint to its end.

use bantam_kernels::Pool;
use serde::{Deserialize, Serialize};

use super::{Checkpoint, Listener, Phase, TuneError, TuneEvent};
use crate::checkpoint::{ResumeErrorKind, RunId, load, save};
use crate::run::{Control, Objective, RunConfig, State, Step, run};

/// What a checkpoint stores besides the state, so that a resumed run ends as an uninterrupted one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Note {
    /// Accuracy on the held-out rows after each pass.
    pub(super) held_out: Vec<f64>,
    /// The measurement of the first run, as JSON.
    #[serde(rename = "shown")]
    pub(super) measurement: String,
}

/// The settings of a run.
pub(super) struct PhaseRun<'r> {
    pub(super) phase: Phase,
    pub(super) id: RunId,
    pub(super) config: &'r RunConfig,
    pub(super) checkpoint: Option<Checkpoint<'r>>,
    /// The pass after which to end; `None` to end after the last one, or when the held-out rows stop improving.
    pub(super) ends_after: Option<u32>,
    pub(super) patience: u32,
}

/// Returns the checkpoint's state and note, if it exists and belongs to this run.
pub(super) fn resumed<O: Objective>(
    objective: &O,
    id: &RunId,
    checkpoint: Option<Checkpoint<'_>>,
) -> Result<Option<(State, Note)>, TuneError> {
    let Some(checkpoint) = checkpoint.filter(|checkpoint| checkpoint.resume && checkpoint.path.exists())
    else {
        return Ok(None);
    };
    match load(checkpoint.path, id, objective.layout()) {
        Ok((state, note)) => Ok(serde_json::from_str(&note).ok().map(|note| (state, note))),
        Err(error) if matches!(error.kind, ResumeErrorKind::OtherRun) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl PhaseRun<'_> {
    /// Saves the state, if there is a checkpoint.
    pub(super) fn save(&self, state: &State, note: &Note) -> Result<(), TuneError> {
        let Some(checkpoint) = self.checkpoint else { return Ok(()) };
        Ok(save(checkpoint.path, &self.id, state, &serde_json::to_string(note).unwrap_or_default())?)
    }

    /// Completes the run. If its end is open, evaluates `accuracy`, the accuracy on the held-out rows, after each pass.
    /// Returns the parameters and the pass after which it ended.
    pub(super) fn finish<O: Objective>(
        &self,
        objective: &O,
        (mut state, mut note): (State, Note),
        pool: &Pool,
        accuracy: &dyn Fn(&[f32]) -> f64,
        listener: Listener<'_>,
    ) -> Result<(Vec<f32>, u32), TuneError> {
        let per_epoch = self.config.steps_per_epoch(objective.rows()).max(1);
        if state.step > 0 {
            listener(TuneEvent::Resumed(self.phase, state.step));
        }
        let mut result = Ok(());
        if !self.has_ended(&note, state.step, per_epoch) {
            run(objective, self.config, pool, &mut state, &mut |state, step| {
                let mut control = listener(TuneEvent::Step(self.phase, *step));
                if control == Control::Stop && step.step < step.steps {
                    result = Err(TuneError::Stopped { step: step.step, steps: step.steps });
                }
                if step.ends_epoch && self.ends_after.is_none() {
                    note.held_out.push(accuracy(&state.parameters));
                    let right = note.held_out.last().copied().unwrap_or_default();
                    listener(TuneEvent::HeldOut(self.phase, step.epoch, right));
                }
                if (self.is_due(step) || control == Control::Stop)
                    && let Err(error) = self.save(state, &note)
                {
                    result = Err(error);
                }
                if result.is_err() || self.has_ended(&note, step.step, per_epoch) {
                    control = Control::Stop;
                }
                control
            })?;
        }
        result?;
        Ok((state.parameters, (state.step / per_epoch).max(1) as u32))
    }

    fn is_due(&self, step: &Step) -> bool {
        let every = self.checkpoint.map_or(u64::MAX, |checkpoint| checkpoint.every.max(1));
        step.ends_epoch || step.step.is_multiple_of(every)
    }

    /// Returns whether the run's last pass is over.
    fn has_ended(&self, note: &Note, step: u64, per_epoch: u64) -> bool {
        match self.ends_after {
            Some(epoch) => step >= u64::from(epoch) * per_epoch,
            None => {
                let best = note.held_out.iter().copied().fold(0.0, f64::max);
                let since = note.held_out.iter().rev().take_while(|right| **right < best).count();
                step.is_multiple_of(per_epoch) && since >= self.patience.max(1) as usize
            }
        }
    }
}
