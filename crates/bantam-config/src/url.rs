//! Addresses: upstream bases and paths, `Host` values, browser origins.

use std::net::IpAddr;

use http::Uri;
use http::uri::Authority;

use crate::log::Problem;
use crate::secret;
use crate::value::quote;

/// A checked upstream address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BaseUrl {
    /// The address without a slash at the end.
    pub(crate) text: String,
    /// Whether it is `https`.
    pub(crate) is_encrypted: bool,
    /// Whether its host can only be this machine or one in its private network.
    pub(crate) is_private: bool,
    /// Whether its host can only be this machine.
    pub(crate) is_loopback: bool,
}

/// Reads an upstream's address.
pub(crate) fn base_url(text: &str) -> Result<BaseUrl, Problem> {
    // First, before any other message could repeat a password.
    if text.contains('@') {
        return Err(Problem::new("holds user information (`@`)")
            .hint("put the key into an environment variable and name that in `api_key_env`")
            .secret());
    }
    // `http::Uri` drops a fragment without a word.
    if text.contains(['?', '#']) {
        return Err(Problem::new("holds a query or a fragment")
            .hint("a query belongs in `path`, after the part that names the endpoint")
            .secret());
    }
    let no_url = || {
        Problem::new(format!("is not an address: {}", quote(text)))
            .hint("write it as in \"https://api.openai.com/v1\"")
    };
    let uri: Uri = text.parse().map_err(|_| no_url())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(no_url()) };
    let is_encrypted = scheme == "https";
    if !is_encrypted && scheme != "http" {
        return Err(Problem::new(format!("has the scheme {}", quote(scheme))).hint("use https (or http)"));
    }
    if !is_sound(authority) {
        return Err(no_url());
    }
    if uri.path().split('/').any(|segment| segment == "." || segment == "..") || uri.path().contains("//") {
        return Err(Problem::new("holds `.`, `..` or an empty segment").hint("write the path as it is meant"));
    }
    let (is_private, is_loopback) = (is_private_host(authority.host()), is_loopback_host(authority.host()));
    Ok(BaseUrl { text: text.trim_end_matches('/').to_owned(), is_encrypted, is_private, is_loopback })
}

/// Reads the path of an endpoint, which may hold `{model}` and a query.
pub(crate) fn endpoint_path(text: &str) -> Result<String, Problem> {
    let hint = "write it as in \"/chat/completions\" or \"/deployments/{model}/chat?api-version=2024-10-21\"";
    let refuse = |message: &str| Err(Problem::new(message).hint(hint));
    let bare = text.replace("{model}", "model");
    if !text.starts_with('/') || text.starts_with("//") {
        return refuse("must begin with one `/`");
    }
    if bare.contains(['{', '}', '#']) {
        return refuse("holds a brace that is not `{model}`, or a fragment");
    }
    if bare.parse::<http::uri::PathAndQuery>().is_err() || !bare.bytes().all(|byte| byte.is_ascii_graphic()) {
        return refuse("is not the path of a URL");
    }
    if bare.split(['/', '?']).any(|segment| segment == "..") {
        return refuse("holds `..`");
    }
    let query = bare.split_once('?').map_or("", |(_, query)| query);
    let names = query.split('&').filter_map(|pair| pair.split('=').next());
    if names.into_iter().any(secret::sounds_secret) {
        return Err(Problem::new("holds what looks like a key in its query")
            .hint("name the variable that holds it in `api_key_env`")
            .secret());
    }
    Ok(text.to_owned())
}

/// Returns whether `host` can only be this machine or one in its private network, without asking DNS.
///
/// A name other than `localhost` may resolve to anything tomorrow, so it is never private by itself.
/// Link-local addresses are not either: clouds serve machine credentials there.
pub(crate) fn is_private_host(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    if host == "localhost" || host.ends_with(".localhost") {
        return true;
    }
    match host.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_private(),
        Ok(IpAddr::V6(address)) => address.is_loopback() || address.is_unique_local(),
        Err(_) => false,
    }
}

/// Returns whether `host` can only be this machine, without asking DNS.
pub(crate) fn is_loopback_host(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let is_address = host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    is_address || host == "localhost" || host.ends_with(".localhost")
}

