//! Upstream providers: OpenAI-compatible servers and Anthropic's API. Owns the HTTP client of requests.
//!
//! Nothing here takes a request that the privacy policy did not clear for the upstream's tier. The client
//! follows no redirects and reads no proxy from the environment: bytes go to the configured host, through
//! the configured proxy where there is one, or nowhere. A good change to this crate makes some way of failing cost the caller less.

mod breaker;
mod client;
mod connect;
mod decoding;
mod detection;
mod dial;
mod engine;
mod exchange;
mod failing;
mod fetch;
mod headers;
mod incoming;
mod model;
mod notes;
mod phrasing;
mod probe;
mod refusal;
mod residence;
mod retry;
mod retry_after;
mod stream;
mod upstream;
mod watch;

pub use client::{BuildClientError, HttpVersion};
pub use dial::Proxy;
pub use engine::{Engine, EngineFeature, FoundEngine, find_engine, usual_addresses};
pub use fetch::{FetchError, JsonClient, JsonReply};
pub use model::RemoteModel;
pub use phrasing::PhrasingSettings;
pub use upstream::{Auth, BuildUpstreamError, Dialect, Upstream, UpstreamSettings, WireSettings};
