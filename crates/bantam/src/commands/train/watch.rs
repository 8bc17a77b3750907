//! Following a training's log from another terminal.

use std::fs::{File, TryLockError};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::commands::student::face::{Figures, line_of};
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::settings::Globals;

/// How often the log is looked at.
const PAUSE: Duration = Duration::from_millis(200);

/// Prints a line whenever something new is in the log, until the training ends. Who trains holds the log locked, so a
/// training that was killed is seen to have ended too.
pub(super) fn follow(log: &Path, globals: &Globals) -> Result<(), Failure> {
    let file = File::open(log).map_err(|error| {
        Failure::from_error(format!("cannot read the log {}", log.display()), &error)
            .hint("start the training in another terminal, or name its log with --log")
    })?;
    let mut reader = BufReader::new(file);
    let (mut line, mut seen) = (String::new(), Seen::default());
    loop {
        // Looked at before the log is read to its end, so that its last lines are not missed.
        let runs = matches!(reader.get_ref().try_lock_shared(), Err(TryLockError::WouldBlock));
        let mut last = None;
        while read_line(&mut reader, &mut line, log)? {
            last = seen.hear(&line).or(last);
            line.clear();
            if let (true, Some(shown)) = (globals.json, &last) {
                output::line(shown.to_string());
                last = None;
            }
        }
        if let Some(shown) = last {
            output::line(shown.said());
        }
        if let Some(outcome) = &seen.outcome {
            output::line(format!("the training has ended: {outcome}"));
            return Ok(());
        }
        if !runs {
            return Err(Failure::new(Outcome::Failed, "the training ended without a word")
                .hint("go on from its last checkpoint: train again with --resume"));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Reads the next whole line; what is not whole yet stays in `line`.
fn read_line(reader: &mut BufReader<File>, line: &mut String, log: &Path) -> Result<bool, Failure> {
    let read = reader
        .read_line(line)
        .map_err(|error| Failure::from_error(format!("cannot read the log {}", log.display()), &error))?;
    Ok(read > 0 && line.ends_with('\n'))
}

/// What the log has said so far.
#[derive(Default)]
struct Seen {
    held_out: Option<f64>,
    outcome: Option<String>,
}

/// A step, as people read it and as machines do.
struct Shown {
    json: Value,
    held_out: Option<f64>,
}

impl Seen {
    fn hear(&mut self, line: &str) -> Option<Shown> {
        // A line that was cut off when a training was killed is passed over.
        let json: Value = serde_json::from_str(line).ok()?;
        match json["event"].as_str() {
            Some("held_out") => {
                self.held_out = json["loss"].as_f64();
                None
            }
            Some("end") => {
                self.outcome = json["outcome"].as_str().map(str::to_owned);
                None
            }
            Some("step") => Some(Shown { json, held_out: self.held_out }),
            _ => None,
        }
    }
}

impl Shown {
    fn said(&self) -> String {
        let number = |key: &str| self.json[key].as_f64().unwrap_or_default();
        let (step, steps) = (number("step"), number("steps"));
        let left = self.json["seconds_left"].as_f64();
        let left = left.unwrap_or_else(|| number("seconds") / step.max(1.0) * (steps - step));
        let figures = Figures {
            epoch: number("epoch") as u64,
            loss: number("loss"),
            held_out: self.held_out,
            speed: number("tokens_per_second"),
            left,
            memory: self.json["memory_mib"].as_u64(),
        };
        format!("step {step} of {steps}, {}", line_of(&figures))
    }
}

impl std::fmt::Display for Shown {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.json.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_said_with_the_last_loss_held_out_and_damaged_lines_are_passed_over() {
        let mut seen = Seen::default();
        assert!(seen.hear("{\"event\":\"st").is_none());
        assert!(seen.hear(r#"{"event":"held_out","loss":0.25}"#).is_none());
        let line = r#"{"event":"step","step":3,"steps":9,"epoch":1,"loss":0.5,"tokens_per_second":10.0,
            "seconds":3.0,"memory_mib":7}"#;
        let said = seen.hear(line).unwrap().said();
        assert_eq!(said, "step 3 of 9, pass 1, loss 0.500 (0.250 held out), 10 tokens/s, 6 s left, 7 MiB");
        assert!(seen.hear(r#"{"event":"end","outcome":"done"}"#).is_none());
        assert_eq!(seen.outcome.as_deref(), Some("done"));
    }
}
