//! How an upstream is spoken to, beyond its dialect: HTTP, headers, and what not all servers of a dialect take.

use crate::MistakeKind;
use crate::context::Context;
use crate::document::{Node, Value, parse_loose};
use crate::log::Problem;
use crate::origin::Found;
use crate::proxy::{self, NetworkProxy, Proxy};
use crate::secret;
use crate::section::Section;
use crate::toml_text::{self, TomlText};
use crate::url::BaseUrl;
use crate::value::{self, Named, quote};

/// The version of HTTP that an upstream is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HttpVersion {
    /// Over TLS what the server prefers, HTTP/1.1 without TLS.
    Auto,
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone, also without TLS.
    Http2,
}

/// What the limit of a chat's output tokens is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutputLimit {
    /// As the caller writes it, and the other name where that is refused.
    Auto,
    /// `max_tokens`.
    MaxTokens,
    /// `max_completion_tokens`.
    MaxCompletionTokens,
}

/// A switch that may be left to what is learnt; nothing is `auto`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Auto(pub Option<bool>);

/// The value of a fixed header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderText {
    /// As it stands in the file.
    Plain(String),
    /// What the environment variable of this name holds.
    Variable(String),
}

/// How an upstream is spoken to, beyond its dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wire {
    /// The version of HTTP.
    pub http: HttpVersion,
    /// The proxy that it is reached through.
    pub proxy: Option<Proxy>,
    /// Headers of every request, by name in lower case.
    pub headers: Vec<(String, HeaderText)>,
    /// Headers of callers that it gets, in lower case.
    pub forward_headers: Vec<String>,
    /// Whether it gets the trace context of callers.
    pub trace_context: bool,
    /// Whether streams are asked to tell their usage.
    pub stream_usage: Auto,
    /// What the limit of a chat's output tokens is called.
    pub output_limit: OutputLimit,
    /// Whether it gets the role `developer`, or `system` in its place.
    pub developer_role: Auto,
    /// Parameters of callers that it gets although its dialect does not have them.
    pub fields: Vec<String>,
}

/// Fixed headers as they are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Headers(Vec<(String, HeaderText)>);

/// Reads the settings of one upstream.
pub(crate) fn read(
    section: &mut Section<'_>,
    base_url: Option<&Found<BaseUrl>>,
    network: &NetworkProxy,
    context: &Context<'_>,
) -> Wire {
    let http = section.or("http", HttpVersion::Auto, value::word(&["auto", "1.1", "2"])).value;
    let proxy = proxy::of_upstream(section, base_url, network, context);
    let headers = section.or("headers", Headers::default(), headers);
    for (name, text) in &headers.value.0 {
        if let HeaderText::Variable(variable) = text {
            let spot = headers.spot.clone();
            secret::check_variable(context, &Found { value: variable.clone(), spot }, 1, section.log());
        } else if secret::sounds_secret(name) {
            let problem = Problem::new(format!("holds the value of `{name}`, which sounds like a secret"))
                .hint(format!("put it into an environment variable: {name} = {{ env = \"NAME\" }}"))
                .secret();
            section.log().problem(MistakeKind::BadValue, &headers.spot, problem);
        }
    }
    let forward_headers = section.items_or_none("forward_headers", forwarded_header);
    let is_private = base_url.is_some_and(|base_url| base_url.value.is_private);
    let trace_context = section.or("trace_context", is_private, value::boolean).value;
    let stream_usage = section.or("stream_usage", Auto::default(), auto).value;
    let words = &["auto", "max_tokens", "max_completion_tokens"];
    let output_limit = section.or("output_limit", OutputLimit::Auto, value::word(words)).value;
    let developer_role = section.or("developer_role", Auto::default(), auto).value;
    let fields = section.items_or_none("fields", field);
    Wire {
        http,
        proxy,
        headers: headers.value.0,
        forward_headers: forward_headers.into_iter().map(|header| header.value).collect(),
        trace_context,
        stream_usage,
        output_limit,
        developer_role,
        fields: fields.into_iter().map(|field| field.value).collect(),
    }
}

/// Reads `true`, `false` or `"auto"`.
fn auto(node: &Node) -> Result<Auto, Problem> {
    let word = match &node.value {
        Value::Boolean(truth) => return Ok(Auto(Some(*truth))),
        Value::String(word) | Value::Loose(word) => word.trim(),
        other => return Err(value::wrong_type("`true`, `false` or \"auto\"", other)),
    };
    match word {
        "auto" => Ok(Auto(None)),
        "true" => Ok(Auto(Some(true))),
        "false" => Ok(Auto(Some(false))),
        _ => Err(Problem::new(format!("cannot be {}", quote(word))).hint("write true, false or \"auto\"")),
    }
}

