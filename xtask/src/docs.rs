//! `cargo xtask docs`: writes the generated reference, and checks what the documents lead to.

mod check;
mod markdown;

use std::path::Path;
use std::process::{Command, ExitCode};

pub(crate) use check::check;

/// Tells the tests of generated pages to write them; `crates/bantam/tests/it/reference.rs` has the same word.
const WRITE: &str = "UPDATE_DOCS";

/// What the names of these tests begin with.
const TESTS: &str = "the_page_of";

/// What is done with the generated pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pages {
    /// They are written.
    Write,
    /// They are compared with the code.
    Compare,
}

/// Writes or compares the generated pages, then checks links, anchors and the table of contents.
pub(crate) fn run(root: &Path, pages: Pages) -> ExitCode {
    let mut tests = Command::new("cargo");
    tests.args(["test", "--quiet", "--locked", "--package", "bantam", "--test", "it", TESTS]);
    if pages == Pages::Write {
        tests.env(WRITE, "1");
    }
    let generated = tests.current_dir(root).status().is_ok_and(|status| status.success());
    let report = check(root);
    report.lines().iter().for_each(|line| println!("{line}"));
    if generated && report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
