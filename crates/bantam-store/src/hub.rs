//! Downloads models from a hub that speaks Hugging Face's protocol.
//!
//! Built on hyper instead of the crate `hf-hub` (1.0), which depends on reqwest, reads its settings and proxies from
//! the environment, and does not verify the hashes of resumed downloads.

mod choose;
mod connect;
mod download;
mod exchange;
mod listing;
mod pull;

pub use choose::SelectFilesError;
pub use exchange::HubRequestError;
pub use pull::{PullError, PullEvent};

use std::time::Duration;

/// How to reach the hub.
#[derive(Clone)]
pub struct HubSettings {
    /// The hub's address, such as `https://huggingface.co`.
    pub endpoint: String,
    /// The access token. It is sent only to the endpoint itself, never to a redirect's target, and never unencrypted
    /// except to this machine.
    pub token: Option<String>,
    /// The proxy for `https` addresses, such as `http://proxy:3128`.
    pub proxy: Option<String>,
    /// Hosts that bypass the proxy; `.example.com` means the whole domain, `*` all hosts.
    pub no_proxy: Vec<String>,
    /// Longest wait for a connection, for a response's head, or for its next chunk.
    pub stall: Duration,
    /// Failures in a row after which a download is abandoned; every new MiB resets the count.
    pub attempts: u32,
    /// Pause before the second attempt. Each further pause is twice as long, at most one minute.
    pub backoff: Duration,
}

impl HubSettings {
    /// Returns the settings for the public hub, without a token or proxy.
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
