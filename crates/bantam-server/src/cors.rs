//! What browsers are told, so that web pages of allowed origins can call the server and read its answers.
//!
//! A browser asks first (a preflight: `OPTIONS` with the method and headers to come, and never a key), then sends the
//! request, and hands the answer to the page only if the answer names the page's origin. Errors and streams carry the same
//! headers as everything else: without them a page would learn nothing but "network error".
//!
//! `Access-Control-Allow-Credentials` is never sent: keys travel in headers, and Bantam sets no cookies.

use std::sync::LazyLock;

use axum::body::Body;
use axum::response::Response;
use bantam_wire::ApiError;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};

use crate::routes;

/// How long a browser may reuse the answer to a preflight. Chromium caps it at this value. A change of
/// `server.allowed_origins` takes effect at once all the same, because every request's origin is checked.
const MAX_AGE_S: &str = "7200";
/// The most requested header names that are allowed in one preflight.
const NAMES_MAX: usize = 64;
/// The longest header name that is allowed.
const NAME_BYTES_MAX: usize = 64;

const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// What an answer to a preflight depends on.
const VARY_OF_PREFLIGHTS: &str = "origin, access-control-request-method, access-control-request-headers, access-control-request-private-network";

/// The headers that pages may read beside those that browsers always show: all that Bantam adds.
static EXPOSED: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let names: Vec<&str> = routes::RESPONSE_HEADERS.iter().map(|header| header.name).collect();
    HeaderValue::from_str(&format!("{}, {}", names.join(", "), header::RETRY_AFTER)).ok()
});

/// Returns the answer if `request` is a preflight. The caller has checked its origin.
///
/// It needs no key, since browsers send none. It says which methods the path has, so that the browser's console names a
/// wrong one. For an unknown path it allows the usual methods: the page can then send its request and read the error that
/// lists the known paths.
pub(crate) fn answer_preflight<B>(request: &Request<B>) -> Option<Response> {
    let asked = request.headers();
    if request.method() != Method::OPTIONS || !asked.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        return None;
    }
    let methods = routes::methods(request.uri().path()).unwrap_or_else(|| "GET, HEAD, POST".to_owned());
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE_S));
    headers.insert(header::VARY, HeaderValue::from_static(VARY_OF_PREFLIGHTS));
    if let Ok(methods) = HeaderValue::from_str(&methods) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
    if let Some(names) = allowed_names(asked) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
    }
    if asked.get(REQUEST_PRIVATE_NETWORK).is_some_and(|value| value == "true") {
        headers.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
    }
    Some(response)
}

/// Returns those requested header names that are valid, up to a bound.
///
/// They are repeated rather than compared with a list: the official SDKs send a dozen headers of their own, which change
/// from version to version, and Bantam ignores what it does not know. `*` would not do, since it leaves out `authorization`.
fn allowed_names(asked: &HeaderMap) -> Option<HeaderValue> {
    let lists = asked.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter();
    let names = lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(',')).map(str::trim);
    let is_valid =
        |name: &&str| name.len() <= NAME_BYTES_MAX && HeaderName::from_bytes(name.as_bytes()).is_ok();
    let names: Vec<String> = names.filter(is_valid).take(NAMES_MAX).map(str::to_ascii_lowercase).collect();
    if names.is_empty() { None } else { HeaderValue::from_str(&names.join(", ")).ok() }
}

/// Adds what a browser needs before it hands `response` to a page. `page` is the checked origin of the request.
///
/// Caches are told wherever an origin can change the answer, also if the request named none: otherwise a cache could
/// serve that answer to a page, without the headers that the page needs.
pub(crate) fn add_headers(
    response: &mut Response,
    page: &Result<Option<HeaderValue>, ApiError>,
    has_origins: bool,
) {
    let headers = response.headers_mut();
    if (has_origins || !matches!(page, Ok(None))) && !headers.contains_key(header::VARY) {
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }
    let Ok(Some(origin)) = page else { return };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    if let Some(exposed) = &*EXPOSED {
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lists: &[&str], expected: Option<&str>) {
        let mut asked = HeaderMap::new();
        for list in lists {
            asked.append(header::ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_str(list).unwrap());
        }
        let allowed = allowed_names(&asked);
        assert_eq!(allowed.as_ref().map(|value| value.to_str().unwrap()), expected, "{lists:?}");
    }

    #[test]
    fn requested_names_are_repeated_if_they_are_names() {
        check(&[], None);
        check(&[""], None);
        check(&["authorization,content-type"], Some("authorization, content-type"));
        check(&["X-Stainless-OS", "x-api-key"], Some("x-stainless-os, x-api-key"));
        check(&["a b, c:d, ok, (x), "], Some("ok"));
        check(&["é"], None);
    }

    #[test]
    fn a_long_list_and_a_long_name_are_cut() {
        let name = "n".repeat(NAME_BYTES_MAX);
        check(&[&format!("{name}, {name}x")], Some(&name));
        let many = vec!["n"; NAMES_MAX + 1].join(",");
        check(&[&many], Some(&vec!["n"; NAMES_MAX].join(", ")));
    }
}
