//! What a person sees of a training, and what is kept of it: a bar, a log, events for TensorBoard, a drawing.

mod tfevents;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bantam_train::{Control, Step, TeachEvent};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::curve;
use crate::failure::Failure;
use crate::output;
use crate::settings::Globals;
use tfevents::EventFile;

/// Where a training is written down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Records<'r> {
    /// JSON lines.
    pub(super) log: Option<&'r Path>,
    /// An SVG.
    pub(super) curve: Option<&'r Path>,
    /// A folder of event files.
    pub(super) tensorboard: Option<&'r Path>,
    /// Whether the training goes on from a checkpoint, so that the log does too.
    pub(super) resume: bool,
}

/// Shows a training and writes it down.
pub(super) struct Face {
    bar: ProgressBar,
    log: Option<File>,
    board: Option<EventFile>,
    curve: Option<PathBuf>,
    /// Losses of steps, and on rows held out.
    losses: [Vec<f64>; 2],
    begun: Instant,
    tokens: usize,
    steps: u64,
    held_out: Option<f64>,
    /// What could not be written; training goes on without it.
    failed: Option<std::io::Error>,
    stop: Arc<AtomicBool>,
}

impl Face {
    /// Opens everything that is written to. Ctrl-C asks the training to stop from now on.
    pub(super) fn new(records: Records<'_>, globals: &Globals) -> Result<Self, Failure> {
        let failed = |what: &str, path: &Path, error: &std::io::Error| {
            Failure::from_error(format!("cannot write the {what} {}", path.display()), error)
                .hint("name a place that can be written")
        };
        let log = records
            .log
            .map(|path| open_log(path, records.resume).map_err(|error| failed("log", path, &error)));
        let board = records.tensorboard.map(|folder| {
            EventFile::create(folder, seconds_now()).map_err(|error| failed("events in", folder, &error))
        });
        Ok(Self {
            bar: super::progress(globals),
            log: log.transpose()?,
            board: board.transpose()?,
            curve: records.curve.map(Path::to_owned),
            losses: [Vec::new(), Vec::new()],
            begun: Instant::now(),
            tokens: 0,
            steps: 0,
            held_out: None,
            failed: None,
            stop: stop_on_signal()?,
        })
    }

    /// Hears what happens, and says whether to go on.
    pub(super) fn hear(&mut self, event: TeachEvent) -> Control {
        let line = match event {
            TeachEvent::Step(step) => self.step(&step),
            TeachEvent::HeldOut { step, epoch, loss } => {
                self.held_out = Some(loss);
                self.losses[1].push(loss);
                self.plot(step, &[("loss/held_out", loss)]);
                json!({"event": "held_out", "step": step, "epoch": epoch, "loss": loss})
            }
            TeachEvent::Resumed(step) => json!({"event": "resumed", "step": step}),
            _ => return Control::Continue,
        };
        self.write(&line);
        if self.stop.load(Ordering::Relaxed) { Control::Stop } else { Control::Continue }
    }

    fn step(&mut self, step: &Step) -> Value {
        self.tokens += step.tokens;
        self.steps += 1;
        let seconds = self.begun.elapsed().as_secs_f64();
        let speed = self.tokens as f64 / seconds.max(1e-9);
        self.losses[0].push(step.loss);
        let left = seconds / self.steps as f64 * (step.steps - step.step) as f64;
        let memory = memory_mib();
        self.bar.set_length(step.steps);
        self.bar.set_position(step.step);
        self.bar.set_message(line_of(&Figures {
            epoch: u64::from(step.epoch),
            loss: step.loss,
            held_out: self.held_out,
            speed,
            left,
            memory,
        }));
        let rates = [("loss/train", step.loss), ("rate", step.rate), ("tokens_per_second", speed)];
        self.plot(step.step, &rates);
        json!({
            "event": "step", "step": step.step, "steps": step.steps, "epoch": step.epoch, "loss": step.loss,
            "rate": step.rate, "gradient": step.gradient, "tokens": step.tokens, "seconds": seconds,
            "tokens_per_second": speed, "seconds_left": left, "memory_mib": memory,
        })
    }

