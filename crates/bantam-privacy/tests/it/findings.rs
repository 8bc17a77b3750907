//! What findings report, and that they hold no content.

use bantam_privacy::{BuildScannerError, DictionaryTerm, FindingKind, Scanner, ScannerConfig};
use bantam_types::Label;

use crate::scan;

#[test]
fn nothing_found_is_public_and_empty() {
    let findings = scan(&["Good morning."]);
    assert!(findings.is_empty() && findings.is_complete());
    assert_eq!(findings.label(), Label::Public);
    assert_eq!(findings.to_string(), "public: nothing found");
}

#[test]
fn distinct_values_are_counted_once() {
    let findings = scan(&["a.b@example.com, A.B@example.com; c@example.com and a%2eb%40example.com"]);
    assert_eq!(findings.kinds().collect::<Vec<_>>(), [(FindingKind::Email, 2)]);
}

#[test]
fn display_and_debug_hold_no_content() {
    let values = ["jane.doe@example.com", "Project Falcon", "4111111111111111", "password=Tr0ub4dor"];
    let findings = scan(&values);
    let shown = format!("{findings} {findings:?}").to_lowercase();
    for part in ["jane", "example", "falcon", "4111", "tr0ub"] {
        assert!(!shown.contains(part), "{part} in {shown}");
    }
    assert_eq!(findings.label(), Label::Restricted);
}

#[test]
fn debug_of_scanner_and_scan_holds_no_content() {
    let term = DictionaryTerm { term: "Project Falcon".to_owned(), label: Label::Internal };
    let config = ScannerConfig { dictionary: vec![term] };
    let scanner = Scanner::new(&config).unwrap();
    let mut scan = scanner.begin();
    scan.value("jane.doe@example.com");
    let shown = format!("{config:?} {scan:?}").to_lowercase();
    assert!(!shown.contains("falcon") && !shown.contains("jane"), "{shown}");
}

#[test]
fn dictionary_matches_words_as_configured() {
    for (text, label) in [
        ("the wolpertinger sleeps", Label::Internal),
        ("WOLPERTINGER!", Label::Internal),
        ("wolpertingers", Label::Public),
        ("project  falcon", Label::Restricted),
        ("project\nfalcon", Label::Restricted),
        ("project falconry", Label::Public),
    ] {
        assert_eq!(scan(&[text]).label(), label, "{text}");
    }
}

#[test]
fn dictionary_matches_other_scripts_in_any_case() {
    let term = DictionaryTerm { term: "Ветер".to_owned(), label: Label::Confidential };
    let scanner = Scanner::new(&ScannerConfig { dictionary: vec![term] }).unwrap();
    for text in ["ветер", "ВЕТЕР", "Про «Ветер»"] {
        let mut scan = scanner.begin();
        scan.text(text);
        assert_eq!(scan.finish().label(), Label::Confidential, "{text}");
    }
}

#[test]
fn a_harmless_term_does_not_hide_a_sensitive_one() {
    let term = |term: &str, label| DictionaryTerm { term: term.to_owned(), label };
    let dictionary = vec![term("falcon", Label::Public), term("project falcon nine", Label::Restricted)];
    let scanner = Scanner::new(&ScannerConfig { dictionary }).unwrap();
    let mut scan = scanner.begin();
    scan.text("about project falcon nine");
    assert_eq!(scan.finish().label(), Label::Restricted);
}

#[test]
fn rejects_terms_that_are_empty_or_too_long() {
    let build = |term: &str| {
        let term = DictionaryTerm { term: term.to_owned(), label: Label::Internal };
        Scanner::new(&ScannerConfig { dictionary: vec![term] })
    };
    assert!(matches!(build(" \u{200b}"), Err(BuildScannerError::EmptyTerm { index: 0 })));
    assert!(matches!(build(&"x".repeat(600)), Err(BuildScannerError::TermTooLong { index: 0, .. })));
}
