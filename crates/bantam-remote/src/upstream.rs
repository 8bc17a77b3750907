//! One upstream: its address, its dialect, and its state.

use std::collections::BTreeSet;
use std::hash::RandomState;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bantam_backend::{BackendError, BackendFault, MemoryBudget};
use bantam_wire::{CallKind, Format, openai};
use http::{HeaderName, HeaderValue, Uri};
use parking_lot::Mutex;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::Semaphore;

use crate::client::{self, BuildClientError, ClientSettings, HttpClient, HttpVersion};
use crate::detection::{EngineDetector, PATIENCE};
use crate::dial::Proxy;
use crate::engine::Engine;
use crate::fetch::{FetchError, JsonClient, Key};
use crate::headers::{self, Passing};
use crate::phrasing::PhrasingSettings;
use crate::residence;
use crate::retry::RetryBudget;
use crate::watch::SharedBreaker;

/// The API that an upstream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI's chat completions.
    OpenAi,
    /// Anthropic's messages.
    Anthropic,
}

impl Dialect {
    /// Returns the format of answers to calls of `kind`, where the dialect has such calls.
    pub(crate) const fn format(self, kind: CallKind) -> Option<Format> {
        match (self, kind) {
            (Self::OpenAi, kind) => Some(Format::openai(kind)),
            (Self::Anthropic, CallKind::Chat) => Some(Format::AnthropicMessages),
            (Self::Anthropic, CallKind::Text | CallKind::Embeddings) => None,
        }
    }
}

/// What a path may hold as it is: everything else of a model's name is escaped, so that it cannot leave its place.
const KEPT_IN_PATHS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

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

/// Everything an upstream is built from. Every limit is needed; none has a default here.
#[derive(Clone)]
pub struct UpstreamSettings {
    /// Scheme, host and path before `path`.
    pub base_url: String,
    /// Path and query of chat behind `base_url`; `{model}` is replaced by the model's name. Where the path ends in
    /// `chat/completions`, the other endpoints are expected beside it.
    pub path: String,
    /// The API that it speaks.
    pub dialect: Dialect,
    /// How it wants its key.
    pub auth: Auth,
    /// The key itself.
    pub api_key: Option<String>,
    /// Extra root certificates, PEM.
    pub extra_roots_pem: Option<Vec<u8>>,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long the first byte of an answer's body may take.
    pub first_byte_timeout: Duration,
    /// How long a pause in an answer may be; pings and comments end it.
    pub chunk_timeout: Duration,
    /// How long all of it may take, retries included.
    pub total_timeout: Duration,
    /// The most retries of a call, and repeats after it was sent.
    pub retries_max: u32,
    /// Whether a call may be repeated although the request was sent, and may have been answered and billed.
    pub retry_sent: bool,
    /// The most calls at a time.
    pub concurrent_requests_max: usize,
    /// The most bytes of an answer.
    pub response_bytes_max: usize,
    /// How it is spoken to, beyond its dialect.
    pub wire: WireSettings,
}

/// How an upstream is spoken to, beyond its dialect. The default suits most.
#[derive(Clone, Debug, Default)]
pub struct WireSettings {
    /// The version of HTTP.
    pub http: HttpVersion,
    /// The proxy that it is reached through.
    pub proxy: Option<Proxy>,
    /// Headers of every request, by name.
    pub headers: Vec<(String, String)>,
    /// Headers of callers that it gets, in lower case.
    pub forward_headers: Vec<String>,
    /// Whether it gets a caller's trace context.
    pub trace_context: bool,
    /// How it is told what not all servers are told the same way.
    pub phrasing: PhrasingSettings,
    /// Parameters of callers that it gets although its dialect does not have them.
    pub fields: BTreeSet<String>,
}

/// Why no upstream can be built from the settings.
#[derive(Debug, thiserror::Error)]
pub enum BuildUpstreamError {
    /// The address is not a valid URL.
    #[error("`{0}` is not a valid upstream address")]
    Url(String),
    /// The key cannot be sent in a header.
    #[error("the key has characters that a header cannot carry")]
    Key,
    /// A header cannot be sent.
    #[error("`{0}` is not a header that can be sent")]
    Header(String),
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
    pub(crate) passing: Passing,
    /// Parameters that are no part of the dialect.
    pub(crate) fields: BTreeSet<String>,
    /// For what concerns all of its models; each has one of its own beside it.
    pub(crate) breaker: SharedBreaker,
    pub(crate) budget: Mutex<RetryBudget>,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) jitter: RandomState,
    /// What the log calls it.
    name: String,
    base_url: String,
    pub(crate) path: String,
    pub(crate) detector: Option<EngineDetector>,
    /// What answers take of the process's memory.
    pub(crate) memory: MemoryBudget,
}

/// The part of the settings that calls look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) first_byte_timeout: Duration,
    pub(crate) chunk_timeout: Duration,
    pub(crate) total_timeout: Duration,
    pub(crate) retries_max: u32,
    pub(crate) retry_sent: bool,
    pub(crate) response_bytes_max: usize,
    pub(crate) phrasing: PhrasingSettings,
}

