//! Whether the upstreams of a configuration can be reached, and what to do about those that cannot.

use std::time::{Instant, SystemTime};

use bantam_config::{Config, Env};
use bantam_deploy::{DeployError, FilesRead, build_upstreams};
use serde::Serialize;

/// How one upstream answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UpstreamCheck {
    /// Its name in the configuration.
    pub upstream: String,
    /// Its address there.
    pub address: String,
    /// How long the answer took, in milliseconds.
    pub duration_ms: u64,
    /// What failed, in one word as the log and the ledger have it; nothing where it answered.
    pub fault: Option<&'static str>,
    /// The same in a sentence.
    pub reason: Option<String>,
    /// What would help, where something is known.
    pub hint: Option<&'static str>,
}

/// Asks every upstream for its list of models, all at once, each within its own time-outs. No prompt is sent, and nobody bills
/// for it.
///
/// # Errors
/// When the configuration of an upstream cannot be used.
pub async fn check_upstreams(config: &Config, env: &dyn Env) -> Result<Vec<UpstreamCheck>, DeployError> {
    let upstreams = build_upstreams(config, env, &FilesRead::begin(SystemTime::now()))?;
    let checks = upstreams.iter().map(async |(name, upstream)| {
        let began = Instant::now();
        let failure = upstream.probe().await.err().map(|error| error.fault);
        UpstreamCheck {
            upstream: (*name).to_owned(),
            address: config.upstreams.get(*name).map(|one| one.base_url.clone()).unwrap_or_default(),
            duration_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            fault: failure.map(|fault| fault.kind().as_str()),
            reason: failure.map(|fault| fault.to_string()),
            hint: failure.and_then(bantam_backend::BackendFault::hint),
        }
    });
    Ok(futures_util::future::join_all(checks).await)
}
