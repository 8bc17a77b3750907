//! `cargo xtask test`: the one command that sets up what the tests need and runs everything.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use crate::steps::{Failed, Steps};
use crate::summary::{self, Counts};
use crate::{docs, python, tidy};

/// What to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All steps.
    Everything,
    /// All steps that do not need Python.
    RustOnly,
}

/// Runs the steps until one fails; the last line printed says how many tests passed and failed.
pub(crate) fn run(root: &Path, scope: Scope) -> ExitCode {
    let started = Instant::now();
    let mut steps = Steps::new(root);
    let result = run_steps(root, scope, &mut steps);
    println!();
    steps.table().iter().for_each(|line| println!("{line}"));
    println!("{:>8.1} s  total", started.elapsed().as_secs_f64());
    let Counts { passed, failed } = steps.counts();
    println!("{passed} passed, {failed} failed");
    match result {
        Ok(()) if failed == 0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn run_steps(root: &Path, scope: Scope, steps: &mut Steps) -> Result<(), Failed> {
    // First the steps that fail fast and need a person to act.
    let mut interpreter = None;
    if scope == Scope::Everything {
        steps.step("set up Python", || {
            interpreter = Some(python::prepare(root)?);
            Ok(Counts::default())
        })?;
    }
    steps.command("format", &mut cargo(&["fmt", "--all", "--check"]))?;
    steps.step("tidy", || {
        let report = tidy::run(root);
        report.lines().iter().for_each(|line| println!("{line}"));
        if report.is_clean() { Ok(Counts::default()) } else { Err("not tidy".to_owned().into()) }
    })?;
    // Whether the generated pages are what the code says is a Rust test, further below.
    steps.step("documents", || {
        let report = docs::check(root);
        report.lines().iter().for_each(|line| println!("{line}"));
        if report.is_clean() {
            Ok(Counts::default())
        } else {
            Err("links or pages are broken".to_owned().into())
        }
    })?;
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--keep-going",
        "--locked",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ];
    steps.command("clippy", &mut cargo(&clippy))?;
    steps.command("build", &mut cargo(&["build", "--workspace", "--all-targets", "--locked"]))?;
    rust_tests(steps)?;
    steps.tests(
        "doctests",
        &mut cargo(&["test", "--workspace", "--doc", "--locked", "--quiet"]),
        summary::cargo_test,
    )?;
    let doc = ["doc", "--workspace", "--no-deps", "--locked", "--quiet"];
    steps.command("documentation", cargo(&doc).env("RUSTDOCFLAGS", "-D warnings"))?;
    if let Some(interpreter) = interpreter {
        let mut pytest = Command::new(interpreter);
        pytest.args(["-m", "pytest", "tests"]).env("BANTAM_BIN", root.join("target/debug/bantam"));
        steps.tests("API tests", &mut pytest, summary::pytest)?;
    }
    Ok(())
}

fn rust_tests(steps: &mut Steps) -> Result<(), Failed> {
    if has_nextest() {
        let nextest =
            ["nextest", "run", "--workspace", "--locked", "--no-fail-fast", "--status-level", "slow"];
        return steps.tests("Rust tests (nextest)", &mut cargo(&nextest), summary::nextest);
    }
    println!("cargo-nextest is not installed; running the tests with cargo test");
    let test = ["test", "--workspace", "--all-targets", "--locked", "--no-fail-fast"];
    steps.tests("Rust tests", &mut cargo(&test), summary::cargo_test)
}

fn has_nextest() -> bool {
    let mut probe = Command::new("cargo-nextest");
    probe.args(["nextest", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments);
    command
}
