//! The crate as the gateway and the backends use it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod answers;
mod anthropic;
mod foreign;
mod golden;
mod price_lists;
mod requests;
mod streams;
