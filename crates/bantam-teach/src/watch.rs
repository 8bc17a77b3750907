//! Following a training's log while it runs in another process.

use std::fs::{File, TryLockError};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bantam_types::Cancel;

use crate::event::{StepFigures, TrainingEnd, TrainingEvent};

/// How often the log is looked at.
const PAUSE: Duration = Duration::from_millis(200);

/// Why a training cannot be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// There is no log, or it cannot be read.
    #[error("cannot read the log {}", .path.display())]
    Read {
        /// The log.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The process that wrote the log is gone, and the log does not say how the training ended.
    #[error("the training stopped unexpectedly")]
    Lost,
    /// The caller asked to stop.
    #[error("watching was stopped")]
    Cancelled,
}

impl WatchError {
    /// Returns what to do about it. Fields stand in backticks.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Read { .. } => "start the training in another terminal, or give its `log`",
            Self::Lost => "go on from its last checkpoint: train again with `resume`",
            Self::Cancelled => "watch it again; the training goes on",
        }
    }
}

/// Tells what is in the log of a training, and what comes, until the training ends; returns how it ended. Steps that were
/// written together come one after the other; `is_last` says which of them is the newest.
///
/// Whoever trains holds the log locked, so a training that was killed is seen to have ended too. A line that was cut off
/// when a training was killed is passed over.
///
/// # Errors
/// [`WatchError`], when the log cannot be read or its training is gone.
pub fn watch(
    log: &Path,
    on_event: &mut dyn FnMut(&TrainingEvent, bool),
    cancel: &Cancel,
) -> Result<TrainingEnd, WatchError> {
    let failed = |source| WatchError::Read { path: log.to_owned(), source };
    let mut reader = BufReader::new(File::open(log).map_err(failed)?);
    let mut line = String::new();
    loop {
        // Looked at before the log is read to its end, so that its last lines are not missed.
        let runs = matches!(reader.get_ref().try_lock_shared(), Err(TryLockError::WouldBlock));
        let mut last = None;
        while read_line(&mut reader, &mut line).map_err(failed)? {
            let event = serde_json::from_str::<TrainingEvent>(&line).ok();
            line.clear();
            if let (Some(before), true) = (&last, event.is_some()) {
                on_event(before, false);
            }
            last = event.or(last);
        }
        if let Some(last) = last {
            on_event(&last, true);
            if let TrainingEvent::End { outcome } = last {
                return Ok(outcome);
            }
        }
        if !runs {
            return Err(WatchError::Lost);
        }
        if cancel.is_cancelled() {
            return Err(WatchError::Cancelled);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Reads the next whole line; what is not whole yet stays in `line`.
fn read_line(reader: &mut BufReader<File>, line: &mut String) -> std::io::Result<bool> {
    Ok(reader.read_line(line)? > 0 && line.ends_with('\n'))
}

/// A step with the newest loss on rows held out, as a person follows it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// The newest step, once there was one.
    pub step: Option<StepFigures>,
    /// The newest loss on rows held out.
    pub held_out_loss: Option<f64>,
    /// The newest share of rows held out that were right.
    pub held_out_right: Option<f64>,
}

impl Progress {
    /// Takes an event in; returns whether it was a step.
    pub fn hear(&mut self, event: &TrainingEvent) -> bool {
        match event {
            TrainingEvent::Step(step) => self.step = Some(*step),
            TrainingEvent::HeldOut(figures) => {
                self.held_out_loss = figures.loss.or(self.held_out_loss);
                self.held_out_right = figures.right.or(self.held_out_right);
            }
            _ => {}
        }
        matches!(event, TrainingEvent::Step(_))
    }

    /// Returns the newest step in words: pass, losses, speed, the time that is left, memory.
    pub fn text(&self) -> Option<String> {
        let step = self.step?;
        let StepFigures { epoch, loss, tokens_per_second, .. } = step;
        let held_out = match (self.held_out_loss, self.held_out_right) {
            (Some(loss), _) => format!(" ({loss:.3} held out)"),
            (None, Some(right)) => format!(" ({:.1} % of held-out right)", 100.0 * right),
            (None, None) => String::new(),
        };
        let memory = step.memory_mib.map(|mib| format!(", {mib} MiB")).unwrap_or_default();
        // Logs of older programs do not say it.
        let at_this_speed =
            || step.seconds / step.step.max(1) as f64 * step.steps.saturating_sub(step.step) as f64;
        let left = match step.seconds_left.unwrap_or_else(at_this_speed) as u64 {
            seconds @ ..90 => format!("{seconds} s"),
            seconds => format!("{} min", seconds.div_ceil(60)),
        };
        Some(format!(
            "pass {epoch}, loss {loss:.3}{held_out}, {tokens_per_second:.0} tokens/s, {left} left{memory}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(text: &str) -> (Vec<(TrainingEvent, bool)>, Result<TrainingEnd, WatchError>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        std::fs::write(&path, text).unwrap();
        let mut events = Vec::new();
        let end = watch(&path, &mut |event, is_last| events.push((event.clone(), is_last)), &Cancel::new());
        (events, end)
    }

    #[test]
    fn a_log_is_followed_to_its_end_and_damaged_lines_are_passed_over() {
        let (events, end) = followed(concat!(
            "{\"event\":\"st\n",
            "{\"event\":\"held_out\",\"loss\":0.25}\n",
            "{\"event\":\"step\",\"step\":3,\"steps\":9,\"epoch\":1,\"loss\":0.5,\"seconds\":3.0,\"memory_mib\":7}\n",
            "{\"event\":\"end\",\"outcome\":\"done\"}\n",
        ));
        assert_eq!(end.unwrap(), TrainingEnd::Done);
        assert_eq!(events.iter().map(|(_, is_last)| *is_last).collect::<Vec<_>>(), [false, false, true]);
        let mut progress = Progress::default();
        assert_eq!(events.iter().filter(|(event, _)| progress.hear(event)).count(), 1);
        assert_eq!((progress.step.unwrap().step, progress.held_out_loss), (3, Some(0.25)));
    }

    #[test]
    fn a_training_that_is_gone_ended_without_a_word() {
        let (events, end) = followed("{\"event\":\"step\",\"step\":3}\n{\"event\":\"st");
        assert!(matches!(end, Err(WatchError::Lost)) && events.len() == 1);
        let missing = watch(Path::new("/no/such/log"), &mut |_, _| {}, &Cancel::new());
        assert!(matches!(missing, Err(WatchError::Read { .. })));
    }

    #[test]
    fn a_line_says_how_far_and_how_fast() {
        let step = StepFigures {
            step: 3,
            steps: 9,
            epoch: 2,
            loss: 0.5,
            tokens_per_second: 1234.6,
            seconds_left: Some(89.0),
            memory_mib: Some(70),
            ..StepFigures::default()
        };
        let text = |step, held_out_loss, held_out_right| {
            Progress { step: Some(step), held_out_loss, held_out_right }.text().unwrap()
        };
        assert_eq!(
            text(step, Some(0.25), None),
            "pass 2, loss 0.500 (0.250 held out), 1235 tokens/s, 89 s left, 70 MiB"
        );
        let step = StepFigures { seconds_left: Some(601.0), memory_mib: None, ..step };
        assert_eq!(text(step, None, None), "pass 2, loss 0.500, 1235 tokens/s, 11 min left");
        let old = StepFigures { seconds_left: None, seconds: 3.0, ..step };
        assert!(text(old, None, None).contains("6 s left"));
        assert!(text(step, None, Some(0.75)).contains("(75.0 % of held-out right)"));
        assert_eq!(Progress::default().text(), None);
    }
}
