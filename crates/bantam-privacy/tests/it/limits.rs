//! Hostile input takes linear time, and input that is not examined fully is restricted.

use std::time::{Duration, Instant};

use bantam_types::Label;

use crate::scan;

const UNITS: [&str; 27] = [
    "@",
    "a@",
    "a@a.",
    "1",
    "4111",
    "4 1 ",
    "1.",
    "(1",
    "Ym9iQGV4YW1wbGUuY29t",
    "%25252525",
    "%",
    "&amp;",
    "\\\\u0040",
    "a:1:",
    "::",
    "password=",
    "ssn 123456789 ",
    "de89 3704 0044 ",
    "sk-a-",
    "( at ) dot ",
    "://a:b",
    "\u{301}",
    "eyJ-",
    "1a-",
    "123456789*",
    "\u{200b}4",
    "’",
];

/// `examples/scan_bench.rs` does the same with a megabyte.
const TEXT_BYTES: usize = 300_000;

/// Generous, because tests run unoptimised on shared machines; a quadratic pass would take far longer.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn long_runs_of_anything_take_linear_time() {
    for unit in UNITS {
        let text = unit.repeat(TEXT_BYTES / unit.len());
        let started = Instant::now();
        scan(&[&text]);
        assert!(started.elapsed() < LIMIT, "{unit:?} took {:?}", started.elapsed());
    }
}

#[test]
fn many_tiny_values_take_linear_time() {
    let values = vec!["4"; 100_000];
    let started = Instant::now();
    scan(&values);
    assert!(started.elapsed() < LIMIT, "took {:?}", started.elapsed());
}

#[test]
fn too_deep_nesting_is_incomplete_and_restricted() {
    // Kinds alternate, because nesting of one kind is resolved at once.
    let mut text = "\\u0041".to_owned();
    for _ in 0..3 {
        text = text.replace('\\', "&#92;").replace('&', "%26").replace('%', "\\u0025");
    }
    let findings = scan(&[&text]);
    assert!(!findings.is_complete());
    assert_eq!(findings.label(), Label::Restricted);
    assert!(findings.to_string().ends_with("(incomplete)"));
}

#[test]
fn too_much_to_decode_is_incomplete_and_restricted() {
    let findings = scan(&[&"plain words %41 ".repeat(600_000)]);
    assert!(!findings.is_complete());
    assert_eq!(findings.label(), Label::Restricted);
}

#[test]
fn ordinary_escapes_are_complete() {
    let findings =
        scan(&["{\\\"a\\\": \\\"line\\\\nline\\\", \\\"b\\\": \\\"caf\\\\u00e9\\\"} 100%25 &lt;b&gt;"]);
    assert!(findings.is_complete());
    assert_eq!(findings.label(), Label::Public);
}
