//! Upstreams as the gateway sees them: good ones, failing ones and rogue ones.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests fail as tests do")]

mod anthropic;
mod breakers;
mod connections;
mod detection;
mod engines;
mod faults;
mod headers;
mod http2;
mod limits;
mod phrasing;
mod proxy;
mod requests;
mod residence;
mod retries;
mod streams;
mod support;
