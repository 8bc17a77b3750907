//! Recall and false positives on real data, if it is available.

use std::path::PathBuf;
use std::process::Command;

use bantam_privacy::{FindingKind, Findings, Scanner, ScannerConfig};
use bantam_types::Label;
use serde_json::Value;

/// Reads a data set of JSON lines, or reports that it is missing.
fn rows(name: &str) -> Option<Vec<Value>> {
    #[expect(clippy::disallowed_methods, reason = "a test finds its data where the machine keeps it")]
    let folder = std::env::var_os("BANTAM_SHARED_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let path = folder.join(name);
    if !path.exists() {
        eprintln!("SKIPPED: {name} is missing; set BANTAM_SHARED_DATA to the folder that contains it");
        return None;
    }
    let output = Command::new("gzip").arg("-dc").arg(&path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn scan(scanner: &Scanner, text: &str) -> Findings {
    let mut scan = scanner.begin();
    scan.text(text);
    scan.finish()
}

fn scanner() -> Scanner {
    Scanner::new(&ScannerConfig { dictionary: Vec::new() }).unwrap()
}

#[test]
fn finds_the_kinds_that_presidio_annotates() {
    let Some(rows) = rows("presidio/synth_v2.jsonl.gz") else { return };
    let scanner = scanner();
    for (name, kinds, recall_min) in [
        ("EMAIL_ADDRESS", &[FindingKind::Email][..], 0.99),
        ("CREDIT_CARD", &[FindingKind::PaymentCard, FindingKind::CardLike], 0.99),
        ("IBAN_CODE", &[FindingKind::Iban, FindingKind::IbanLike], 0.99),
        ("US_SSN", &[FindingKind::UsSsn, FindingKind::SsnLike], 0.99),
        ("IP_ADDRESS", &[FindingKind::IpAddress], 0.99),
        ("PHONE_NUMBER", &[FindingKind::Phone], 0.97),
    ] {
        let (mut marked, mut found) = (0u32, 0u32);
        for row in &rows {
            let spans = row["spans"].as_array().unwrap().iter();
            let spans = u32::try_from(spans.filter(|span| span["entity_type"] == name).count()).unwrap();
            if spans > 0 {
                let findings = scan(&scanner, row["full_text"].as_str().unwrap());
                marked += spans;
                found += spans.min(kinds.iter().map(|&kind| findings.count(kind)).sum());
            }
        }
        let recall = f64::from(found) / f64::from(marked);
        assert!(recall >= recall_min, "{name}: {found} of {marked}");
    }
}

#[test]
fn labels_ordinary_requests_at_most_internal() {
    let scanner = scanner();
    for name in ["banking77", "clinc150", "snips"] {
        let Some(rows) = rows(&format!("{name}/train.jsonl.gz")) else { continue };
        let texts = rows.iter().map(|row| row["text"].as_str().unwrap());
        let raised: Vec<&str> = texts.filter(|text| scan(&scanner, text).label() > Label::Internal).collect();
        assert!(raised.len() * 1000 < rows.len(), "{name}: {} of {}: {raised:?}", raised.len(), rows.len());
    }
}

#[test]
fn labels_conversations_of_ordinary_requests_at_most_internal() {
    let scanner = scanner();
    for name in ["banking77", "clinc150", "snips"] {
        let Some(rows) = rows(&format!("{name}/train.jsonl.gz")) else { continue };
        let conversations: Vec<&[Value]> = rows.chunks(6).collect();
        let raised = conversations.iter().filter(|rows| {
            let mut scan = scanner.begin();
            rows.iter().for_each(|row| scan.value(row["text"].as_str().unwrap()));
            scan.finish().label() > Label::Internal
        });
        let raised = raised.count();
        assert!(raised * 1000 < conversations.len(), "{name}: {raised} of {}", conversations.len());
    }
}
