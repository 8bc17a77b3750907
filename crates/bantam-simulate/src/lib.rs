//! A simulated upstream on loopback, an HTTP server with scripted answers, and a simulated application
//! that sends requests.
//!
//! This server is the demo's frontier model and the tests' rogue upstreams. It implements just enough of
//! HTTP/1.1 by hand, because a good HTTP library prevents exactly what a rogue server does: cutting an
//! answer at any byte, never ending it, sending garbage. It serves loopback only and is not part of the
//! gateway.

mod answers;
mod client;
mod connection;
mod script;
mod upstream;

pub use answers::{completion_body, completion_events};
pub use client::{Client, ClientAnswer};
pub use script::{Behaviour, Received, StreamEnd};
pub use upstream::SimulatedUpstream;
