//! Who may ask: exact hosts against DNS rebinding, known origins against foreign pages, keys.

use std::net::SocketAddr;
use std::sync::Arc;

use bantam_wire::{ApiError, ErrorCode};
use hmac::{Hmac, KeyInit, Mac};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Request, Version, header};
use sha2::Sha256;
use subtle::{ConditionallySelectable, ConstantTimeEq};

use crate::routes;

/// What the guard is built from.
pub struct GuardSettings {
    /// The address that is served.
    pub bind: SocketAddr,
    /// `Host` values allowed beside loopback names and the address itself.
    pub allowed_hosts: Vec<String>,
    /// Browser origins allowed.
    pub allowed_origins: Vec<String>,
    /// Accepted keys, each with the name that the books have for whoever shows it. Without one, no key is asked for.
    pub keys: Vec<(String, String)>,
    /// Random bytes of this process; keys are kept as HMACs under it, so no memory dump holds one.
    pub secret: [u8; 32],
}

/// Checks the head of every request.
pub struct Guard {
    hosts: Vec<String>,
    origins: Vec<String>,
    keys: Vec<(Arc<str>, [u8; 32])>,
    secret: [u8; 32],
}

impl Guard {
    /// Builds the guard; the plain keys are dropped.
    pub fn new(settings: GuardSettings) -> Self {
        let GuardSettings { bind, allowed_hosts, allowed_origins, keys, secret } = settings;
        let mut hosts = allowed_hosts;
        hosts.push(bind.to_string());
        let keys = keys.iter().map(|(name, key)| (name.as_str().into(), digest(&secret, key.as_bytes())));
        let keys = keys.collect();
        Self { hosts, origins: allowed_origins, keys, secret }
    }

    /// Checks whom the request is addressed to: its `Host` header, and the authority of its target, which takes the header's
    /// place over HTTP/2.
    pub(crate) fn check_host<B>(&self, request: &Request<B>) -> Result<(), ApiError> {
        let mut values = request.headers().get_all(header::HOST).iter();
        let (host, authority) = (values.next(), request.uri().authority());
        let is_named = host.is_some() || (authority.is_some() && request.version() == Version::HTTP_2);
        if !is_named || values.next().is_some() {
            return Err(forbidden("host_not_allowed", "the request must have exactly one Host header"));
        }
        let host = host.map(|host| host.to_str().unwrap_or_default());
        if !host.into_iter().chain(authority.map(Authority::as_str)).all(|host| self.is_own_name(host)) {
            return Err(forbidden(
                "host_not_allowed",
                "this Host is not allowed: add it to `server.allowed_hosts` if it is yours",
            ));
        }
        Ok(())
    }

    fn is_own_name(&self, host: &str) -> bool {
        is_loopback_name(host) || self.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))
    }

    /// Returns the origin of the web page that asks, if it is a page, once that origin is known to be allowed.
    pub(crate) fn check_origin<'h>(
        &self,
        headers: &'h HeaderMap,
    ) -> Result<Option<&'h HeaderValue>, ApiError> {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => Ok(None),
            (Some(origin), None) if self.origins.iter().any(|allowed| origin == allowed.as_str()) => {
                Ok(Some(origin))
            }
            _ => Err(forbidden(
                "origin_not_allowed",
                "this Origin is not allowed: add it to `server.allowed_origins` if it is yours",
            )),
        }
    }

    /// Returns whether pages of any origin are served.
    pub(crate) const fn has_origins(&self) -> bool {
        !self.origins.is_empty()
    }

    /// Checks the key, in constant time over all keys. Returns its name; `None` when no key is asked for.
    pub(crate) fn check_key(&self, headers: &HeaderMap) -> Result<Option<Arc<str>>, ApiError> {
        if self.keys.is_empty() {
            return Ok(None);
        }
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let given = bearer
            .and_then(|value| value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("bearer ")))
            .or_else(|| headers.get(routes::API_KEY).and_then(|value| value.to_str().ok()));
        let Some(given) = given else {
            return Err(ApiError::new(
                ErrorCode::Unauthenticated,
                "missing_api_key",
                "this server asks for a key: send `authorization: Bearer KEY`",
            ));
        };
        let given = digest(&self.secret, given.trim().as_bytes());
        let mut matching = u64::MAX;
        for (at, (_, key)) in (0_u64..).zip(&self.keys) {
            matching.conditional_assign(&at, key.ct_eq(&given));
        }
        let known = usize::try_from(matching).ok().and_then(|at| self.keys.get(at));
        if let Some((name, _)) = known {
            Ok(Some(Arc::clone(name)))
        } else {
            Err(ApiError::new(
                ErrorCode::Unauthenticated,
                "invalid_api_key",
                "the key is not one of this server's",
            ))
        }
    }
}

