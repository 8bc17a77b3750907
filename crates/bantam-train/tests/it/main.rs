//! The crate from outside: students tuned on a tiny base, stopped, taken up again and served; decoders trained as
//! others train them, and exported to what serves them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests stop at the first surprise")]

mod classifier;
mod decoder_parity;
mod export;
mod parity;
mod place;
mod tagger;
#[path = "../../../bantam-student/tests/it/tiny_base.rs"]
mod tiny_base;
