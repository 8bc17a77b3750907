//! Integration tests: students tuned on a tiny base, stopped, resumed and served; decoders trained step by step like trl
//! and peft, and exported to the serving engine.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step must fail the test")]

mod base_folder;
mod classifier;
mod decoder_parity;
mod export;
mod parity;
mod tagger;
#[path = "../../../bantam-student/tests/it/tiny_base.rs"]
mod tiny_base;
