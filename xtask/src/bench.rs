//! `cargo xtask bench`: builds the gateway as it ships, and measures it.

use std::path::Path;
use std::process::{Command, ExitCode};

/// Builds the gateway and measures it, or measures the ledger alone; `flags` are passed to the benchmark.
pub(crate) fn run(root: &Path, flags: &[&str]) -> ExitCode {
    if !cfg!(target_os = "linux") {
        println!("the benchmark reads /proc, so it needs Linux");
        return ExitCode::FAILURE;
    }
    // Built alone, because feature unification with other crates could change its dependencies.
    let build = ["build", "--release", "--locked", "--package", "bantam"];
    let measure = ["run", "--release", "--locked", "--quiet", "--package", "bantam-bench", "--"];
    // The ledger alone is measured without the gateway.
    let needs_gateway = flags.first() != Some(&"ledger");
    let done = (!needs_gateway || cargo(root, &build)) && cargo(root, &[&measure, flags].concat());
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn cargo(root: &Path, words: &[&str]) -> bool {
    match Command::new("cargo").args(words).current_dir(root).status() {
        Ok(status) => status.success(),
        Err(error) => {
            println!("cannot run cargo: {error}");
            false
        }
    }
}
