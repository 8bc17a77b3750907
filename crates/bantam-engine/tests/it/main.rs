//! Encoders and decoders against the reference implementation, the scheduler against decoders that run alone.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "the helpers of tests fail as tests do"
)]

mod decoder;
mod encoding;
mod loading;
mod minilm;
mod modernbert;
mod scheduling;
mod support;