/// Returns whether there is a host and, after a colon, a port; `http` itself lets `host:` and `host:99999` pass.
fn is_sound(authority: &Authority) -> bool {
    let host = authority.host();
    let after = authority.as_str().strip_prefix(host).unwrap_or(":");
    !host.is_empty() && (after.is_empty() || authority.port_u16().is_some_and(|port| port > 0))
}

/// Reads a `Host` value: a name or address, with or without a port.
pub(crate) fn host_header(text: &str) -> Result<String, Problem> {
    let parsed = text.parse::<Authority>();
    if text.contains(['*', '@', '/']) || !parsed.as_ref().is_ok_and(is_sound) {
        return Err(Problem::new(format!("holds no host: {}", quote(text))).hint(
            "write a name or address as callers use it, \"bantam.lan\" or \"bantam.lan:5454\"; no wildcards",
        ));
    }
    Ok(text.to_ascii_lowercase())
}

/// Reads a browser origin: scheme, host and port, nothing after.
pub(crate) fn origin(text: &str) -> Result<String, Problem> {
    let hint = "write it as the browser sends it: \"https://chat.example.com\", no path, no wildcards";
    let refuse = || Problem::new(format!("holds no origin: {}", quote(text))).hint(hint);
    let (scheme, host) = text.split_once("://").ok_or_else(refuse)?;
    let in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
    let scheme_fits =
        scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(in_scheme);
    if !scheme_fits || host_header(host).is_err() {
        return Err(refuse());
    }
    Ok(text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_an_address_apart() {
        let check = |text: &str, encrypted: bool, private: bool| {
            let url = base_url(text).unwrap();
            assert_eq!((url.is_encrypted, url.is_private), (encrypted, private), "{text}");
        };
        check("https://api.openai.com/v1", true, false);
        check("http://127.0.0.1:11434/v1/", false, true);
        check("http://localhost", false, true);
        check("http://[::1]:8080", false, true);
        check("http://[fd00::1]", false, true);
        check("http://[::ffff:10.0.0.1]", false, true);
        check("http://[::ffff:8.8.8.8]", false, false);
        check("http://172.31.0.1", false, true);
        check("http://172.32.0.1", false, false);
        check("http://169.254.169.254", false, false);
        check("http://0.0.0.0", false, false);
        check("http://localhost.evil.com", false, false);
        check("http://2130706433", false, false);
    }

    #[test]
    fn refuses_what_is_no_plain_address() {
        for bad in [
            "",
            "api.openai.com",
            "/v1",
            "ftp://x",
            "https://",
            "https://u:p@x",
            "https://x?a=1",
            "https://x#a",
            "https://x/../y",
            "https://x:0",
            "https://x:",
            "https://x:99999",
            "https://a b",
            "https://x//y",
        ] {
            assert!(base_url(bad).is_err(), "{bad}");
        }
        assert!(base_url("https://u:hunter2@x").unwrap_err().is_secret);
    }

    #[test]
    fn knows_paths_hosts_and_origins() {
        for good in ["/chat/completions", "/d/{model}/c?api-version=2024-10-21"] {
            assert!(endpoint_path(good).is_ok(), "{good}");
        }
        for bad in
            ["", "chat", "//x", "/{name}", "/a b", "/a#b", "/../x", "/ü", "/x?key=k", "/x?a=1&access_token=k"]
        {
            assert!(endpoint_path(bad).is_err(), "{bad}");
        }
        for bad in ["", "*", "http://x", "x/y", "a@b", "x:", "x:99999", ":1"] {
            assert!(host_header(bad).is_err(), "{bad}");
        }
        assert_eq!(host_header("Bantam.LAN:5454").unwrap(), "bantam.lan:5454");
        for good in ["https://a.example", "http://localhost:3000", "chrome-extension://abc", "app://x"] {
            assert!(origin(good).is_ok(), "{good}");
        }
        for bad in ["*", "null", "https://*", "https://a/", "https://", "://a", "a.example"] {
            assert!(origin(bad).is_err(), "{bad}");
        }
    }
}
