//! Constraints against real schemas, the official suite, and an independent validator.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests; figures are part of the report"
)]

mod formats;
mod harness;
mod patterns;
mod schemas;
mod suite;
