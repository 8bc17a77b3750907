//! Constraints against real schemas, the official suite, and an independent validator.

mod harness;
mod schemas;
mod suite;
