//! `[network]`, and which upstreams are reached through a proxy.
//!
//! Bytes go through a proxy only where the file says so. The usual variables of the environment count where it says
//! `"env"`, and nowhere else: whoever sets them for other programs does not decide where prompts go.

use std::net::IpAddr;

use http::Uri;

use crate::context::Context;
use crate::log::Problem;
use crate::origin::Found;
use crate::section::Section;
use crate::url::{self, BaseUrl};
use crate::value::quote;
use crate::{Env, MistakeKind, Purpose, secret, value};

/// Where the proxy of an upstream is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Its address.
    pub address: ProxyAddress,
    /// The name of the environment variable that holds its login.
    pub login_env: Option<String>,
}

/// The address of a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyAddress {
    /// `http`, host and port.
    Url(String),
    /// What the usual variables of the environment say for the upstream's host; see [`proxy_of_environment`].
    Environment,
}

/// A proxy that the environment names.
#[derive(Clone, PartialEq, Eq)]
pub struct EnvironmentProxy {
    /// `http`, host and port.
    pub url: String,
    /// `user:password`, as it stands in the address, with its escapes undone.
    pub login: Option<String>,
}

/// Shows no login.
impl std::fmt::Debug for EnvironmentProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnvironmentProxy").field("url", &self.url).finish_non_exhaustive()
    }
}

