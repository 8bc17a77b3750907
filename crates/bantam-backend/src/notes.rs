//! What an upstream says beside its answer.

use std::sync::Arc;

use bantam_types::RateLimits;

/// What an upstream's headers say of a call, whether it was answered or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamNotes {
    /// The upstream's own id of the request, which its support asks for: short, visible ASCII.
    pub request_id: Option<Arc<str>>,
    /// What it says of its rate limits.
    pub rate_limits: Option<RateLimits>,
}

impl UpstreamNotes {
    /// Returns the notes, unless nothing at all was told.
    pub fn told(self) -> Option<Arc<Self>> {
        (self != Self::default()).then(|| Arc::new(self))
    }
}
