//! A simulated upstream on loopback, an HTTP server whose every answer is scripted, and a simulated
//! application, which asks.
//!
//! The demo's frontier model and the tests' rogue upstreams are this server. It speaks just enough
//! HTTP/1.1 by hand, because being rogue (cutting an answer at any byte, never ending it, sending
//! garbage) is exactly what a well-made HTTP library does not let one do. It serves loopback only and is
//! no part of the gateway.

mod answers;
mod client;
mod connection;
mod script;
mod upstream;

pub use answers::{completion_body, completion_events};
pub use client::{Client, ClientAnswer};
pub use script::{Behaviour, Received, StreamEnd};
pub use upstream::SimulatedUpstream;
