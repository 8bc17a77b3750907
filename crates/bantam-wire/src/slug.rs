//! The words that programs tell errors by: one table, from which the reference page is generated.

use crate::ErrorCode;

/// A stable word for one kind of error: OpenAI's `code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slug {
    /// The word.
    pub word: &'static str,
    /// The code that it comes with.
    pub code: ErrorCode,
    /// The HTTP status.
    pub status: u16,
    /// When it is sent, and what to do, one sentence or two.
    pub about: &'static str,
}

const fn slug(word: &'static str, code: ErrorCode, about: &'static str) -> Slug {
    Slug { word, code, status: code.status(), about }
}

/// Every word, by status. Debug builds assert that an error's word is here, with its code.
pub const SLUGS: &[Slug] = &[
    slug(
        "invalid_json",
        ErrorCode::InvalidRequest,
        "The body is not JSON, has a key twice, or nests too deeply.",
    ),
    slug("incomplete_body", ErrorCode::InvalidRequest, "The body ended before its announced end."),
    slug(
        "missing_required_parameter",
        ErrorCode::InvalidRequest,
        "A required parameter is missing; `param` names it.",
    ),
    slug(
        "unknown_parameter",
        ErrorCode::InvalidRequest,
        "No such parameter; the message names the nearest one.",
    ),
    slug("invalid_value", ErrorCode::InvalidRequest, "A parameter's type, range or form; `param` names it."),
    slug(
        "unsupported_parameter",
        ErrorCode::InvalidRequest,
        "No model of the request's ladder can honour the parameter. Leave it out, or name another model.",
    ),
    slug(
        "unsupported_endpoint",
        ErrorCode::InvalidRequest,
        "No model of the request's ladder answers this endpoint. Name one that does.",
    ),
    slug("task_needs_chat", ErrorCode::InvalidRequest, "Tasks are asked at `/v1/chat/completions` only."),
    slug(
        "context_length_exceeded",
        ErrorCode::InvalidRequest,
        "The prompt does not fit; the message has both counts, where they are known. Shorten it.",
    ),
    slug(
        "content_filter",
        ErrorCode::InvalidRequest,
        "The content policy of the provider refused the request. Change what it says.",
    ),
    slug(
        "upstream_refused_request",
        ErrorCode::InvalidRequest,
        "The upstream refused the request as invalid. The log names the upstream; its words are not passed on.",
    ),
    slug(
        "invalid_path",
        ErrorCode::InvalidRequest,
        "The path is not valid UTF-8 once its escapes are resolved.",
    ),
    slug("invalid_query", ErrorCode::InvalidRequest, "The query is not what the path takes."),
    slug("missing_api_key", ErrorCode::Unauthenticated, "This server asks for a key, and none was sent."),
    slug("invalid_api_key", ErrorCode::Unauthenticated, "The key is not one of this server's."),
    slug(
        "host_not_allowed",
        ErrorCode::Forbidden,
        "The `Host` header is not allowed: see `server.allowed_hosts`.",
    ),
    slug(
        "origin_not_allowed",
        ErrorCode::Forbidden,
        "A web page of another origin may not ask: see `server.allowed_origins`.",
    ),
    slug("model_not_found", ErrorCode::NotFound, "No such model; `GET /v1/models` lists them."),
    slug("task_not_found", ErrorCode::NotFound, "No such task; the message names the nearest ones."),
    slug("model_not_here", ErrorCode::NotFound, "The model runs on an upstream and cannot be unloaded here."),
    slug("unknown_path", ErrorCode::NotFound, "No such path; the message lists them."),
    slug("method_not_allowed", ErrorCode::MethodNotAllowed, "The path exists, the method does not."),
    slug(
        "body_timeout",
        ErrorCode::BodyTimeout,
        "The body did not arrive within `server.body_timeout_ms`. The connection is closed.",
    ),
    slug(
        "sensitive_request",
        ErrorCode::PolicyConflict,
        "The request is too sensitive for every model that could answer. The message names the kinds that were found, \
         never their content. A retry will be refused again.",
    ),
    slug(
        "model_runs_elsewhere",
        ErrorCode::PolicyConflict,
        "The model is `local` in the configuration, and its engine says that it runs elsewhere, as Ollama's cloud models \
         do. Nothing was sent. Give it another tier.",
    ),
    Slug {
        status: 409,
        ..slug(
            "model_in_use",
            ErrorCode::Busy,
            "Requests still use the model after the wait. Unload it when they are done.",
        )
    },
    slug("request_too_large", ErrorCode::TooLarge, "The body is larger than `server.body_bytes_max`."),
    slug(
        "upstream_request_too_large",
        ErrorCode::TooLarge,
        "The upstream takes no request of that size, or the account may not send as much in a minute. Shorten it.",
    ),
    slug("queue_full", ErrorCode::Busy, "Too many requests are waiting. Retry after `retry-after` seconds."),
    slug(
        "rate_limit_exceeded",
        ErrorCode::Busy,
        "The upstream limits the rate of requests. Retry after `retry-after` seconds, where it says so.",
    ),
    slug(
        "insufficient_quota",
        ErrorCode::Busy,
        "The account of this server at the upstream has no quota or credit left. Do not retry.",
    ),
    slug("internal_error", ErrorCode::Internal, "A fault of Bantam's own; see its log."),
    slug(
        "upstream_failed",
        ErrorCode::UpstreamFailed,
        "Upstreams answered with errors or with what is not an answer.",
    ),
    slug(
        "upstream_unreachable",
        ErrorCode::UpstreamFailed,
        "No connection to the upstream came about; the log says why and what would help.",
    ),
    slug(
        "upstream_key_refused",
        ErrorCode::UpstreamFailed,
        "The upstream refused the key that this server has for it. Do not retry.",
    ),
    slug(
        "upstream_forbidden",
        ErrorCode::UpstreamFailed,
        "The upstream does not let this server's key use the model, or refused what the request says. Do not retry.",
    ),
    slug(
        "upstream_model_not_found",
        ErrorCode::UpstreamFailed,
        "The upstream has no model of the configured name. Do not retry.",
    ),
    slug(
        "no_confident_answer",
        ErrorCode::UpstreamFailed,
        "Every rung answered, and no answer was good enough to be returned.",
    ),
    slug("stream_broken", ErrorCode::UpstreamFailed, "A stream broke off; it is the stream's last event."),
    slug(
        "memory_used_up",
        ErrorCode::Unavailable,
        "Requests and answers hold all of `server.memory`, and none was given back within a second. Nothing was sent to an \
         upstream. Retry after `retry-after` seconds.",
    ),
    slug("shutting_down", ErrorCode::Unavailable, "The gateway is shutting down."),
    slug(
        "ledger_unavailable",
        ErrorCode::Unavailable,
        "The ledger cannot be written, so nothing can be accounted for. Retry after `retry-after` seconds.",
    ),
    slug(
        "upstreams_unavailable",
        ErrorCode::Unavailable,
        "Every upstream of the request failed too often lately and is not asked for a while.",
    ),
    slug(
        "upstream_overloaded",
        ErrorCode::Unavailable,
        "The upstream has no capacity at the moment. Retry after `retry-after` seconds, where it says so.",
    ),
    slug("upstream_timeout", ErrorCode::UpstreamTimeout, "Upstreams did not answer in time."),
];

/// Returns whether `word` is listed with `code`.
pub(crate) fn is_listed(word: &str, code: ErrorCode) -> bool {
    SLUGS.iter().any(|slug| slug.word == word && slug.code == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stands_once_and_reads_like_one() {
        for (index, slug) in SLUGS.iter().enumerate() {
            assert!(SLUGS[..index].iter().all(|before| before.word != slug.word), "{}", slug.word);
            assert!(slug.word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}", slug.word);
            assert!(slug.about.ends_with('.'), "{}", slug.word);
        }
        assert!(SLUGS.is_sorted_by_key(|slug| slug.status), "the page goes by status");
    }

    #[test]
    #[cfg(debug_assertions)]
    fn an_error_with_a_word_that_is_not_listed_is_noticed() {
        let made = std::panic::catch_unwind(|| crate::ApiError::new(ErrorCode::Busy, "queue_fool", ""));
        assert!(made.is_err());
    }
}
