//! Measures the duration of scans: `cargo run --release -p bantam-privacy --example scan_bench`.
#![expect(clippy::print_stdout, reason = "an example prints what it measures")]

use std::hint::black_box;
use std::time::Instant;

use bantam_privacy::{Scanner, ScannerConfig};

const PROSE: &str = "The committee met on Tuesday to talk about the new library, which had been promised \
for 2019 and was still a hole in the ground. Several members (two of them architects) said that the plans \
were sound: the money wasn't. A vote was put off until 14 March at 10:30, when the auditors' report, some \
120 pages long, should be ready; nobody expects it to be cheerful reading. ";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let scanner = Scanner::new(&ScannerConfig { dictionary: Vec::new() })?;
    let prose = |bytes: usize| PROSE.chars().cycle().take(bytes).collect::<String>();
    let letters = |bytes: usize| prose(bytes).replace(|c: char| !c.is_ascii_alphabetic() && c != ' ', "");
    measure(&scanner, "200 B of prose", &[prose(200)]);
    measure(&scanner, "10 KB of prose", &[prose(10_000)]);
    measure(&scanner, "10 KB without digits", &[letters(10_000)]);
    measure(&scanner, "8 values of 200 B", &vec![prose(200); 8]);
    measure(&scanner, "100 KB of prose", &[prose(100_000)]);
    measure(&scanner, "10 KB with curly quotes", &[prose(10_000).replace('\'', "\u{2019}")]);
    measure(&scanner, "10 KB of Greek", &["Η επιτροπή συνεδρίασε. ".repeat(240)]);
    for (name, unit) in [
        ("1 MB of @", "@"),
        ("1 MB of a@", "a@"),
        ("1 MB of digits", "4111"),
        ("1 MB of spaced digits", "4 1 "),
        ("1 MB of base64", "Ym9iQGV4YW1wbGUuY29t"),
        ("1 MB of %25252525", "%25252525"),
        ("1 MB of ssn cues", "ssn 123456789 "),
        ("1 MB of colons", "a:1:"),
        ("1 MB of passwords", "password=a1b2c3 "),
        ("1 MB of backslashes", "\\"),
        ("1 MB of ibans", "de89 3704 0044 "),
        ("1 MB of one-digit groups", "1."),
        ("1 MB of brackets", "(1"),
        ("1 MB of key prefixes", "sk-a-"),
        ("1 MB of token headers", "eyJ-"),
        ("1 MB of url credentials", "://a:b"),
        ("1 MB of spelled marks", "( at ) dot "),
        ("1 MB of hex and dashes", "1a-"),
        ("1 MB of nine-digit groups", "123456789*"),
    ] {
        measure(&scanner, name, &[unit.repeat(1_000_000 / unit.len())]);
    }
    Ok(())
}

/// Prints the fastest of many rounds, because other work on the machine can only slow a round down.
///
/// With an argument, measures only cases whose name contains it.
fn measure(scanner: &Scanner, name: &str, values: &[String]) {
    if std::env::args().nth(1).is_some_and(|wanted| !name.contains(&wanted)) {
        return;
    }
    let bytes: usize = values.iter().map(String::len).sum();
    let rounds = (20_000_000 / bytes).clamp(3, 20_000);
    let mut best = f64::MAX;
    for _ in 0..rounds {
        let started = Instant::now();
        let mut scan = scanner.begin();
        for value in values {
            scan.value(black_box(value));
        }
        black_box(scan.finish());
        best = best.min(started.elapsed().as_secs_f64());
    }
    let megabytes_per_second = f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) / best / 1e6;
    println!("{name:24} {:10.2} us  {megabytes_per_second:8.1} MB/s", best * 1e6);
}
