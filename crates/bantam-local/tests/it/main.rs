//! A tiny model of random weights behind the backend that the gateway asks.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests stop at the first surprise")]

mod answers;
mod labels;
mod many;
mod opening;
mod students;
mod texts;
mod tiny;
mod tiny_model;
