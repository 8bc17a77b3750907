//! `[upstreams.NAME]`: the providers and engines that models run on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use crate::MistakeKind;
use crate::context::Context;
use crate::log::{Log, Problem};
use crate::origin::Found;
use crate::proxy::{self, NetworkProxy};
use crate::section::Section;
use crate::server::timeout;
use crate::toml_text::{self, TomlText};
use crate::url::{self, BaseUrl};
use crate::value::{self, Named};
use crate::wire::{self, Wire};
use crate::{secret, server};

/// The API that an upstream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI's chat completions.
    OpenAi,
    /// Anthropic's messages.
    Anthropic,
}

impl Dialect {
    /// Returns the name as it stands in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
        }
    }

    /// Returns where requests go when `path` does not say.
    const fn default_path(self) -> &'static str {
        match self {
            Self::OpenAi => "/chat/completions",
            Self::Anthropic => "/v1/messages",
        }
    }
}

/// An engine that people run beside Bantam. It says which parameters are honoured, and where it listens by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EngineKind {
    /// Whatever answers there, found out at the first request.
    Auto,
    /// Ollama.
    Ollama,
    /// The server of llama.cpp.
    LlamaServer,
    /// The server of the Python package `llama-cpp-python`.
    LlamaCppPython,
    /// vLLM.
    Vllm,
}

/// All engines' names.
const ENGINES: &[&str] = &["auto", "ollama", "llama-server", "llama-cpp-python", "vllm"];

impl EngineKind {
    /// Returns the name as it stands in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Ollama => "ollama",
            Self::LlamaServer => "llama-server",
            Self::LlamaCppPython => "llama-cpp-python",
            Self::Vllm => "vllm",
        }
    }

    /// Returns where it listens unless somebody says otherwise.
    const fn default_base_url(self) -> Option<&'static str> {
        match self {
            Self::Auto => None,
            Self::Ollama => Some("http://127.0.0.1:11434/v1"),
            Self::LlamaServer => Some("http://127.0.0.1:8080/v1"),
            Self::LlamaCppPython | Self::Vllm => Some("http://127.0.0.1:8000/v1"),
        }
    }
}

/// How a key is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Auth {
    /// `authorization: Bearer KEY`.
    Bearer,
    /// `api-key: KEY`, as Azure wants it.
    ApiKey,
    /// `x-api-key: KEY`, as Anthropic wants it.
    XApiKey,
    /// No key.
    None,
}

impl Auth {
    /// Returns the name as it stands in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::ApiKey => "api-key",
            Self::XApiKey => "x-api-key",
            Self::None => "none",
        }
    }
}

/// One provider or engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The API it speaks.
    pub dialect: Dialect,
    /// The engine that it is, where that is known.
    pub kind: Option<EngineKind>,
    /// `http` or `https`, host, port and the first part of the path; no slash at the end.
    pub base_url: String,
    /// What follows `base_url`, beginning with a slash; `{model}` stands for the model's name there.
    pub path: String,
    /// How the key is sent; [`Auth::None`] exactly when there is no `api_key_env`.
    pub auth: Auth,
    /// The name of the environment variable that holds the key.
    pub api_key_env: Option<String>,
    /// A file of root certificates to trust beyond the built-in ones.
    pub ca_file: Option<PathBuf>,
    /// Whether bytes of any label may go there although its host is not recognisably private.
    pub trusted: bool,
    /// Whether plain HTTP to a host that is not recognisably private was allowed.
    pub allow_plain_http: bool,
    /// Whether the host is `localhost` or a loopback or private address; derived, not a setting.
    pub host_is_private: bool,
    /// Whether the host can only be this machine; derived, not a setting.
    pub host_is_loopback: bool,
    /// How long connecting may take, TLS included.
    pub connect_timeout: Duration,
    /// How long the first byte of an answer's body may take.
    pub first_byte_timeout: Duration,
    /// How long each next byte of an answer may take; pings and comments count.
    pub chunk_timeout: Duration,
    /// How long one attempt may take, retries included.
    pub total_timeout: Duration,
    /// How often a failed call may be made again before its first byte.
    pub retries_max: u32,
    /// Whether a call may be made again although it may have been answered and billed.
    pub retry_sent: bool,
    /// How many calls may run at once.
    pub concurrent_requests_max: usize,
    /// The largest answer, in bytes.
    pub response_bytes_max: usize,
    /// How it is spoken to, beyond its dialect.
    pub wire: Wire,
    /// Whether it is reached through a proxy; derived, not a setting.
    pub is_proxied: bool,
}

/// What was read of `[upstreams]`.
#[derive(Debug, Default)]
pub(crate) struct Upstreams {
    /// Those that are whole.
    pub(crate) good: BTreeMap<String, Upstream>,
    /// All names, also of those with mistakes.
    pub(crate) declared: BTreeSet<String>,
}

