//! The project's checks and tasks, the same on every machine: `cargo xtask test`, `cargo xtask tidy`.
#![expect(clippy::print_stdout, reason = "this program prints its results")]

mod bench;
mod docs;
mod metadata;
mod python;
mod steps;
mod summary;
mod test;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test [--fast]  sets up what the tests need and runs everything; --fast skips Python
  ci             same as test
  bench [FLAGS]  measures the gateway against a mock upstream on this machine; --help lists the flags
  docs [--check] writes the generated reference and checks the documents' links; --check only compares
  tidy           checks layers, owners, file sizes and licences";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = root();
    match *words {
        ["test" | "ci"] => test::run(&root, test::Scope::Everything),
        ["test" | "ci", "--fast"] => test::run(&root, test::Scope::RustOnly),
        ["bench", ref flags @ ..] => bench::run(&root, flags),
        ["docs"] => docs::run(&root, docs::Pages::Write),
        ["docs", "--check"] => docs::run(&root, docs::Pages::Compare),
        ["tidy"] => tidy_command(&root),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        _ => {
            println!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn tidy_command(root: &Path) -> ExitCode {
    let report = tidy::run(root);
    report.lines().iter().for_each(|line| println!("{line}"));
    if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns the repository's root: the folder above this crate.
fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}
