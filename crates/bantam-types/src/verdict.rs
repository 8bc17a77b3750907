//! The verdict on one answer.

use serde::{Deserialize, Serialize};

/// What to do with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Return it to the caller.
    Accept,
    /// Ask the next rung.
    Escalate(EscalationReason),
}

/// Why an answer was not good enough, or why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EscalationReason {
    /// The confidence is below the threshold.
    LowConfidence,
    /// No certificate is valid and the configuration requires one.
    Uncertified,
    /// The task does not allow this answer.
    InvalidOutput,
    /// The request or the answer does not fit the model.
    TooLong,
    /// The student says that the request does not belong to its task.
    OutOfScope,
    /// The backend did not answer in time.
    Timeout,
    /// The backend failed.
    Error,
    /// The backend was not asked: its circuit breaker is open or its queue is full.
    Unavailable,
    /// The answer may be good, but it is being checked against a higher tier as an audit.
    Audit,
}

impl EscalationReason {
    /// All reasons, in display order.
    pub const ALL: [Self; 9] = [
        Self::LowConfidence,
        Self::Uncertified,
        Self::InvalidOutput,
        Self::TooLong,
        Self::OutOfScope,
        Self::Timeout,
        Self::Error,
        Self::Unavailable,
        Self::Audit,
    ];

    /// Returns the reason's name as used in the ledger, headers and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LowConfidence => "low_confidence",
            Self::Uncertified => "uncertified",
            Self::InvalidOutput => "invalid_output",
            Self::TooLong => "too_long",
            Self::OutOfScope => "out_of_scope",
            Self::Timeout => "timeout",
            Self::Error => "error",
            Self::Unavailable => "unavailable",
            Self::Audit => "audit",
        }
    }
}

impl std::fmt::Display for EscalationReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