/// Reads `[upstreams]`.
pub(crate) fn read(root: &mut Section<'_>, network: &NetworkProxy, context: &Context<'_>) -> Upstreams {
    let mut upstreams = Upstreams::default();
    for (name, section) in root.named_tables("upstreams") {
        if name.parse::<bantam_types::TaskName>().is_err() {
            let problem = Problem::new("has a name that cannot stand in metrics and headers")
                .hint("use 1 to 64 of a-z, 0-9, `-`, `_`, `.`, starting with a letter or digit");
            section.log().problem(MistakeKind::BadValue, &section.own_spot(), problem);
        }
        if let Some(upstream) = read_one(section, network, context) {
            upstreams.good.insert(name.clone(), upstream);
        }
        upstreams.declared.insert(name);
    }
    upstreams
}

fn read_one(mut section: Section<'_>, network: &NetworkProxy, context: &Context<'_>) -> Option<Upstream> {
    let kind = section.optional("kind", value::word::<EngineKind>(ENGINES));
    let dialects = value::word(&["openai", "anthropic"]);
    let dialect = match &kind {
        Some(_) => Some(section.or("dialect", Dialect::OpenAi, dialects)),
        None => section.required("dialect", dialects),
    };
    let read_url = |node: &_| url::base_url(&value::text(node)?);
    let usual = kind.as_ref().and_then(|kind| url::base_url(kind.value.default_base_url()?).ok());
    let base_url = match usual {
        Some(usual) => Some(section.or("base_url", usual, read_url)),
        None => section.required("base_url", read_url),
    };
    if let (Some(kind), Some(Dialect::Anthropic)) = (&kind, dialect.as_ref().map(|dialect| dialect.value)) {
        let problem = Problem::new(format!("is {}, which speaks OpenAI's API", kind.value.as_str()))
            .hint("leave `dialect` out");
        section.log().problem(MistakeKind::Conflict, &kind.spot, problem);
    }
    let path = endpoint_path(&mut section, dialect.as_ref(), base_url.as_ref());
    section.refuse(
        "api_key",
        "put the key into an environment variable and name that: api_key_env = \"OPENAI_API_KEY\"",
    );
    let (auth, api_key_env) = authentication(&mut section, dialect.as_ref(), context);
    let ca_file = ca_file(&mut section, base_url.as_ref(), context);
    let trusted = section.or("trusted", false, value::boolean).value;
    let allow_plain_http = section.or("allow_plain_http", false, value::boolean).value;
    if let Some(base_url) = &base_url {
        let sends = match (trusted, api_key_env.is_some()) {
            (true, _) => "requests of every label",
            (false, true) => "the key",
            (false, false) => "requests",
        };
        check_plain_http(base_url, allow_plain_http, sends, section.log());
    }
    let total = timeout(&mut section, "total_timeout_ms", 300_000);
    let connect_timeout = within(&mut section, "connect_timeout_ms", 3_000, &total);
    let first_byte_timeout = within(&mut section, "first_byte_timeout_ms", 60_000, &total);
    let chunk_timeout = within(&mut section, "chunk_timeout_ms", 30_000, &total);
    let retries_max = section.or("retries_max", 2, value::whole(0..=10)).value;
    let retry_sent = section.or("retry_sent", false, value::boolean).value;
    let concurrent = section.or("concurrent_requests_max", 256, value::whole(1..=100_000));
    let response = section.or("response_bytes_max", 16 << 20, value::whole(1 << 10..=1 << 30));
    let wire = wire::read(&mut section, base_url.as_ref(), network, context);
    section.finish();
    let base_url = base_url?.value;
    let is_proxied = proxy::is_used(wire.proxy.as_ref(), &base_url.text, context.env);
    Some(Upstream {
        dialect: dialect?.value,
        kind: kind.map(|kind| kind.value),
        base_url: base_url.text,
        path: path?,
        auth,
        api_key_env,
        ca_file,
        trusted,
        allow_plain_http,
        host_is_private: base_url.is_private,
        host_is_loopback: base_url.is_loopback,
        connect_timeout,
        first_byte_timeout,
        chunk_timeout,
        total_timeout: total.value,
        retries_max,
        retry_sent,
        concurrent_requests_max: concurrent.value,
        response_bytes_max: response.value,
        wire,
        is_proxied,
    })
}

/// Reads `path` and refuses a base that already ends with it: the request would go to a doubled path.
fn endpoint_path(
    section: &mut Section<'_>,
    dialect: Option<&Found<Dialect>>,
    base_url: Option<&Found<BaseUrl>>,
) -> Option<String> {
    let read = |node: &_| url::endpoint_path(&value::text(node)?);
    let path = match dialect {
        Some(dialect) => section.or("path", dialect.value.default_path().to_owned(), read),
        None => section.optional("path", read)?,
    };
    if let Some(base) = base_url {
        let plain = path.value.split('?').next().unwrap_or_default();
        let versioned = path.is_default() && plain.starts_with("/v1/") && base.value.text.ends_with("/v1");
        if versioned || base.value.text.ends_with(plain) {
            let problem = Problem::new(format!("ends with a part of `path` ({}) already", path.value))
                .hint("leave it out here: requests go to `base_url` followed by `path`");
            section.log().problem(MistakeKind::Conflict, &base.spot, problem);
        }
    }
    Some(path.value)
}