/// A variable that names a proxy that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} names a proxy that is not http://HOST:PORT")]
pub struct EnvironmentProxyError(pub &'static str);

/// What `[network]` says of all upstreams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NetworkProxy(Option<Proxy>);

/// What a setting may say.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Written(Option<ProxyAddress>);

impl crate::toml_text::TomlText for Written {
    fn toml_text(&self) -> String {
        crate::toml_text::string(match &self.0 {
            None => "none",
            Some(ProxyAddress::Environment) => "env",
            Some(ProxyAddress::Url(url)) => url,
        })
    }
}

/// Reads `[network]`.
pub(crate) fn read(root: &mut Section<'_>, context: &Context<'_>) -> NetworkProxy {
    let mut section = root.table("network");
    let proxy = written(&mut section, context)
        .and_then(|(address, login_env)| Some(Proxy { address: address.value.0?, login_env }));
    section.finish();
    NetworkProxy(proxy)
}

/// Reads the proxy of an upstream, its own or that of `[network]`. This machine is never reached through one.
pub(crate) fn of_upstream(
    section: &mut Section<'_>,
    base_url: Option<&Found<BaseUrl>>,
    network: &NetworkProxy,
    context: &Context<'_>,
) -> Option<Proxy> {
    let own = written(section, context);
    let is_loopback = base_url.is_some_and(|base_url| base_url.value.is_loopback);
    let proxy = match own {
        None => network.0.clone().filter(|_| !is_loopback)?,
        Some((address, login_env)) => {
            let spot = address.spot;
            let address = address.value.0?;
            if is_loopback {
                let problem = Problem::new("does nothing, because `base_url` is this machine")
                    .hint("remove it: this machine is never reached through a proxy");
                section.log().problem(MistakeKind::Conflict, &spot, problem);
                return None;
            }
            Proxy { address, login_env }
        }
    };
    if proxy.address == ProxyAddress::Environment && context.source.purpose == Purpose::Serve {
        let base_url = base_url?;
        if let Err(error) = proxy_of_environment(&base_url.value.text, context.env) {
            let problem = Problem::new(format!("is \"env\", and {error}"))
                .hint("Bantam speaks plain HTTP to proxies; name one here, or write \"none\"");
            section.log().problem(MistakeKind::Unreachable, &section.spot("proxy"), problem);
        }
    }
    Some(proxy)
}

/// Returns whether requests to `base_url` go through a proxy.
pub(crate) fn is_used(proxy: Option<&Proxy>, base_url: &str, env: &dyn Env) -> bool {
    match proxy.map(|proxy| &proxy.address) {
        None => false,
        Some(ProxyAddress::Url(_)) => true,
        Some(ProxyAddress::Environment) => !matches!(proxy_of_environment(base_url, env), Ok(None)),
    }
}

fn written(section: &mut Section<'_>, context: &Context<'_>) -> Option<(Found<Written>, Option<String>)> {
    let address = section.optional("proxy", |node| proxy_text(&value::text(node)?));
    let login = section.optional("proxy_login_env", |node| secret::variable_name(&value::text(node)?));
    if let Some(login) = &login {
        secret::check_variable(context, login, 1, section.log());
        if !matches!(address.as_ref().map(|address| &address.value.0), Some(Some(ProxyAddress::Url(_)))) {
            let problem = Problem::new("is the login of a proxy whose address is not here")
                .hint("name the proxy in `proxy`, as in \"http://proxy:3128\"");
            section.log().problem(MistakeKind::Conflict, &login.spot, problem);
        }
    }
    Some((address?, login.map(|login| login.value)))
}

fn proxy_text(text: &str) -> Result<Written, Problem> {
    match text {
        "none" => return Ok(Written(None)),
        "env" => return Ok(Written(Some(ProxyAddress::Environment))),
        _ => {}
    }
    if text.contains('@') {
        return Err(Problem::new("holds a login (`@`)")
            .hint("put `user:password` into an environment variable and name that in `proxy_login_env`")
            .secret());
    }
    match address(text) {
        Some(url) => Ok(Written(Some(ProxyAddress::Url(url)))),
        None => Err(Problem::new(format!("is not the address of a proxy: {}", quote(text)))
            .hint("write it as in \"http://proxy:3128\", or \"env\", or \"none\"")),
    }
}

/// Returns the address of an HTTP proxy without a slash at the end, where it is one.
fn address(text: &str) -> Option<String> {
    let base = url::base_url(text).ok()?;
    let uri: Uri = base.text.parse().ok()?;
    (!base.is_encrypted && matches!(uri.path(), "" | "/")).then_some(base.text)
}

/// Returns the proxy that the environment names for `base_url`: `HTTPS_PROXY` for https, `http_proxy` for http (in lower
/// case alone, since a web server sets `HTTP_PROXY` from a caller's header), else `ALL_PROXY`; nothing for hosts of
/// `NO_PROXY` and for this machine.
///
/// # Errors
/// When the variable does not name an HTTP proxy.
pub fn proxy_of_environment(
    base_url: &str,
    env: &dyn Env,
) -> Result<Option<EnvironmentProxy>, EnvironmentProxyError> {
    let Ok(uri) = base_url.parse::<Uri>() else { return Ok(None) };
    let is_encrypted = uri.scheme_str() == Some("https");
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_ascii_lowercase();
    let port = uri.port_u16().unwrap_or(if is_encrypted { 443 } else { 80 });
    let no_proxy = ["no_proxy", "NO_PROXY"].into_iter().find_map(|name| env.get(name)).unwrap_or_default();
    if url::is_loopback_host(&host) || bypasses(&host, port, &no_proxy) {
        return Ok(None);
    }
    let names: &[&'static str] = if is_encrypted {
        &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
    } else {
        &["http_proxy", "all_proxy", "ALL_PROXY"]
    };
    let named = names.iter().find_map(|name| Some((*name, env.get(name).filter(|text| !text.is_empty())?)));
    let Some((name, text)) = named else { return Ok(None) };
    let text = if text.contains("://") { text } else { format!("http://{text}") };
    let rest = text.strip_prefix("http://").ok_or(EnvironmentProxyError(name))?;
    let (login, place) = match rest.rsplit_once('@') {
        Some((login, place)) => (Some(unescaped(login)), place),
        None => (None, rest),
    };
    let url = address(&format!("http://{place}")).ok_or(EnvironmentProxyError(name))?;
    Ok(Some(EnvironmentProxy { url, login }))
}

/// Undoes the escapes of a URL's user information.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits =
            after.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns whether `NO_PROXY` lists a host: by name, by a domain that it belongs to, by address or block of addresses,
/// each with or without a port; or all hosts, by `*`.
fn bypasses(host: &str, port: u16, no_proxy: &str) -> bool {
    let ip = host.parse::<IpAddr>().ok();
    no_proxy.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        let entry = entry.to_ascii_lowercase();
        if entry == "*" {
            return true;
        }
        if let (Some(ip), Some((block, length))) = (ip, entry.split_once('/')) {
            return in_block(ip, block, length);
        }
        let bare = entry.trim_matches(['[', ']']);
        if let (Some(ip), Ok(listed)) = (ip, bare.parse::<IpAddr>()) {
            return ip == listed;
        }
        let (name, listed_port) = match entry.rsplit_once(':') {
            Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, Some(port)),
            _ => (&*entry, None),
        };
        if listed_port.is_some_and(|listed| listed.parse() != Ok(port)) {
            return false;
        }
        let name = name.trim_start_matches("*.").trim_start_matches('.').trim_matches(['[', ']']);
        !name.is_empty()
            && (host == name || host.strip_suffix(name).is_some_and(|before| before.ends_with('.')))
    })
}

