//! Encoders and decoders compared with the reference implementation, and the scheduler compared with decoders that
//! run one request alone.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "test helpers fail the way tests do"
)]

mod decoder;
mod encoding;
mod loading;
mod minilm;
mod modernbert;
mod scheduling;
mod support;
