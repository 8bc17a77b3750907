//! One upstream: where it is, how it is spoken to, and how it is doing.

use std::hash::RandomState;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bantam_wire::Endpoint;
use http::{HeaderName, HeaderValue, Uri};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::breaker::Breaker;
use crate::client::{self, BuildClientError, HttpClient};
use crate::engine::Engine;
use crate::retry::RetryBudget;
use crate::seat::Seat;

/// What an upstream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI's chat completions.
    OpenAi,
    /// Anthropic's messages.
    Anthropic,
}

/// How an upstream wants its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// `authorization: Bearer KEY`.
    Bearer,
    /// `api-key: KEY`, as Azure does.
    ApiKey,
    /// `x-api-key: KEY`, as Anthropic does.
    XApiKey,
    /// None.
    None,
}

/// Everything an upstream is built from; every limit is needed, none has a default here.
#[derive(Clone)]
pub struct UpstreamSettings {
    /// Scheme, host and path before `path`.
    pub base_url: String,
    /// Path and query of chat behind `base_url`; `{model}` stands for the model's name. Where it ends in
    /// `chat/completions`, the other endpoints are looked for beside it.
    pub path: String,
    /// What it speaks.
    pub dialect: Dialect,
    /// How it wants its key.
    pub auth: Auth,
    /// The key itself.
    pub api_key: Option<String>,
    /// Extra root certificates, PEM.
    pub extra_roots_pem: Option<Vec<u8>>,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long the first byte of an answer may take.
    pub first_byte_timeout: Duration,
    /// How long a pause in an answer may be.
    pub chunk_timeout: Duration,
    /// How long all of it may take, retries included.
    pub total_timeout: Duration,
    /// Retries a call, at most.
    pub retries_max: u32,
    /// Calls at a time, at most.
    pub concurrent_requests_max: usize,
    /// Bytes of an answer, at most.
    pub response_bytes_max: usize,
}

/// Settings that no upstream can be built from.
#[derive(Debug, thiserror::Error)]
pub enum BuildUpstreamError {
    /// The address is no URL.
    #[error("`{0}` is no address of an upstream")]
    Url(String),
    /// The key cannot stand in a header.
    #[error("the key has characters that a header cannot carry")]
    Key,
    /// The client cannot be built.
    #[error("the HTTP client cannot be built")]
    Client(#[from] BuildClientError),
}

/// An upstream with its connection pool, circuit breaker and retry budget; shared by its models.
pub struct Upstream {
    pub(crate) settings: Limits,
    pub(crate) dialect: Dialect,
    pub(crate) client: HttpClient,
    pub(crate) auth: Option<(HeaderName, HeaderValue)>,
    pub(crate) breaker: Mutex<Breaker>,
    pub(crate) budget: Mutex<RetryBudget>,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) jitter: RandomState,
    base_url: String,
    path: String,
    pub(crate) seat: Option<Seat>,
}

/// The part of the settings that calls look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) first_byte_timeout: Duration,
    pub(crate) chunk_timeout: Duration,
    pub(crate) total_timeout: Duration,
    pub(crate) retries_max: u32,
    pub(crate) response_bytes_max: usize,
}

impl Upstream {
    /// Builds an upstream; opens no connection yet.
    ///
    /// # Errors
    /// When the address, the key or the certificates cannot be used.
    pub fn new(settings: UpstreamSettings) -> Result<Self, BuildUpstreamError> {
        let client = client::build(settings.connect_timeout, settings.extra_roots_pem.as_deref())?;
        let auth = auth_header(settings.auth, settings.api_key.as_deref())?;
        let upstream = Self {
            settings: Limits {
                first_byte_timeout: settings.first_byte_timeout,
                chunk_timeout: settings.chunk_timeout,
                total_timeout: settings.total_timeout,
                retries_max: settings.retries_max,
                response_bytes_max: settings.response_bytes_max,
            },
            dialect: settings.dialect,
            client,
            auth,
            breaker: Mutex::new(Breaker::default()),
            budget: Mutex::new(RetryBudget::new(Instant::now())),
            places: Arc::new(Semaphore::new(settings.concurrent_requests_max)),
            jitter: RandomState::new(),
            base_url: settings.base_url.trim_end_matches('/').to_owned(),
            path: settings.path,
            seat: None,
        };
        upstream.uri("model")?;
        Ok(upstream)
    }

    /// Returns the upstream as that engine, or as whatever engine it is found to be: what the engine would ignore is
    /// refused, and what it calls otherwise is written its way.
    ///
    /// # Errors
    /// When the client that asks it cannot be built.
    pub fn with_engine(mut self, engine: Option<Engine>) -> Result<Self, BuildUpstreamError> {
        self.seat = Some(Seat::new(engine, &self.base_url)?);
        Ok(self)
    }

    /// Returns the address of chat for `model`.
    pub(crate) fn uri(&self, model: &str) -> Result<Uri, BuildUpstreamError> {
        self.address(&self.path, model)
    }

    /// Returns the address of `endpoint` for `model`, where the upstream may have one.
    pub(crate) fn uri_of(&self, endpoint: Endpoint, model: &str) -> Result<Option<Uri>, BuildUpstreamError> {
        match (endpoint, self.dialect) {
            (Endpoint::Chat, _) => self.uri(model).map(Some),
            (_, Dialect::Anthropic) => Ok(None),
            (_, Dialect::OpenAi) => {
                let path = endpoint.path_beside(&self.path);
                path.map(|path| self.address(&path, model)).transpose()
            }
        }
    }

    fn address(&self, path: &str, model: &str) -> Result<Uri, BuildUpstreamError> {
        let address = format!("{}{path}", self.base_url);
        let refuse = || BuildUpstreamError::Url(address.clone());
        let encoded: String = model
            .bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    char::from(byte).to_string()
                }
                _ => format!("%{byte:02X}"),
            })
            .collect();
        let uri: Uri = address.replace("{model}", &encoded).parse().map_err(|_| refuse())?;
        let known_scheme = matches!(uri.scheme_str(), Some("http" | "https"));
        if known_scheme && uri.authority().is_some_and(|authority| !authority.as_str().contains('@')) {
            Ok(uri)
        } else {
            Err(refuse())
        }
    }
}

fn auth_header(
    auth: Auth,
    key: Option<&str>,
) -> Result<Option<(HeaderName, HeaderValue)>, BuildUpstreamError> {
    let Some(key) = key else {
        return Ok(None);
    };
    let (name, text) = match auth {
        Auth::None => return Ok(None),
        Auth::Bearer => (http::header::AUTHORIZATION, format!("Bearer {key}")),
        Auth::ApiKey => (HeaderName::from_static("api-key"), key.to_owned()),
        Auth::XApiKey => (HeaderName::from_static("x-api-key"), key.to_owned()),
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| BuildUpstreamError::Key)?;
    value.set_sensitive(true);
    Ok(Some((name, value)))
}
