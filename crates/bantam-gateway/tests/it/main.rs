//! The way of a request, end to end, without HTTP in front of it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail as tests do")]

mod account;
mod behaviours;
mod books;
mod cascade;
mod dialect;
mod endpoints;
mod explain;
mod failures;
mod identify;
mod leaving;
mod limits;
mod privacy;
mod streams;
mod support;
mod unread;
mod upstreams;
mod waiting;
mod wire;