/// Reads the table of fixed headers.
fn headers(node: &Node) -> Result<Headers, Problem> {
    let loose = match &node.value {
        Value::Loose(text) => parse_loose(text, &node.place),
        _ => None,
    };
    let Value::Table(entries) = loose.as_ref().unwrap_or(&node.value) else {
        return Err(value::wrong_type("a table", &node.value).secret());
    };
    let mut read: Vec<(String, HeaderText)> = Vec::with_capacity(entries.len());
    for (name, node) in entries {
        let name = header_name(name)?;
        if read.iter().any(|(known, _)| *known == name) {
            return Err(
                Problem::new(format!("has `{name}` twice")).hint("case makes no difference in headers")
            );
        }
        let text = header_text(&name, node)?;
        read.push((name, text));
    }
    Ok(Headers(read))
}

fn header_text(name: &str, node: &Node) -> Result<HeaderText, Problem> {
    if let Value::Table(entries) = &node.value {
        let variable = match entries.get("env") {
            Some(variable) if entries.len() == 1 => secret::variable_name(&value::text(variable)?)?,
            _ => {
                return Err(Problem::new(format!("has a table for `{name}` with other keys than `env`"))
                    .hint(format!("write {name} = {{ env = \"NAME\" }}"))
                    .secret());
            }
        };
        return Ok(HeaderText::Variable(variable));
    }
    let text = value::text(node).map_err(Problem::secret)?;
    let is_sent = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    if text.is_empty() || text.len() > 4096 || text.trim() != text || !text.bytes().all(is_sent) {
        return Err(Problem::new(format!("has a value for `{name}` that a header cannot carry"))
            .hint("use visible ASCII characters, at most 4096")
            .secret());
    }
    Ok(HeaderText::Plain(text))
}

fn forwarded_header(text: &str) -> Result<String, Problem> {
    let name = header_name(text)?;
    if matches!(&*name, "traceparent" | "tracestate") {
        return Err(Problem::new(format!("names `{name}`")).hint("set trace_context = true"));
    }
    Ok(name)
}

/// Reads the name of a header that may be set or passed on, and returns it in lower case.
fn header_name(text: &str) -> Result<String, Problem> {
    let name = text.to_ascii_lowercase();
    if name.len() > 128 || name.parse::<http::HeaderName>().is_err() {
        return Err(Problem::new(format!("names {}, which is not a header", quote(text))));
    }
    let refuse =
        |why: &str, hint: &str| Err(Problem::new(format!("names `{name}`, {why}")).hint(hint.to_owned()));
    match &*name {
        "authorization" | "api-key" | "x-api-key" => refuse(
            "which carries the key",
            "name the variable that holds the key in `api_key_env`, and see `auth`",
        ),
        "cookie" | "set-cookie" => refuse("which holds a caller's session", "leave it out"),
        "connection" | "keep-alive" | "te" | "trailer" | "transfer-encoding" | "upgrade" | "expect" => {
            refuse("which belongs to one connection", "leave it out")
        }
        "host" | "accept" | "accept-encoding" | "forwarded" | "via" => {
            refuse("which Bantam writes itself", "leave it out")
        }
        _ if name.starts_with("proxy-") => {
            refuse("which belongs to one connection", "leave it out; see `proxy`")
        }
        _ if name.starts_with("content-") => {
            refuse("which describes the body that Bantam writes", "leave it out")
        }
        _ if name.starts_with("x-bantam-") => refuse("which is for Bantam alone", "leave it out"),
        _ => Ok(name),
    }
}

/// Reads the name of a parameter.
fn field(text: &str) -> Result<String, Problem> {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if text.is_empty() || text.len() > 64 || !text.bytes().all(is_good) {
        return Err(Problem::new(format!("names {}, which is not the name of a parameter", quote(text)))
            .hint("write the names of parameters in the body's top level, such as \"top_k\""));
    }
    Ok(text.to_owned())
}

impl Named for HttpVersion {
    fn from_name(name: &str) -> Option<Self> {
        [Self::Auto, Self::Http1, Self::Http2].into_iter().find(|version| version.as_str() == name)
    }
}

impl HttpVersion {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Http1 => "1.1",
            Self::Http2 => "2",
        }
    }
}

impl TomlText for HttpVersion {
    fn toml_text(&self) -> String {
        toml_text::string(self.as_str())
    }
}

impl OutputLimit {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
        }
    }
}

impl Named for OutputLimit {
    fn from_name(name: &str) -> Option<Self> {
        [Self::Auto, Self::MaxTokens, Self::MaxCompletionTokens]
            .into_iter()
            .find(|limit| limit.as_str() == name)
    }
}

impl TomlText for OutputLimit {
    fn toml_text(&self) -> String {
        toml_text::string(self.as_str())
    }
}

impl TomlText for Auto {
    fn toml_text(&self) -> String {
        self.0.map_or_else(|| toml_text::string("auto"), |truth| truth.to_string())
    }
}

impl TomlText for Headers {
    fn toml_text(&self) -> String {
        let entry = |(name, text): &(String, HeaderText)| match text {
            HeaderText::Plain(text) => format!("{} = {}", toml_text::key(name), toml_text::string(text)),
            HeaderText::Variable(name_of) => {
                format!("{} = {{ env = {} }}", toml_text::key(name), toml_text::string(name_of))
            }
        };
        let entries: Vec<String> = self.0.iter().map(entry).collect();
        if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
    }
}
