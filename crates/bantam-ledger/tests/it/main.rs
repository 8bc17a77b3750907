//! The ledger as its users see it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail as tests do")]

mod blocks;
mod conformance;
mod files;
mod kill;
mod older;
mod private;
mod records;
mod retention;
mod settle;
mod support;
mod usage;
