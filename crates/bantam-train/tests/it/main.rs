//! The crate from outside: students tuned on a tiny base, stopped, taken up again and served.
#![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

mod classifier;
mod parity;
mod place;
mod tagger;
#[path = "../../../bantam-student/tests/it/tiny_base.rs"]
mod tiny_base;