fn digest(secret: &[u8; 32], key: &[u8]) -> [u8; 32] {
    // HMAC takes keys of any length; the fallback can only be all zeros for every key alike, which the
    // empty-key check of the configuration makes unreachable.
    Hmac::<Sha256>::new_from_slice(secret).map_or([0; 32], |mut mac| {
        mac.update(key);
        mac.finalize().into_bytes().into()
    })
}

fn is_loopback_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn forbidden(slug: &'static str, message: &str) -> ApiError {
    ApiError::new(ErrorCode::Forbidden, slug, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(keys: &[&str]) -> Guard {
        Guard::new(GuardSettings {
            bind: "10.0.0.5:5454".parse().unwrap(),
            allowed_hosts: vec!["bantam.lan:5454".to_owned()],
            allowed_origins: vec!["https://desk.example".to_owned()],
            keys: (1..).zip(keys).map(|(number, key)| (format!("KEY_{number}"), (*key).to_owned())).collect(),
            secret: [7; 32],
        })
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn check_host(pairs: &[(&'static str, &str)], expected: bool) {
        let mut request = Request::new(());
        *request.headers_mut() = headers(pairs);
        assert_eq!(guard(&[]).check_host(&request).is_ok(), expected, "{pairs:?}");
    }

    #[test]
    fn the_authority_of_a_target_counts_like_the_header_and_takes_its_place_over_http_2() {
        let check = |version, target: &str, host: Option<&str>, expected: bool| {
            let mut request = Request::builder().version(version).uri(target);
            if let Some(host) = host {
                request = request.header(header::HOST, host);
            }
            let request = request.body(()).unwrap();
            assert_eq!(guard(&[]).check_host(&request).is_ok(), expected, "{request:?}");
        };
        let (good, bad) = ("http://localhost:5454/healthz", "http://evil.example/healthz");
        check(Version::HTTP_2, good, None, true);
        check(Version::HTTP_2, good, Some("bantam.lan:5454"), true);
        check(Version::HTTP_2, bad, None, false);
        check(Version::HTTP_2, bad, Some("localhost"), false);
        check(Version::HTTP_2, good, Some("evil.example"), false);
        check(Version::HTTP_2, "/healthz", None, false);
        check(Version::HTTP_2, "http://evil.example@localhost/", None, false);
        check(Version::HTTP_11, good, None, false);
        check(Version::HTTP_11, good, Some("localhost"), true);
        check(Version::HTTP_11, bad, Some("localhost"), false);
    }

    #[test]
    fn only_known_hosts_are_served() {
        for good in
            ["localhost", "LOCALHOST:5454", "127.0.0.1:9", "[::1]:5454", "10.0.0.5:5454", "Bantam.lan:5454"]
        {
            check_host(&[("host", good)], true);
        }
        for bad in
            ["evil.example", "localhost.evil.example", "127.0.0.1.evil:5454", "", "bantam.lan", "localhost:x"]
        {
            check_host(&[("host", bad)], false);
        }
        check_host(&[], false);
        check_host(&[("host", "localhost"), ("host", "localhost")], false);
    }

    #[test]
    fn a_page_of_an_unknown_origin_is_refused() {
        let check = |origins: &[&str], expected: Result<Option<&str>, &str>| {
            let headers = headers(&origins.iter().map(|origin| ("origin", *origin)).collect::<Vec<_>>());
            let checked = guard(&[]).check_origin(&headers).map_err(|error| error.slug);
            assert_eq!(
                checked.map(|page| page.map(|origin| origin.to_str().unwrap())),
                expected,
                "{origins:?}"
            );
        };
        let desk = "https://desk.example";
        check(&[], Ok(None));
        check(&[desk], Ok(Some(desk)));
        for bad in
            ["https://evil.example", "https://desk.example.evil.example", "http://desk.example", "null", ""]
        {
            check(&[bad], Err("origin_not_allowed"));
        }
        check(&[desk, desk], Err("origin_not_allowed"));
    }

    #[test]
    fn only_the_right_key_opens() {
        let key = "0123456789abcdef0123456789abcdef";
        let check = |pairs: &[(&'static str, &str)], expected: Result<&str, &str>| {
            let got = guard(&["other-key-other-key-other-key-00", key]).check_key(&headers(pairs));
            let got = got.as_ref().map(|name| name.as_deref().unwrap()).map_err(|error| error.slug);
            assert_eq!(got, expected, "{pairs:?}");
        };
        check(&[("authorization", &format!("Bearer {key}"))], Ok("KEY_2"));
        check(&[("authorization", "bearer other-key-other-key-other-key-00")], Ok("KEY_1"));
        check(&[("x-api-key", key)], Ok("KEY_2"));
        check(&[], Err("missing_api_key"));
        check(&[("authorization", "Bearer nope")], Err("invalid_api_key"));
        check(&[("authorization", "Bearer ' OR 1=1 --")], Err("invalid_api_key"));
        check(&[("authorization", "Basic abc")], Err("missing_api_key"));
        assert!(guard(&[]).check_key(&HeaderMap::new()).unwrap().is_none());
    }
}
