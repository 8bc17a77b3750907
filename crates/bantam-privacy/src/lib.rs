//! Finds sensitive values in text and labels the request: how far its bytes may travel.
//!
//! A [`Scanner`] is built once; each request gets a [`Scan`], which is fed every
//! string of the request in document order and ends in [`Findings`]: kinds,
//! counts and a label, never content.
//!
//! The scanner is a security boundary, so it errs on the side of caution:
//! * a checksum raises confidence and never vetoes: a card-like number that
//!   fails Luhn is still a finding, of a lesser kind and label;
//! * text is examined as a reader would see it *and* as a program would decode
//!   it: folded to ASCII look-alikes, with escapes resolved, with base64 and hex
//!   decoded, spelled-out separators replaced, and neighbouring values joined;
//! * if anything could not be examined fully (too deep, too much), the result is
//!   incomplete, and an incomplete result is restricted.
//!
//! It is also on the path of every request, so each recogniser runs only where
//! its trigger occurs, and nothing takes more than linear time.
//!
//! A good addition here is a recogniser that starts from a cheap trigger, defines
//! what it reports when its validator disagrees, and adds rows to the evasion
//! table in `tests/it/evasion.rs`.
//!
//! # Example
//!
//! ```
//! use bantam_privacy::{FindingKind, Scanner, ScannerConfig};
//! use bantam_types::Label;
//!
//! let scanner = Scanner::new(&ScannerConfig { dictionary: Vec::new() })?;
//! let mut scan = scanner.begin();
//! scan.text("my card is 4111 1111 1111 1111");
//! let findings = scan.finish();
//!
//! assert_eq!(findings.label(), Label::Restricted);
//! assert_eq!(findings.count(FindingKind::PaymentCard), 1);
//! # Ok::<(), bantam_privacy::BuildScannerError>(())
//! ```

mod clear;
mod config;
mod decode;
mod dictionary;
mod findings;
mod fold;
mod join;
mod recognise;
mod scan;
mod view;

pub use clear::{Cleared, PrivacyPolicy, Scanned};
pub use config::{BuildScannerError, DictionaryTerm, ScannerConfig};
pub use findings::{FindingKind, Findings};
pub use scan::{Scan, Scanner};