impl Upstream {
    /// Builds an upstream; opens no connection yet.
    ///
    /// # Errors
    /// When the address, the key or the certificates cannot be used.
    pub fn new(settings: UpstreamSettings) -> Result<Self, BuildUpstreamError> {
        let client = client::build(ClientSettings {
            connect_timeout: settings.connect_timeout,
            extra_roots_pem: settings.extra_roots_pem.as_deref(),
            http: settings.wire.http,
            proxy: settings.wire.proxy.as_ref(),
            headers: headers::fixed(&settings.wire)?,
            calls_max: settings.concurrent_requests_max,
        })?;
        let auth = auth_header(settings.auth, settings.api_key.as_deref())?;
        let upstream = Self {
            settings: Limits {
                first_byte_timeout: settings.first_byte_timeout,
                chunk_timeout: settings.chunk_timeout,
                total_timeout: settings.total_timeout,
                retries_max: settings.retries_max,
                retry_sent: settings.retry_sent,
                response_bytes_max: settings.response_bytes_max,
                phrasing: settings.wire.phrasing,
            },
            dialect: settings.dialect,
            client,
            auth,
            passing: Passing::new(&settings.wire)?,
            fields: settings.wire.fields,
            breaker: SharedBreaker::default(),
            budget: Mutex::new(RetryBudget::new(Instant::now())),
            places: Arc::new(Semaphore::new(settings.concurrent_requests_max)),
            jitter: RandomState::new(),
            name: settings.base_url.clone(),
            base_url: settings.base_url.trim_end_matches('/').to_owned(),
            path: settings.path,
            detector: None,
            memory: MemoryBudget::unlimited(),
        };
        upstream.uri("model")?;
        Ok(upstream)
    }

    /// Returns the upstream under the name by which the log calls it; without one, that is its address.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// Returns the name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the upstream, whose answers take a part of `memory` while they are there.
    #[must_use]
    pub fn within(self, memory: MemoryBudget) -> Self {
        Self { memory, ..self }
    }

    /// Writes a failure into the log: what failed, where, after how long, and what would help. None of it is the
    /// upstream's own words. What the caller's request is to blame for is no trouble of whoever runs the gateway.
    pub(crate) fn log_failure(&self, model: Option<&str>, error: &BackendError, began: Instant) {
        let fault = error.fault;
        let (upstream, duration_ms) = (&*self.name, began.elapsed().as_millis());
        let (kind, status) = (fault.kind().as_str(), fault.upstream_status());
        let retry_after_s = error.retry_after.map(|pause| pause.as_secs_f64());
        let hint = fault.hint();
        let upstream_request_id = error.notes.as_ref().and_then(|notes| notes.request_id.as_deref());
        if fault.blames_request() || matches!(fault, BackendFault::BreakerOpen) {
            tracing::debug!(
                upstream,
                model,
                fault = kind,
                status,
                duration_ms,
                retry_after_s,
                upstream_request_id,
                hint,
                "a call was refused: {fault}"
            );
        } else {
            tracing::warn!(
                upstream,
                model,
                fault = kind,
                status,
                duration_ms,
                retry_after_s,
                upstream_request_id,
                hint,
                "a call failed: {fault}"
            );
        }
    }

    /// Writes what was learnt of a model into the log.
    pub(crate) fn log_learnt(&self, model: &str, what: &'static str) {
        tracing::info!(upstream = &*self.name, model, "learnt from a refusal: {what}");
    }

    /// Returns the upstream as that engine, or, without one, as the engine that it is detected to be: what the engine
    /// would ignore is refused, and what it names differently is written its way.
    pub fn with_engine(mut self, engine: Option<Engine>) -> Self {
        let key = self.auth.clone().map(|(name, value)| Key(name, value));
        self.detector = Some(EngineDetector::new(engine, &self.base_url, self.client.clone(), key));
        self
    }

    /// Returns whether something listens there that answers for `model` itself, as far as it can say: asks it only
    /// where it is Ollama, or may be.
    pub(crate) async fn runs_itself(&self, engine: Option<Engine>, model: &str) -> Result<bool, FetchError> {
        let port = self.base_url.parse::<Uri>().ok().and_then(|uri| uri.port_u16());
        if !residence::may_be_ollama(engine, port) {
            return Ok(engine.is_some() || !residence::is_cloud_name(model));
        }
        let client = JsonClient::over(self.client.clone(), PATIENCE);
        let key = self.auth.clone().map(|(name, value)| Key(name, value));
        residence::runs_itself(&client, &self.base_url, key.as_ref(), model).await
    }

    /// Returns the address of chat for `model`.
    pub(crate) fn uri(&self, model: &str) -> Result<Uri, BuildUpstreamError> {
        self.address(&self.path, model)
    }

    /// Returns the address for calls of `kind` of `model`, where the upstream may have one.
    pub(crate) fn uri_of(&self, kind: CallKind, model: &str) -> Result<Option<Uri>, BuildUpstreamError> {
        match (kind, self.dialect) {
            (CallKind::Chat, _) => self.uri(model).map(Some),
            (_, Dialect::Anthropic) => Ok(None),
            (_, Dialect::OpenAi) => {
                let path = openai::path_beside(kind, &self.path);
                path.map(|path| self.address(&path, model)).transpose()
            }
        }
    }

    pub(crate) fn address(&self, path: &str, model: &str) -> Result<Uri, BuildUpstreamError> {
        let address = format!("{}{path}", self.base_url);
        let refuse = || BuildUpstreamError::Url(address.clone());
        let encoded = utf8_percent_encode(model, KEPT_IN_PATHS).to_string();
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
