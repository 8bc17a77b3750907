//! The server over real sockets.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail as tests do")]

mod aborted;
mod bodies;
mod connections;
mod cors;
mod drain;
mod guard;
mod http2;
mod leaving;
mod limits;
mod replies;
mod residents;
mod routes;
mod support;
