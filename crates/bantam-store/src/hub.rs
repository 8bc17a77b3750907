//! Models from a hub that speaks Hugging Face's protocol.
//!
//! Written over hyper rather than taken from the crate `hf-hub` (1.0), which stands on reqwest, reads its settings
//! and proxies from the environment, and checks no hash of what it resumes.

mod choose;
mod connect;
mod download;
mod exchange;
mod listing;
mod pull;

pub use choose::ChooseError;
pub use exchange::ExchangeError;
pub use pull::{PullError, PullEvent};

use std::time::Duration;

/// Where the hub is, and how it is spoken to.
#[derive(Clone)]
pub struct HubSettings {
    /// Where the hub is, such as `https://huggingface.co`.
    pub endpoint: String,
    /// What proves to the hub who asks. It is sent to the endpoint alone, never to where that redirects, and never
    /// in the clear but on this machine.
    pub token: Option<String>,
    /// The proxy for `https` addresses, such as `http://proxy:3128`.
    pub proxy: Option<String>,
    /// Hosts that are asked without the proxy; `.example.com` means all of a domain, `*` all.
    pub no_proxy: Vec<String>,
    /// How long a connection, an answer's beginning or its next piece may take.
    pub stall: Duration,
    /// How often in a row something may fail, without a new MiB between, before it is given up.
    pub attempts: u32,
    /// How long the second attempt waits; each further one waits twice as long, a minute at most.
    pub backoff: Duration,
}

impl HubSettings {
    /// The public hub, without a token and without a proxy.
    pub fn public() -> Self {
        Self {
            endpoint: "https://huggingface.co".to_owned(),
            token: None,
            proxy: None,
            no_proxy: Vec::new(),
            stall: Duration::from_secs(30),
            attempts: 6,
            backoff: Duration::from_secs(1),
        }
    }
}

impl std::fmt::Debug for HubSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("HubSettings")
            .field("endpoint", &self.endpoint)
            .field("has_token", &self.token.is_some())
            .field("has_proxy", &self.proxy.is_some())
            .finish_non_exhaustive()
    }
}
