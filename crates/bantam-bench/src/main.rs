//! Benchmarks the real gateway on loopback, with nothing but Linux and Rust: `cargo xtask bench`.
//!
//! A mock acts as the upstream and a closed loop sends requests, both on one core; `bantam serve`, with its
//! durable ledger and default settings, has another core to itself. Every round measures the mock directly
//! and through the gateway, so that both are affected alike by the machine; figures are medians over the
//! rounds. Figures say how fast it was; checks say whether they are true: every passed-through request
//! reached the upstream exactly once, no local one did, and the ledger has each exactly once. Only a failed
//! check fails the run.
//!
//! `cargo xtask bench ledger` measures the ledger alone.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this program prints its results")]

mod args;
mod case;
mod certified;
mod gateway;
mod http;
mod ledger;
mod load;
mod machine;
mod measure;
mod mock;
mod report;
mod rows;
mod statistics;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::args::{Args, USAGE};
use crate::case::{Case, Setup};
use crate::certified::Tasks;
use crate::gateway::Bantam;
use crate::machine::Machine;
use crate::measure::Bench;
use crate::mock::Mock;
use crate::report::Report;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if_eq("ledger").is_some() {
        return print(ledger::run(arguments));
    }
    gateway_bench(arguments)
}

fn print(report: Result<String, String>) -> ExitCode {
    match report {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn gateway_bench(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    let report = match Args::parse(arguments) {
        Ok(args) if args.help => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Ok(args) => run(&args).map(|report| (args.json, report)),
        Err(error) => Err(error),
    };
    match report {
        Ok((json, report)) => {
            println!("{}", if json { report.to_json() } else { report.to_text() });
            if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<Report, String> {
    let folder = tempfile::tempdir().map_err(|error| format!("cannot make a folder: {error}"))?;
    let bantam = Bantam::new(bantam_path(args.bantam.as_deref())?);
    let mut machine = Machine::read()?;
    // Before pinning, so that training may use every core.
    let tasks = match args.cases.iter().any(|case| case.setup == Setup::Local) {
        true => Some(Tasks::certify(&bantam, folder.path())?),
        false => None,
    };
    machine.pin();
    // The mock's thread and the load's runtime inherit the core.
    let mock = Mock::start()?;
    let mut report = Report::new(&machine, args.rounds, args.seconds);
    for setup in [Setup::PassThrough, Setup::Local] {
        let cases: Vec<&Case> = args.cases.iter().copied().filter(|case| case.setup == setup).collect();
        if cases.is_empty() {
            continue;
        }
        let bench = Bench {
            mock: &mock,
            machine: &machine,
            tasks: tasks.as_ref(),
            duration: Duration::from_secs_f64(args.seconds),
            rounds: args.rounds,
        };
        bench.measure(setup, &cases, &bantam, folder.path(), &mut report)?;
    }
    Ok(report)
}

/// Returns the path of the gateway: the given one, or the one next to this program.
fn bantam_path(named: Option<&Path>) -> Result<PathBuf, String> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()
            .map_err(|error| format!("cannot find this program: {error}"))?
            .with_file_name("bantam"),
    };
    match path.is_file() {
        // Without a slash it would be searched for on PATH.
        true => {
            std::path::absolute(&path).map_err(|error| format!("cannot find {}: {error}", path.display()))
        }
        false => Err(format!("{} does not exist: run `cargo xtask bench`, which builds it", path.display())),
    }
}

/// Prints a progress note to standard error; standard output is for figures only.
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}
