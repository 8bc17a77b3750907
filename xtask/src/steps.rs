//! The steps of a run: each has a name, is shown while it runs, is timed, and ends the run if it fails.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::summary::Counts;

/// A step failed; the reason has been printed.
#[derive(Debug)]
pub(crate) struct Failed;

/// The steps of a run so far.
pub(crate) struct Steps {
    root: PathBuf,
    done: Vec<(String, Duration)>,
    counts: Counts,
}

impl Steps {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), done: Vec::new(), counts: Counts::default() }
    }

    /// Returns the tests counted so far.
    pub(crate) const fn counts(&self) -> Counts {
        self.counts
    }

    /// Returns the steps with their durations.
    pub(crate) fn table(&self) -> Vec<String> {
        self.done.iter().map(|(name, took)| format!("{:>8.1} s  {name}", took.as_secs_f64())).collect()
    }

    /// Runs a command that succeeds or fails by its exit status; its output goes to the terminal.
    pub(crate) fn command(&mut self, name: &str, command: &mut Command) -> Result<(), Failed> {
        let root = self.root.clone();
        self.step(name, || {
            let status = command.current_dir(&root).status();
            let status = status.map_err(|error| format!("cannot run {}: {error}", shown(command)))?;
            if status.success() {
                Ok(Counts::default())
            } else {
                Err((format!("{status}"), Counts::default()).into())
            }
        })
    }

    /// Runs a test runner: its output is shown as it arrives, and `read` takes the counts from it.
    pub(crate) fn tests(
        &mut self,
        name: &str,
        command: &mut Command,
        read: fn(&str) -> Counts,
    ) -> Result<(), Failed> {
        let root = self.root.clone();
        self.step(name, || {
            let (success, output) = run_shown(command.current_dir(&root))
                .map_err(|error| format!("cannot run {}: {error}", shown(command)))?;
            let counts = read(&output);
            if success { Ok(counts) } else { Err(("tests failed".to_owned(), counts).into()) }
        })
    }

    /// Runs `work` as a step. A failure without failed tests counts as one failed test.
    pub(crate) fn step(
        &mut self,
        name: &str,
        work: impl FnOnce() -> Result<Counts, StepError>,
    ) -> Result<(), Failed> {
        println!("\n== {name}");
        let started = Instant::now();
        let result = work();
        let took = started.elapsed();
        self.done.push((name.to_owned(), took));
        match result {
            Ok(counts) => {
                self.counts = self.counts.and(counts);
                println!("== {name}: ok in {:.1} s", took.as_secs_f64());
                Ok(())
            }
            Err(StepError { message, counts }) => {
                let failed = counts.failed.max(1);
                self.counts = self.counts.and(Counts { failed, ..counts });
                println!("== {name}: failed after {:.1} s: {message}", took.as_secs_f64());
                Err(Failed)
            }
        }
    }
}

/// Why a step failed, and the tests it had run.
pub(crate) struct StepError {
    message: String,
    counts: Counts,
}

impl From<String> for StepError {
    fn from(message: String) -> Self {
        Self { message, counts: Counts::default() }
    }
}

impl From<(String, Counts)> for StepError {
    fn from((message, counts): (String, Counts)) -> Self {
        Self { message, counts }
    }
}

/// Runs `command`, copies both of its outputs to the terminal and returns them as one text.
fn run_shown(command: &mut Command) -> std::io::Result<(bool, String)> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let text = Arc::new(Mutex::new(String::new()));
    let copies = [
        child.stdout.take().map(|pipe| copy(pipe, Arc::clone(&text))),
        child.stderr.take().map(|pipe| copy(pipe, Arc::clone(&text))),
    ];
    for copy in copies.into_iter().flatten() {
        // A panic in a copier would only lose output.
        let _ = copy.join();
    }
    let status = child.wait()?;
    let text = std::mem::take(&mut *text.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((status.success(), text))
}

fn copy(pipe: impl Read + Send + 'static, text: Arc<Mutex<String>>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            // If standard output is closed, nobody wants the rest.
            let _ = std::io::stdout().write_all(&line);
            let line_text = String::from_utf8_lossy(&line);
            text.lock().unwrap_or_else(PoisonError::into_inner).push_str(&line_text);
            line.clear();
        }
    })
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps() -> Steps {
        Steps::new(Path::new(env!("CARGO_MANIFEST_DIR")))
    }

    #[test]
    fn counts_add_up_over_steps() {
        let mut steps = steps();
        steps.step("one", || Ok(Counts { passed: 2, failed: 0 })).unwrap();
        let failed =
            steps.step("two", || Err(("tests failed".to_owned(), Counts { passed: 3, failed: 4 }).into()));
        assert!(failed.is_err());
        assert_eq!(steps.counts(), Counts { passed: 5, failed: 4 });
        assert_eq!(steps.table().len(), 2);
    }

    #[test]
    fn a_step_that_fails_without_a_test_counts_as_one_failure() {
        let mut steps = steps();
        assert!(steps.command("false", &mut Command::new("false")).is_err());
        assert!(steps.command("gone", &mut Command::new("/no/such/program")).is_err());
        assert_eq!(steps.counts(), Counts { passed: 0, failed: 2 });
    }

    #[test]
    fn reads_a_runners_output_from_both_pipes() {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "echo 'test result: ok. 3 passed; 0 failed'; echo 'test result: ok. 4 passed; 0 failed' >&2",
        ]);
        let mut steps = steps();
        steps.tests("sh", &mut command, crate::summary::cargo_test).unwrap();
        assert_eq!(steps.counts(), Counts { passed: 7, failed: 0 });
    }
}
