//! A training under way: whoever listens, what is written down, and whether it should stop.

use std::time::Instant;

use bantam_train::{Control, Phase, Step};
use bantam_types::Cancel;

use super::TrainError;
use crate::event::{HeldOutFigures, StepFigures, TrainingEnd, TrainingEvent, TrainingNotice};
use crate::plan::RecordPaths;
use crate::records::Records;

/// What a training tells while it runs.
pub(crate) struct Course<'c> {
    observer: &'c mut dyn FnMut(TrainingEvent),
    records: Records,
    cancel: &'c Cancel,
    begun: Instant,
    tokens: u64,
    /// Steps that were taken by this process.
    steps: u64,
}

impl<'c> Course<'c> {
    /// Opens the records of a training and starts its clock.
    pub(crate) fn begin(
        paths: &RecordPaths,
        observer: &'c mut dyn FnMut(TrainingEvent),
        cancel: &'c Cancel,
    ) -> Result<Self, TrainError> {
        let records = Records::open(paths)?;
        Ok(Self { observer, records, cancel, begun: Instant::now(), tokens: 0, steps: 0 })
    }

    /// Tells an event to whoever listens, and writes it down where it belongs.
    pub(crate) fn tell(&mut self, event: TrainingEvent) {
        self.records.hear(&event);
        (self.observer)(event);
    }

    /// Tells of a step of `run`, where there are two runs, and says whether to take the next.
    pub(crate) fn step(&mut self, run: Option<Phase>, step: &Step) -> Control {
        self.tokens += step.tokens as u64;
        self.steps += 1;
        let seconds = self.seconds();
        // Both runs take about as long.
        let later_runs = u64::from(run == Some(Phase::Measure));
        let left = later_runs * step.steps + step.steps - step.step;
        self.tell(TrainingEvent::Step(StepFigures {
            run,
            step: step.step,
            steps: step.steps,
            epoch: step.epoch,
            loss: step.loss,
            rate: step.rate,
            gradient: step.gradient,
            tokens: step.tokens as u64,
            seconds,
            tokens_per_second: self.tokens_per_second(),
            seconds_left: Some(seconds / self.steps as f64 * left as f64),
            memory_mib: memory_mib(),
        }));
        self.control()
    }

    /// Tells how rows held out were judged.
    pub(crate) fn held_out(&mut self, figures: HeldOutFigures) -> Control {
        self.tell(TrainingEvent::HeldOut(figures));
        self.control()
    }

    /// Returns the request to stop, for work that looks at it itself.
    pub(crate) fn cancel(&self) -> Cancel {
        self.cancel.clone()
    }

    /// Says whether to go on.
    pub(crate) fn control(&self) -> Control {
        if self.cancel.is_cancelled() { Control::Stop } else { Control::Continue }
    }

    /// Ends here when the training was asked to stop, where there is no state that could be taken up again.
    pub(crate) fn check(&self) -> Result<(), TrainError> {
        if self.cancel.is_cancelled() { Err(TrainError::Stopped) } else { Ok(()) }
    }

    /// Returns the seconds since the training began.
    pub(crate) fn seconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    /// Returns the tokens a second since the training began.
    pub(crate) fn tokens_per_second(&self) -> f64 {
        self.tokens as f64 / self.seconds().max(1e-9)
    }

    /// Ends the records.
    pub(crate) fn end(mut self, outcome: TrainingEnd) -> Result<(), TrainError> {
        self.tell(TrainingEvent::End { outcome });
        if let Some(error) = self.records.take_failure() {
            let notice = TrainingNotice::RecordsIncomplete { error: error.to_string() };
            (self.observer)(TrainingEvent::Notice(notice));
        }
        Ok(self.records.draw()?)
    }
}

/// Returns the memory that this process holds, where the system tells.
fn memory_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib / 1024)
}
