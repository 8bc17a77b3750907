//! What went wrong with a request or an answer: closed lists, one table to statuses.

/// The kinds of failure a caller can tell apart; each has one HTTP status.
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
}

/// An error as a caller sees it, in no dialect's shape. It never carries prompt text, keys or an upstream's own words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// What kind of failure.
    pub code: ErrorCode,
    /// One sentence: what, where, and what to do.
    pub message: String,
    /// The parameter at fault, as a path into the body.
    pub param: Option<String>,
    /// A stable word for programs; OpenAI's `code`.
    pub slug: &'static str,
    /// After how many seconds a retry makes sense.
    pub retry_after_s: Option<u32>,
    /// Whether the caller's library should repeat the request by itself; nothing where its own rules do.
    pub should_retry: Option<bool>,
}

impl ApiError {
    /// Returns an error of `code` with the stable word `slug`.
    pub fn new(code: ErrorCode, slug: &'static str, message: impl Into<String>) -> Self {
        debug_assert!(
            crate::slug::is_listed(slug, code),
            "`{slug}` with {code:?} is not in the table of slugs"
        );
        Self { code, message: message.into(), param: None, slug, retry_after_s: None, should_retry: None }
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

    /// Returns the same error with the advice to repeat the request, or not to.
    #[must_use]
    pub fn should_retry(mut self, should: bool) -> Self {
        self.should_retry = Some(should);
        self
    }
}

/// A body that is not a valid request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not a JSON object, or one that is refused as a whole.
    #[error("the body is not a valid JSON object: {0}")]
    Json(String),
    /// A parameter that the endpoint does not have.
    #[error("unknown parameter `{name}`{}", did_you_mean(*.nearest))]
    UnknownParam {
        /// Its name, shortened.
        name: String,
        /// The parameter that was probably meant.
        nearest: Option<&'static str>,
    },
    /// A required parameter that is missing.
    #[error("missing parameter `{0}`")]
    Missing(&'static str),
    /// A parameter with a value it cannot have.
    #[error("invalid value for `{param}`: {complaint}")]
    Invalid {
        /// Path of the value.
        param: String,
        /// What was expected.
        complaint: String,
    },
}

impl DecodeError {
    /// Returns the error of a value at `param`.
    pub fn invalid(param: impl Into<String>, complaint: impl Into<String>) -> Self {
        Self::Invalid { param: param.into(), complaint: complaint.into() }
    }

    /// Returns the error of an unknown parameter, with the nearest of those that are `known`.
    pub fn unknown(name: &str, known: impl Iterator<Item = &'static str>) -> Self {
        // Names are short; the limit keeps a hostile one from costing time.
        let name: String = name.chars().take(64).collect();
        let near = known.map(|candidate| (strsim::levenshtein(&name, candidate), candidate)).min();
        let near = near.filter(|(distance, candidate)| *distance <= 2.max(candidate.len() / 4));
        Self::UnknownParam { nearest: near.map(|(_, candidate)| candidate), name }
    }
}

impl From<DecodeError> for ApiError {
    fn from(error: DecodeError) -> Self {
        let message = error.to_string();
        match error {
            DecodeError::Json(_) => Self::new(ErrorCode::InvalidRequest, "invalid_json", message),
            DecodeError::UnknownParam { name, .. } => {
                let message = format!("{message}{OF_PROVIDERS}");
                Self::invalid(name, "unknown_parameter", message)
            }
            DecodeError::Missing(param) => Self::invalid(param, "missing_required_parameter", message),
            DecodeError::Invalid { param, .. } => Self::invalid(param, "invalid_value", message),
        }
    }
}

/// What to do about a parameter that only some provider knows.
const OF_PROVIDERS: &str = "; a parameter of a provider's own passes if its upstream lists it in `fields`";

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |candidate| format!(": did you mean `{candidate}`?"))
}

/// A body or an event of an upstream that is not an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadAnswerError {
    /// Not JSON, or not of the right shape.
    #[error("the body is not an answer of the upstream's API")]
    NotAnAnswer,
    /// An error object in place of an answer.
    #[error("the answer is an error object")]
    ErrorObject,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_nearest_parameter() {
        let known = || ["top_p", "temperature", "stop"].into_iter();
        let check = |name: &str, expected: &str| {
            assert_eq!(DecodeError::unknown(name, known()).to_string(), expected);
        };
        check("temprature", "unknown parameter `temprature`: did you mean `temperature`?");
        check("zzz", "unknown parameter `zzz`");
        check(&"z".repeat(1_000), &format!("unknown parameter `{}`", "z".repeat(64)));
    }
}
