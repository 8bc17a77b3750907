//! HTTP, auth and streams around the gateway. Sole owner of axum.
//!
//! A connection is accepted ([`serve`]), its reads are timed, each request passes the guard (host, origin,
//! key), browsers' preflights are answered, its body is read up to a limit, and the gateway's reply becomes a response. Nothing here decides
//! anything about models or tasks.

mod body;
mod connection;
mod cors;
mod envelope;
mod guard;
mod handlers;
mod residents;
mod respond;
mod routes;
mod serve;
mod streams;
mod timed_io;

pub use bantam_backend::{NoResidents, ResidentModel, Residents, Unload};
pub use guard::{Guard, GuardSettings};
pub use routes::{Header, REQUEST_HEADERS, RESPONSE_HEADERS, Route, all as routes};
pub use serve::{ServerSettings, serve};
