//! The paths that are served and the headers that are read and written: one table each, for the router and for the
//! reference.

use bantam_wire::ENDPOINTS;
use http::Method;

/// A path with its method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, as axum writes parameters.
    pub path: &'static str,
    /// Whether a key is asked for, where there are keys.
    pub needs_key: bool,
    /// What it does, one sentence.
    pub about: &'static str,
}

impl Route {
    /// Returns the path as people write it: `/v1/models/{id}`.
    pub fn shown_path(&self) -> String {
        self.path.replace("{*", "{")
    }

    /// Returns whether `path`, as it stands in a request, is this route's. A parameter takes the rest of a path.
    fn is_at(&self, path: &str) -> bool {
        match self.path.split_once("{*") {
            Some((beginning, _)) => path.strip_prefix(beginning).is_some_and(|rest| !rest.is_empty()),
            None => path == self.path,
        }
    }
}

/// The models that callers may name.
pub(crate) const MODELS: &str = "/v1/models";
/// One of them.
pub(crate) const MODEL: &str = "/v1/models/{*id}";
/// What is in memory.
pub(crate) const RESIDENTS: &str = "/api/ps";
/// Sends a model out of memory.
pub(crate) const UNLOAD: &str = "/bantam/unload/{*name}";
/// Whether the process answers.
pub(crate) const HEALTH: &str = "/healthz";
/// Whether it can do its work.
pub(crate) const READY: &str = "/readyz";

/// Returns everything that is served.
pub fn all() -> Vec<Route> {
    let get = |path, needs_key, about| Route { method: Method::GET, path, needs_key, about };
    let post = |path, about| Route { method: Method::POST, path, needs_key: true, about };
    let answering = ENDPOINTS.iter().map(|endpoint| post(endpoint.path(), endpoint.about()));
    answering
        .chain([
            get(
                MODELS,
                true,
                "Lists what callers may name as `model`: models, tasks, `auto` and its other names.",
            ),
            get(MODEL, true, "Shows one of them."),
            get(RESIDENTS, true, "Lists the models in this process's memory, in Ollama's shape."),
            post(UNLOAD, "Unloads a model once nobody uses it; `?wait_ms=N` says how long to wait for that."),
            get(HEALTH, false, "Says that the process answers."),
            get(READY, false, "Says whether the ledger can be written: 200, or 503."),
        ])
        .collect()
}

/// Returns the methods that are served at `path`, separated by commas, or `None` if there is no such path.
pub(crate) fn methods(path: &str) -> Option<String> {
    let mut methods = Vec::new();
    for route in all().into_iter().filter(|route| route.is_at(path)) {
        let is_get = route.method == Method::GET;
        methods.push(route.method);
        methods.extend(is_get.then_some(Method::HEAD));
    }
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// A header that Bantam reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name, in lower case.
    pub name: &'static str,
    /// What it says, one sentence.
    pub about: &'static str,
}

macro_rules! headers {
    ($list:ident, $about:literal: $($constant:ident = $name:literal, $says:literal;)*) => {
        $(#[doc = $says] pub(crate) const $constant: &str = $name;)*
        #[doc = $about]
        pub const $list: &[Header] = &[$(Header { name: $name, about: $says }),*];
    };
}

headers! { REQUEST_HEADERS, "The headers of requests that have a meaning of their own here.":
    ASKED_TASK = "x-bantam-task", "The task that the request belongs to, whatever `model` says.";
    RETRY_COUNT = "x-stainless-retry-count", "How often the caller's library has tried the same request before, as the official SDKs \
     say: Bantam repeats calls so much the less.";
    API_KEY = "x-api-key", "The caller's key; `authorization: Bearer KEY` means the same.";
}

headers! { RESPONSE_HEADERS, "The headers of responses beside HTTP's own.":
    REQUEST_ID = "x-request-id", "The request's id, as in the ledger and in the `bantam` object of the body.";
    TASK = "x-bantam-task", "The task that it belonged to.";
    TIER = "x-bantam-tier", "The tier that answered: `local`, `mid` or `frontier`.";
    MODEL_NAME = "x-bantam-model", "The model or student that answered.";
    CONFIDENCE = "x-bantam-confidence", "The confidence of a student's answer, 0 to 1.";
    ESCALATED = "x-bantam-escalated", "Why the rungs before the one that answered did not; `no` where it was the first.";
    COST = "x-bantam-cost-usd", "What all attempts cost, in dollars; absent where that is not known, or not known yet.";
    SHOULD_RETRY = "x-should-retry", "`false` where a retry would fail again, or where Bantam has retried already, so that SDKs do not; `true` where \
     Bantam has not, and a retry may help.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_its_methods() {
        let check = |path, expected: Option<&str>| assert_eq!(methods(path).as_deref(), expected, "{path}");
        check("/v1/chat/completions", Some("POST"));
        check("/v1/models", Some("GET, HEAD"));
        check("/v1/models/vendor/mid%2Fmodel", Some("GET, HEAD"));
        check("/bantam/unload/a", Some("POST"));
        for unknown in ["", "*", "/", "/v1/models/", "/v1/chat/completions/", "/V1/models"] {
            check(unknown, None);
        }
    }

    #[test]
    fn header_names_are_valid_and_in_lower_case() {
        for header in REQUEST_HEADERS.iter().chain(RESPONSE_HEADERS) {
            let parsed = http::HeaderName::from_bytes(header.name.as_bytes()).unwrap();
            assert_eq!(parsed.as_str(), header.name);
        }
    }
}
