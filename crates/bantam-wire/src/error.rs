//! What a caller is told when there is no answer: one closed list of codes, one table to statuses.

use serde_json::json;

/// The kinds of failure a caller can tell apart; each has one HTTP status and one OpenAI `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The request is malformed or cannot be honoured: 400, the caller's fault, do not retry.
    InvalidRequest,
    /// No key, or a wrong one: 401.
    Unauthenticated,
    /// The key or the origin may not do this: 403.
    Forbidden,
    /// No such model, task or path: 404.
    NotFound,
    /// The path exists, the method does not: 405.
    MethodNotAllowed,
    /// The body took too long to arrive: 408.
    BodyTimeout,
    /// Policy forbids every way to an answer: 409, and SDKs must not retry it elsewhere.
    PolicyConflict,
    /// The body is larger than the limit: 413.
    TooLarge,
    /// Too many requests at once: 429, retry after a while.
    Busy,
    /// A fault of Bantam's own: 500.
    Internal,
    /// Upstreams answered with garbage or errors: 502.
    UpstreamFailed,
    /// Nobody can answer now: 503, retry after a while.
    Unavailable,
    /// Upstreams did not answer in time: 504.
    UpstreamTimeout,
}

impl ErrorCode {
    /// Returns the HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidRequest => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::BodyTimeout => 408,
            Self::PolicyConflict => 409,
            Self::TooLarge => 413,
            Self::Busy => 429,
            Self::Internal => 500,
            Self::UpstreamFailed => 502,
            Self::Unavailable => 503,
            Self::UpstreamTimeout => 504,
        }
    }

    /// Returns OpenAI's `type` word.
    pub const fn openai_type(self) -> &'static str {
        match self {
            Self::InvalidRequest
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::BodyTimeout
            | Self::TooLarge => "invalid_request_error",
            Self::Unauthenticated => "authentication_error",
            Self::Forbidden => "permission_error",
            Self::PolicyConflict => "policy_error",
            Self::Busy => "rate_limit_error",
            Self::Internal => "server_error",
            Self::UpstreamFailed | Self::Unavailable | Self::UpstreamTimeout => "upstream_error",
        }
    }
}

/// An error as a caller sees it. It never carries prompt text, keys or an upstream's own words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What kind of failure.
    pub code: ErrorCode,
    /// One sentence: what, where, and what to do.
    pub message: String,
    /// The parameter at fault, as a path into the body.
    pub param: Option<String>,
    /// OpenAI's `code`: a stable word for programs.
    pub slug: &'static str,
    /// After how many seconds a retry makes sense.
    pub retry_after_s: Option<u32>,
}

impl ApiError {
    /// Returns an error of `code` with the stable word `slug`.
    pub fn new(code: ErrorCode, slug: &'static str, message: impl Into<String>) -> Self {
        debug_assert!(
            crate::slug::is_listed(slug, code),
            "`{slug}` with {code:?} is not in the table of slugs"
        );
        Self { code, message: message.into(), param: None, slug, retry_after_s: None }
    }

    /// Returns a 400 about `param`.
    pub fn invalid(param: impl Into<String>, slug: &'static str, message: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..Self::new(ErrorCode::InvalidRequest, slug, message) }
    }

    /// Returns the same error with the advice to retry after `seconds`.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// Returns the body in OpenAI's shape: `{"error":{"message","type","param","code"}}`, all four keys.
    pub fn to_openai_json(&self) -> String {
        json!({"error": {
            "message": self.message,
            "type": self.code.openai_type(),
            "param": self.param,
            "code": self.slug,
        }})
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_always_carries_all_four_keys() {
        let error = ApiError::new(ErrorCode::Busy, "queue_full", "the queue is full").retry_after(1);
        assert_eq!(
            error.to_openai_json(),
            r#"{"error":{"message":"the queue is full","type":"rate_limit_error","param":null,"code":"queue_full"}}"#
        );
        assert_eq!(error.code.status(), 429);
    }
}
