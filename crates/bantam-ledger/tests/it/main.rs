//! The ledger as its users see it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail as tests do")]

mod files;
mod kill;
mod records;
mod settle;
mod support;
mod usage;
