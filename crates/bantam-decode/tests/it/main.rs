//! Tests constraints against real schemas, the official test suite, and an independent validator.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "test helpers; figures are part of the report")]

mod endings;
mod formats;
mod harness;
mod hostile;
mod keywords;
mod patterns;
mod schemas;
mod suite;