fn in_block(ip: IpAddr, block: &str, length: &str) -> bool {
    let (Ok(block), Ok(length)) = (block.parse::<IpAddr>(), length.parse::<u32>()) else { return false };
    match (ip, block) {
        (IpAddr::V4(ip), IpAddr::V4(block)) if length <= 32 => {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            ip.to_bits() & mask == block.to_bits() & mask
        }
        (IpAddr::V6(ip), IpAddr::V6(block)) if length <= 128 => {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            ip.to_bits() & mask == block.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Variables(&'static [(&'static str, &'static str)]);

    impl Env for Variables {
        fn get(&self, name: &str) -> Option<String> {
            self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        }
    }

    fn url_of(base_url: &str, variables: &'static [(&'static str, &'static str)]) -> Option<String> {
        proxy_of_environment(base_url, &Variables(variables)).unwrap().map(|proxy| proxy.url)
    }

    #[test]
    fn the_environment_names_a_proxy_by_scheme() {
        const ALL: &[(&str, &str)] = &[
            ("HTTPS_PROXY", "s:1"),
            ("http_proxy", "http://p:2/"),
            ("HTTP_PROXY", "evil:3"),
            ("ALL_PROXY", "a:4"),
        ];
        assert_eq!(url_of("https://api.example.com/v1", ALL).as_deref(), Some("http://s:1"));
        assert_eq!(url_of("http://api.example.com/v1", ALL).as_deref(), Some("http://p:2"));
        assert_eq!(url_of("http://x.example", &[("HTTP_PROXY", "evil:3")]), None);
        assert_eq!(url_of("http://x.example", &[("ALL_PROXY", "a:4")]).as_deref(), Some("http://a:4"));
        for here in ["https://localhost:1", "https://127.0.0.2", "https://[::1]:8"] {
            assert_eq!(url_of(here, ALL), None, "{here}");
        }
        let with_login = Variables(&[("https_proxy", "http://us%65r:p%40w@p:1")]);
        let found = proxy_of_environment("https://x.example", &with_login).unwrap().unwrap();
        assert_eq!((&*found.url, found.login.as_deref()), ("http://p:1", Some("user:p@w")));
        assert!(!format!("{found:?}").contains("p@w"));
        for bad in ["https://p:1", "socks5://p:1", "http://", "http://p:1/path"] {
            let variables = Variables(match bad {
                "https://p:1" => &[("HTTPS_PROXY", "https://p:1")],
                "socks5://p:1" => &[("HTTPS_PROXY", "socks5://p:1")],
                "http://" => &[("HTTPS_PROXY", "http://")],
                _ => &[("HTTPS_PROXY", "http://p:1/path")],
            });
            assert!(proxy_of_environment("https://x.example", &variables).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts_of_no_proxy_are_reached_without_it() {
        for (host, list, expected) in [
            ("api.example.com", "*", true),
            ("api.example.com", "example.com", true),
            ("api.example.com", ".example.com", true),
            ("api.example.com", "*.example.com", true),
            ("example.com", ".example.com", true),
            ("badexample.com", "example.com", false),
            ("api.example.com", "other, api.example.com:443", true),
            ("api.example.com", "api.example.com:80", false),
            ("10.1.2.3", "10.0.0.0/8", true),
            ("11.1.2.3", "10.0.0.0/8", false),
            ("11.1.2.3", "0.0.0.0/0", true),
            ("10.1.2.3", "10.1.2.3", true),
            ("fd00::7", "fd00::/8", true),
            ("fd00::7", "[fd00::7]", true),
            ("fd00::7", "10.0.0.0/99", false),
            ("api.example.com", "", false),
            ("api.example.com", ", ,", false),
        ] {
            assert_eq!(bypasses(host, 443, list), expected, "{host} {list}");
        }
    }
}
