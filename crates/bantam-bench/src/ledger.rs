//! `cargo xtask bench ledger`: how fast a large ledger is filled and read.
//!
//! A month of invented traffic goes through the real journal and fold into a real file; then every kind of report and
//! of page is asked for. Each question is asked once before it is measured, so figures are those of a file that the
//! operating system holds in memory.

mod questions;
mod traffic;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Instant;

use bantam_books::Books;
use bantam_ledger::{Acknowledge, Ledger, LedgerOptions, LedgerReader};
use serde_json::json;

use crate::machine::Machine;
use crate::note;
use crate::statistics::{median, spread};
use traffic::Traffic;

/// The text of `--help`.
pub(crate) const USAGE: &str = "\
Measures how fast a large ledger is filled and read.

usage: cargo xtask bench ledger [FLAGS]

  --attempts N    attempts in the ledger [default: 1000000]
  --rounds N      how often each question is asked [default: 5]
  --folder DIR    where the ledger is made, and kept: one that is there is only read [default: a temporary folder]
  --json          prints JSON with every round instead of the table";

/// The values of the flags.
#[derive(Debug, PartialEq, Eq)]
struct Args {
    attempts: u64,
    rounds: u32,
    folder: Option<PathBuf>,
    json: bool,
    help: bool,
}

impl Args {
    fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut args = Self { attempts: 1_000_000, rounds: 5, folder: None, json: false, help: false };
        let mut arguments = arguments.into_iter();
        while let Some(flag) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--json" => args.json = true,
                "--help" | "-h" => args.help = true,
                "--attempts" => {
                    let attempts = value()?.parse().ok().filter(|count| (1..=1_000_000_000).contains(count));
                    args.attempts = attempts.ok_or("--attempts expects a number from 1 to 1000000000")?;
                }
                "--rounds" => {
                    let rounds = value()?.parse().ok().filter(|rounds| (1..=50).contains(rounds));
                    args.rounds = rounds.ok_or("--rounds expects a number from 1 to 50")?;
                }
                "--folder" => args.folder = Some(value()?.into()),
                _ => return Err(format!("unknown flag `{flag}`\n\n{USAGE}")),
            }
        }
        Ok(args)
    }
}

/// What was measured.
struct Measured {
    attempts: u64,
    fill: Option<Fill>,
    file_bytes: u64,
    answers: Vec<Answer>,
}

/// How the ledger was filled.
struct Fill {
    settlements: u64,
    seconds: f64,
}

/// One question, with the milliseconds of each round and how many rows came.
pub(crate) struct Answer {
    pub(crate) question: String,
    pub(crate) milliseconds: Vec<f64>,
    pub(crate) rows: usize,
}

/// Runs the benchmark, and returns what it prints.
pub(crate) fn run(arguments: impl IntoIterator<Item = String>) -> Result<String, String> {
    let args = Args::parse(arguments)?;
    if args.help {
        return Ok(USAGE.to_owned());
    }
    let temporary = tempfile::tempdir().map_err(|error| format!("cannot make a folder: {error}"))?;
    let folder = args.folder.as_deref().unwrap_or(temporary.path());
    let path = folder.join("ledger.sqlite");
    let machine = Machine::read()?;
    let fill = if path.exists() { None } else { Some(fill(&path, args.attempts)?) };
    let file_bytes = std::fs::metadata(&path).map_err(|error| error.to_string())?.len();
    let reader = LedgerReader::open(&path).map_err(|error| error.to_string())?;
    let answers = questions::ask_all(&reader, args.rounds)?;
    let measured = Measured { attempts: args.attempts, fill, file_bytes, answers };
    Ok(if args.json { measured.to_json(&machine) } else { measured.to_text(&machine) })
}

