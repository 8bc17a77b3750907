//! The server over real sockets.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail as tests do")]

mod bodies;
mod connections;
mod cors;
mod drain;
mod guard;
mod leaving;
mod replies;
mod residents;
mod routes;
mod support;