    /// Writes a line into the log.
    pub(super) fn write(&mut self, line: &Value) {
        if let Some(log) = &mut self.log
            && let Err(error) = log.write_all(format!("{line}\n").as_bytes())
        {
            self.failed = Some(error);
            self.log = None;
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

    /// Returns how long it has taken, and the tokens a second.
    pub(super) fn speed(&self) -> (f64, f64) {
        let seconds = self.begun.elapsed().as_secs_f64();
        (seconds, self.tokens as f64 / seconds.max(1e-9))
    }

    /// Ends the bar and draws the curve.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        if let Some(error) = self.failed.take() {
            output::note(format!("warning: the log is incomplete: {error}"));
        }
        let Some(path) = &self.curve else { return Ok(()) };
        let names = ["by step", "on rows held out, by pass"];
        std::fs::write(path, curve::draw(&self.losses, names)).map_err(|error| {
            Failure::from_error(format!("cannot write the curve {}", path.display()), &error)
        })
    }
}

/// What a line about a running training says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) epoch: u64,
    pub(crate) loss: f64,
    pub(crate) held_out: Option<f64>,
    /// Tokens a second.
    pub(crate) speed: f64,
    /// Seconds to the last step.
    pub(crate) left: f64,
    /// Memory of the process, where the system says it.
    pub(crate) memory: Option<u64>,
}

/// Writes a line about a running training.
pub(crate) fn line_of(figures: &Figures) -> String {
    let Figures { epoch, loss, held_out, speed, left, memory } = figures;
    let held_out = held_out.map(|loss| format!(" ({loss:.3} held out)")).unwrap_or_default();
    let memory = memory.map(|mib| format!(", {mib} MiB")).unwrap_or_default();
    let left = match *left as u64 {
        seconds @ ..90 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    };
    format!("pass {epoch}, loss {loss:.3}{held_out}, {speed:.0} tokens/s, {left} left{memory}")
}

/// Opens a log, to go on behind its last whole line where a training goes on. It is locked while the training runs:
/// two cannot write one, and who follows it sees when the training has ended, in whatever way.
pub(super) fn open_log(path: &Path, resume: bool) -> std::io::Result<File> {
    let mut file = File::options().create(true).read(true).append(true).open(path)?;
    file.try_lock()?;
    if !resume {
        file.set_len(0)?;
    } else if file.seek(SeekFrom::End(-1)).is_ok() {
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

/// Listens for Ctrl-C on a thread of its own, since training waits for nothing.
fn stop_on_signal() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let (told, runtime) = (Arc::clone(&stop), crate::commands::runtime(1)?);
    let listen = move || {
        if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
            told.store(true, Ordering::Relaxed);
        }
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(listen)
        .map_err(|error| Failure::from_error("cannot listen for Ctrl-C", &error))?;
    Ok(stop)
}

fn seconds_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// The memory that this process holds, where the system says so.
pub(super) fn memory_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_goes_on_behind_its_last_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        std::fs::write(&path, "{\"step\":1}\n{\"st").unwrap();
        open_log(&path, true).unwrap().write_all(b"{\"step\":2}\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"step\":1}\n{\"st\n{\"step\":2}\n");
        open_log(&path, false).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
        open_log(&folder.path().join("new.jsonl"), true).unwrap();
    }

    #[test]
    fn a_line_says_how_far_and_how_fast() {
        let figures = Figures {
            epoch: 2,
            loss: 0.5,
            held_out: Some(0.25),
            speed: 1234.6,
            left: 89.0,
            memory: Some(70),
        };
        assert_eq!(
            line_of(&figures),
            "pass 2, loss 0.500 (0.250 held out), 1235 tokens/s, 89 s left, 70 MiB"
        );
        let rest = Figures { held_out: None, left: 601.0, memory: None, ..figures };
        assert_eq!(line_of(&rest), "pass 2, loss 0.500, 1235 tokens/s, 11 min left");
    }
}
