//! Measures the scanner on JSON lines from standard input.
//!
//! Prints recall per kind for rows with `full_text` and `spans`, and for rows with
//! `text` how many are labelled above internal:
//!
//! ```sh
//! gzip -dc synth_v2.jsonl.gz | cargo run --release -p bantam-privacy --example privacy_eval -- --misses
//! ```
#![expect(clippy::print_stdout, reason = "an example prints what it measures")]

use std::collections::BTreeMap;
use std::io::BufRead;

use bantam_privacy::{FindingKind, Findings, Scanner, ScannerConfig};
use bantam_types::Label;
use serde_json::Value;

const COVERED: [(&str, &[FindingKind]); 6] = [
    ("EMAIL_ADDRESS", &[FindingKind::Email]),
    ("PHONE_NUMBER", &[FindingKind::Phone]),
    ("CREDIT_CARD", &[FindingKind::PaymentCard, FindingKind::CardLike]),
    ("IBAN_CODE", &[FindingKind::Iban, FindingKind::IbanLike]),
    ("US_SSN", &[FindingKind::UsSsn, FindingKind::SsnLike]),
    ("IP_ADDRESS", &[FindingKind::IpAddress]),
];

#[derive(Default)]
struct Recall {
    spans: usize,
    found: usize,
    validated: usize,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let misses = std::env::args().any(|argument| argument == "--misses");
    let scanner = Scanner::new(&ScannerConfig { dictionary: Vec::new() })?;
    let mut recalls: BTreeMap<&str, Recall> = BTreeMap::new();
    let (mut harmless, mut raised, mut bytes) = (0usize, 0usize, 0usize);
    let started = std::time::Instant::now();
    for line in std::io::stdin().lock().lines() {
        let row: Value = serde_json::from_str(&line?)?;
        let text =
            ["full_text", "text", "question"].iter().find_map(|key| row[key].as_str()).unwrap_or_default();
        bytes += text.len();
        let mut scan = scanner.begin();
        scan.text(text);
        let findings = scan.finish();
        let covered = count_spans(&row, text, &findings, &mut recalls, misses);
        if !covered {
            harmless += 1;
            if findings.label() > Label::Internal {
                raised += 1;
                if misses {
                    println!("RAISED {findings} <- {text:?}");
                }
            }
        }
    }
    for (kind, recall) in &recalls {
        let Recall { spans, found, validated } = recall;
        println!("{kind:14} spans {spans:4} found {found:4} confirmed by the validator {validated:4}");
    }
    println!("texts without a covered kind {harmless}, of these labelled above internal {raised}");
    println!("{bytes} bytes in {:?}", started.elapsed());
    Ok(())
}

/// Adds the row's spans to the recalls, and returns whether any is of a covered kind.
fn count_spans(
    row: &Value,
    text: &str,
    findings: &Findings,
    recalls: &mut BTreeMap<&'static str, Recall>,
    misses: bool,
) -> bool {
    let mut covered = false;
    for (name, kinds) in COVERED {
        let spans = row["spans"].as_array().into_iter().flatten();
        let spans: Vec<&str> = spans
            .filter(|span| span["entity_type"] == *name)
            .filter_map(|span| span["entity_value"].as_str())
            .collect();
        if spans.is_empty() {
            continue;
        }
        covered = true;
        let found: u32 = kinds.iter().map(|&kind| findings.count(kind)).sum();
        let recall = recalls.entry(name).or_default();
        recall.spans += spans.len();
        recall.found += spans.len().min(found as usize);
        recall.validated += spans.len().min(findings.count(kinds[0]) as usize);
        if misses && (found as usize) < spans.len() {
            println!("MISSED {name} {spans:?} in {text:?}: {findings}");
        }
    }
    covered
}
