//! What is written down of a training while it runs: a log, event files for TensorBoard, a drawing of the loss.

mod curve;
mod log;
mod tfevents;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use bantam_train::Phase;

use crate::event::{HeldOutFigures, StepFigures, TrainingEvent};
use crate::plan::RecordPaths;
use log::open_log;
use tfevents::EventFile;

/// A record that cannot be opened or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the {what} {}", .path.display())]
pub struct RecordError {
    /// The setting that names the place.
    pub field: &'static str,
    /// What it is, in words.
    pub what: &'static str,
    /// The place.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: std::io::Error,
}

impl RecordError {
    /// Returns what to do about it. Fields stand in backticks.
    pub fn hint(&self) -> String {
        format!("give another `{}`, in a folder that exists and can be written", self.field)
    }
}

/// Writes a training down.
pub(crate) struct Records {
    log: Option<File>,
    board: Option<EventFile>,
    curve: Option<PathBuf>,
    /// The lines of the drawing: of steps and of rows held out, or of two runs.
    losses: [Vec<f64>; 2],
    has_two_runs: bool,
    /// What could not be written; the training goes on without it.
    failed: Option<std::io::Error>,
}

impl Records {
    /// Opens everything that is written to.
    pub(crate) fn open(paths: &RecordPaths) -> Result<Self, RecordError> {
        let log = paths
            .log
            .as_deref()
            .map(|path| open_log(path, paths.resume).map_err(|source| failed("log", "log", path, source)));
        let board = paths.tensorboard.as_deref().map(|folder| {
            let created = EventFile::create(folder, seconds_now());
            created.map_err(|source| failed("tensorboard", "events in", folder, source))
        });
        Ok(Self {
            log: log.transpose()?,
            board: board.transpose()?,
            curve: paths.curve.clone(),
            losses: [Vec::new(), Vec::new()],
            has_two_runs: false,
            failed: None,
        })
    }

    /// Writes an event down, where it belongs.
    pub(crate) fn hear(&mut self, event: &TrainingEvent) {
        match event {
            TrainingEvent::Step(step) => self.step(step),
            TrainingEvent::HeldOut(figures) => self.held_out(figures),
            _ => {}
        }
        if event.is_logged()
            && let Some(log) = &mut self.log
            && let Err(error) = write_line(log, event)
        {
            self.failed = Some(error);
            self.log = None;
        }
    }

    fn step(&mut self, step: &StepFigures) {
        self.has_two_runs = step.run.is_some();
        self.losses[usize::from(step.run == Some(Phase::Final))].push(step.loss);
        let name = match step.run {
            None => "loss/train",
            Some(Phase::Measure) => "loss/first_run",
            Some(Phase::Final) => "loss/second_run",
        };
        let values = [(name, step.loss), ("rate", step.rate), ("tokens_per_second", step.tokens_per_second)];
        self.plot(step.step, &values);
    }

    fn held_out(&mut self, figures: &HeldOutFigures) {
        if let (Some(loss), Some(step)) = (figures.loss, figures.step) {
            self.losses[1].push(loss);
            self.plot(step, &[("loss/held_out", loss)]);
        }
    }

    fn plot(&mut self, step: u64, values: &[(&str, f64)]) {
        if let Some(board) = &mut self.board
            && let Err(error) = board.scalars(seconds_now(), step, values)
        {
            self.failed = Some(error);
            self.board = None;
        }
    }

    /// Returns what kept a record from being complete, once.
    pub(crate) fn take_failure(&mut self) -> Option<std::io::Error> {
        self.failed.take()
    }

    /// Draws the curve.
    pub(crate) fn draw(&self) -> Result<(), RecordError> {
        let Some(path) = &self.curve else { return Ok(()) };
        let names = match self.has_two_runs {
            true => ["on a part of the rows", "on all rows"],
            false => ["by step", "on rows held out, by pass"],
        };
        std::fs::write(path, curve::draw(&self.losses, names))
            .map_err(|source| failed("curve", "curve", path, source))
    }
}

fn failed(field: &'static str, what: &'static str, path: &Path, source: std::io::Error) -> RecordError {
    RecordError { field, what, path: path.to_owned(), source }
}

fn write_line(log: &mut File, event: &TrainingEvent) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    log.write_all(&line)
}

fn seconds_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::TrainingEnd;

    #[test]
    fn steps_are_logged_plotted_and_drawn_and_progress_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let paths = RecordPaths {
            log: Some(folder.path().join("log.jsonl")),
            curve: Some(folder.path().join("curve.svg")),
            tensorboard: Some(folder.path().join("board")),
            resume: false,
        };
        let mut records = Records::open(&paths).unwrap();
        let step = StepFigures { step: 1, steps: 2, loss: 0.5, ..StepFigures::default() };
        let held_out = HeldOutFigures { step: Some(1), loss: Some(0.25), ..HeldOutFigures::default() };
        let events = [
            TrainingEvent::Judging { done: 1, rows: 2 },
            TrainingEvent::Step(step),
            TrainingEvent::HeldOut(held_out),
            TrainingEvent::End { outcome: TrainingEnd::Done },
        ];
        events.iter().for_each(|event| records.hear(event));
        records.draw().unwrap();
        assert!(records.take_failure().is_none());
        let log = std::fs::read_to_string(folder.path().join("log.jsonl")).unwrap();
        let read: Vec<TrainingEvent> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, events[1..]);
        let curve = std::fs::read_to_string(folder.path().join("curve.svg")).unwrap();
        assert!(curve.contains("by step: 1 values") && curve.contains("held out, by pass: 1 values"));
        assert_eq!(std::fs::read_dir(folder.path().join("board")).unwrap().count(), 1);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named_with_its_field() {
        let folder = tempfile::tempdir().unwrap();
        let paths = RecordPaths { log: Some(folder.path().join("none/log.jsonl")), ..RecordPaths::default() };
        let error = Records::open(&paths).err().unwrap();
        assert!(error.to_string().starts_with("cannot write the log ") && error.hint().contains("`log`"));
    }
}