/// Settles invented traffic, through the journal and the fold.
fn fill(path: &Path, attempts: u64) -> Result<Fill, String> {
    let options = LedgerOptions::new(Acknowledge::ProcessCrash);
    let ledger = Ledger::open(path, options).map_err(|error| error.to_string())?;
    let started = Instant::now();
    let (mut settlements, mut settled_attempts) = (0_u64, 0_u64);
    for settlement in Traffic::new(attempts) {
        // The journal takes what the fold has not brought in yet; it must not be full.
        if !ledger.is_writable() {
            ledger.fold().map_err(|error| error.to_string())?;
        }
        let _ticket = ledger.settle(&settlement, None).map_err(|error| error.to_string())?;
        settlements += 1;
        settled_attempts += settlement.attempts.len() as u64;
        if settlements.is_multiple_of(1_000_000) {
            note(&format!("{settled_attempts} attempts after {:.0} s", started.elapsed().as_secs_f64()));
        }
    }
    ledger.close().map_err(|error| error.to_string())?;
    Ok(Fill { settlements, seconds: started.elapsed().as_secs_f64() })
}

impl Measured {
    fn to_text(&self, machine: &Machine) -> String {
        let mut lines = vec![machine_line(machine)];
        let megabytes = self.file_bytes as f64 / 1e6;
        lines.push(format!("{} attempts, {megabytes:.0} MB", self.attempts));
        if let Some(Fill { settlements, seconds }) = self.fill {
            let rate = settlements as f64 / seconds;
            lines.push(format!("{settlements} requests settled and folded in {seconds:.0} s: {rate:.0}/s"));
        }
        lines.push(format!("{:<58} {:>9} {:>9} {:>9} {:>6}", "question", "median", "least", "most", "rows"));
        for answer in &self.answers {
            let (least, most) = spread(&answer.milliseconds);
            lines.push(format!(
                "{:<58} {:>6.1} ms {least:>6.1} ms {most:>6.1} ms {:>6}",
                answer.question,
                median(&answer.milliseconds),
                answer.rows
            ));
        }
        lines.join("\n")
    }

    fn to_json(&self, machine: &Machine) -> String {
        let answers: Vec<_> = self
            .answers
            .iter()
            .map(|answer| {
                json!({
                    "question": answer.question,
                    "rows": answer.rows,
                    "median_ms": median(&answer.milliseconds),
                    "rounds_ms": answer.milliseconds,
                })
            })
            .collect();
        let fill =
            self.fill.as_ref().map(|fill| json!({"requests": fill.settlements, "seconds": fill.seconds}));
        let report = json!({
            "machine": machine_line(machine),
            "attempts": self.attempts,
            "fill": fill,
            "file_bytes": self.file_bytes,
            "answers": answers,
        });
        format!("{report:#}")
    }
}

fn machine_line(machine: &Machine) -> String {
    format!("{}, {} cores, commit {}", machine.processor, machine.cores.len(), machine.commit)
}

/// Returns what a future ends with, on this thread.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &[&str]) -> Result<Args, String> {
        Args::parse(flags.iter().map(|flag| (*flag).to_owned()))
    }

    #[test]
    fn flags_set_the_size_and_the_place() {
        let args = parse(&["--attempts", "5", "--rounds", "2", "--folder", "/x", "--json"]).unwrap();
        let expected = Args { attempts: 5, rounds: 2, folder: Some("/x".into()), json: true, help: false };
        assert_eq!(args, expected);
        for rejected in [&["--attempts", "0"][..], &["--rounds", "x"], &["--folder"], &["--fast"]] {
            assert!(parse(rejected).is_err(), "{rejected:?}");
        }
    }

    #[test]
    fn a_small_ledger_is_filled_and_every_question_has_an_answer() {
        let flags = ["--attempts", "3000", "--rounds", "1", "--json"].map(str::to_owned);
        let report: serde_json::Value = serde_json::from_str(&run(flags).unwrap()).unwrap();
        let requests = report["fill"]["requests"].as_u64().unwrap();
        assert!((1500..3000).contains(&requests), "{requests}");
        let answers = report["answers"].as_array().unwrap();
        let rows = |question: &str| {
            let found = answers.iter().find(|answer| answer["question"] == question).unwrap();
            found["rows"].as_u64().unwrap()
        };
        assert_eq!(rows("usage by tier, all time"), 4);
        assert_eq!(rows("page, no filter"), 100);
        assert!(rows("usage by template, all time") > 150);
    }
}
