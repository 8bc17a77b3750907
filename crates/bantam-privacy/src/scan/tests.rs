//! The work that a text makes grows with its length and not faster, whatever it is made of.

use super::*;
use crate::config::DictionaryTerm;
use crate::view::LOOKED_AT;

/// What texts are made of that make recognisers look again and again at the same bytes, or nearly so.
const UNITS: &[&str] = &[
    "sk-",
    "sk-sk-",
    "sk-a-",
    "eyj-",
    "eyJ.",
    "eyjaaaaaaaaaa.",
    "akia",
    "akia-",
    "xoxb-",
    "ghp_",
    "hooks.slack.com/services/",
    "github_pat_",
    "@",
    "@@@",
    "a@",
    "a@a.",
    "a.a.a.",
    "://a:b",
    "://a:b@",
    "1",
    "1.",
    "(1",
    "1/",
    "4111",
    "4 1 ",
    "4111111111111112 ",
    "visa 4111111111111112 ",
    "123456789*",
    "123456789 ",
    "ssn 123456789 ",
    "phone 5550100 ",
    "+15550100 ",
    "0101010101 ",
    "01 02 03 04 05 ",
    "2020-01-01 ",
    "1234a",
    "de89",
    "de89 3704 0044 ",
    "de12345678901234567890 ",
    "a:1:",
    "::",
    "1:",
    "1a-",
    "aa-",
    "1234.",
    "ffffffff-",
    "-----BEGIN ",
    "-----BEGIN PRIVATE KEY",
    "private key",
    "password=",
    "pwd:",
    "token=a1b2c3d4 ",
    "bearer ",
    "Ym9iQGV4YW1wbGUuY29t",
    "Ym9iQGV4YW1wbGUuY29t.",
    "aB3",
    "aB3-",
    "a",
    "A",
    "%25252525",
    "%",
    "&amp;",
    "&",
    "\\",
    "\\u0041",
    "\\ud800",
    "( at ) dot ",
    " dot ",
    " at ",
    "\u{301}",
    "\u{591}",
    "\u{200b}4",
    "\u{2019}",
    "\u{e9}",
    "{\"a\":",
    "[",
    "\n\n  ",
    "  ",
];

/// No byte is looked at more often than that on average. The largest share are the passwords behind `pwd:`, each of which may
/// be 256 bytes long.
const TIMES_MAX: usize = 150;

fn scanner() -> Scanner {
    // Every byte of a run of this letter ends as many terms as there are.
    let terms = (1..64).map(|length| DictionaryTerm { term: "a".repeat(length), label: Label::Internal });
    Scanner::new(&ScannerConfig { dictionary: terms.collect() }).unwrap()
}

fn work(scanner: &Scanner, texts: &[&str]) -> usize {
    let before = LOOKED_AT.get();
    let mut scan = scanner.begin();
    for text in texts {
        scan.value(text);
    }
    scan.finish();
    LOOKED_AT.get() - before
}

#[test]
fn twice_the_text_is_twice_the_work() {
    let scanner = scanner();
    for unit in UNITS {
        let work_of = |bytes: usize| work(&scanner, &[&unit.repeat(bytes / unit.len())]);
        let (once, twice) = (work_of(20_000), work_of(40_000));
        assert!(once <= TIMES_MAX * 20_000, "{unit:?} takes {once} steps");
        assert!(
            twice <= 2 * once + once / 4 + 20_000,
            "{unit:?}: {once} steps, and {twice} for twice the text"
        );
    }
}

#[test]
fn twice_as_many_values_are_twice_the_work() {
    let scanner = scanner();
    for unit in UNITS {
        let work_of = |count: usize| work(&scanner, &vec![*unit; count]);
        let (once, twice) = (work_of(4_000), work_of(8_000));
        assert!(
            twice <= 2 * once + once / 4 + 400_000,
            "{unit:?}: {once} steps, and {twice} for twice the values"
        );
    }
}

#[test]
fn too_many_matches_of_the_dictionary_are_incomplete_and_restricted() {
    let scanner = scanner();
    let found = |text: &str| {
        let mut scan = scanner.begin();
        scan.value(text);
        scan.finish()
    };
    assert!(found(&"a quiet day ".repeat(1_000)).is_complete());
    assert_eq!(found(&"a".repeat(20_000)).label(), Label::Restricted);
}
