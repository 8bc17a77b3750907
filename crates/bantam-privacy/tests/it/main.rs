//! Tests of the scanner's public interface.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test may fail, and reports when it skips")]

mod evasion;
mod findings;
mod limits;
mod measured;
mod prose;
mod random;

use bantam_privacy::{DictionaryTerm, Findings, Scanner, ScannerConfig};
use bantam_types::Label;

/// Returns a scanner with one proprietary word and one phrase.
fn scanner() -> Scanner {
    let term = |term: &str, label| DictionaryTerm { term: term.to_owned(), label };
    let dictionary = vec![term("Project Falcon", Label::Restricted), term("Wolpertinger", Label::Internal)];
    Scanner::new(&ScannerConfig { dictionary }).unwrap()
}

/// Scans texts as neighbouring values.
fn scan(values: &[&str]) -> Findings {
    let scanner = scanner();
    let mut scan = scanner.begin();
    for value in values {
        scan.value(value);
    }
    scan.finish()
}
