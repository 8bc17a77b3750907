//! What an upstream says of its rate limits.

/// One limit, as an answer's headers tell it. What they do not tell is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RateLimit {
    /// How many there may be in a span of time.
    pub limit: Option<u64>,
    /// How many of them are left.
    pub remaining: Option<u64>,
    /// Milliseconds from the answer until the limit is whole again.
    pub resets_in_ms: Option<u64>,
}

/// The rate limits of an upstream at the time of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RateLimits {
    /// Of requests.
    pub requests: RateLimit,
    /// Of tokens.
    pub tokens: RateLimit,
}

impl RateLimits {
    /// Returns the limits, unless nothing at all was told.
    pub fn told(self) -> Option<Self> {
        (self != Self::default()).then_some(self)
    }
}