fn authentication(
    section: &mut Section<'_>,
    dialect: Option<&Found<Dialect>>,
    context: &Context<'_>,
) -> (Auth, Option<String>) {
    let key_is_given = section.has("api_key_env");
    let name = section.optional("api_key_env", |node| secret::variable_name(&value::text(node)?));
    if let Some(name) = &name {
        secret::check_variable(context, name, 1, section.log());
    }
    let default = match dialect.map(|found| found.value) {
        _ if !key_is_given => Auth::None,
        Some(Dialect::Anthropic) => Auth::XApiKey,
        Some(Dialect::OpenAi) | None => Auth::Bearer,
    };
    let auth = section.or("auth", default, value::word(&["bearer", "api-key", "x-api-key", "none"]));
    let problem = match (auth.value, key_is_given) {
        (Auth::None, true) => {
            Problem::new("is `none`, but `api_key_env` names a key").hint("remove one of the two")
        }
        (Auth::Bearer | Auth::ApiKey | Auth::XApiKey, false) => {
            Problem::new("sends a key, but none is named")
                .hint("name the variable that holds it in `api_key_env`, or set auth = \"none\"")
        }
        _ => return (auth.value, name.map(|name| name.value)),
    };
    section.log().problem(MistakeKind::Conflict, &auth.spot, problem);
    (auth.value, name.map(|name| name.value))
}

fn ca_file(
    section: &mut Section<'_>,
    base_url: Option<&Found<BaseUrl>>,
    context: &Context<'_>,
) -> Option<PathBuf> {
    let file = value::filled_text(4096);
    let found = section.optional("ca_file", |node| file(node).map(|path| context.resolve(&path)))?;
    context.check_exists(&found, section.log());
    if base_url.is_some_and(|base_url| !base_url.value.is_encrypted) {
        let problem = Problem::new("does nothing, because `base_url` is plain http")
            .hint("use https in `base_url`, or remove `ca_file`");
        section.log().problem(MistakeKind::Conflict, &found.spot, problem);
    }
    Some(found.value)
}

fn check_plain_http(base_url: &Found<BaseUrl>, is_allowed: bool, sends: &str, log: &Log<'_>) {
    if base_url.value.is_encrypted || base_url.value.is_private {
        return;
    }
    if !is_allowed {
        let problem = Problem::new("sends requests in clear text to a host that is not recognisably private")
            .hint("use https, or, when the network between is yours, set allow_plain_http = true");
        log.problem(MistakeKind::Conflict, &base_url.spot, problem);
    } else if sends != "requests" {
        let problem = Problem::new(format!("sends {sends} in clear text")).hint("use https");
        log.warn(MistakeKind::Conflict, &base_url.spot, problem);
    }
}

/// Reads a time limit that lies within the total; a default shrinks to fit, a set one has to.
fn within(
    section: &mut Section<'_>,
    key: &'static str,
    default_ms: u64,
    total: &Found<Duration>,
) -> Duration {
    let total_ms = u64::try_from(total.value.as_millis()).unwrap_or(server::TIMEOUT_MS_MAX);
    let found = timeout(section, key, default_ms.min(total_ms));
    if found.value > total.value {
        let problem =
            Problem::new(format!("is longer than `total_timeout_ms` ({total_ms}) and never runs out"))
                .hint("make it shorter, or the total longer");
        section.log().problem(MistakeKind::Conflict, &found.spot, problem);
    }
    found.value
}

impl Named for Dialect {
    fn from_name(name: &str) -> Option<Self> {
        [Self::OpenAi, Self::Anthropic].into_iter().find(|dialect| dialect.as_str() == name)
    }
}

impl Named for EngineKind {
    fn from_name(name: &str) -> Option<Self> {
        [Self::Auto, Self::Ollama, Self::LlamaServer, Self::LlamaCppPython, Self::Vllm]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }
}

impl TomlText for EngineKind {
    fn toml_text(&self) -> String {
        toml_text::string(self.as_str())
    }
}

impl Named for Auth {
    fn from_name(name: &str) -> Option<Self> {
        [Self::Bearer, Self::ApiKey, Self::XApiKey, Self::None].into_iter().find(|auth| auth.as_str() == name)
    }
}

impl TomlText for Dialect {
    fn toml_text(&self) -> String {
        toml_text::string(self.as_str())
    }
}

impl TomlText for Auth {
    fn toml_text(&self) -> String {
        toml_text::string(self.as_str())
    }
}

impl TomlText for BaseUrl {
    fn toml_text(&self) -> String {
        toml_text::string(&self.text)
    }
}
