//! The judgement of one answer.

use serde::{Deserialize, Serialize};

/// What is done with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It is returned to the caller.
    Accept,
    /// The next rung is asked.
    Escalate(EscalationReason),
}

/// Why an answer was not good enough, or why there was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EscalationReason {
    /// Confidence below the threshold.
    LowConfidence,
    /// No certificate holds and the configuration does not allow answering without one.
    Uncertified,
    /// The answer is none that the task allows.
    InvalidOutput,
    /// The request or the answer does not fit the model.
    TooLong,
    /// The student says that the request is none of its task's.
    OutOfScope,
    /// No answer in time.
    Timeout,
    /// The backend failed.
    Error,
    /// The backend was not asked: its circuit breaker is open or its queue is full.
    Unavailable,
    /// The answer may be good; it is checked against a higher tier on purpose.
    Audit,
}

impl EscalationReason {
    /// All reasons, in the order they are listed to people.
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

    /// Returns the reason's name as it stands in the ledger, in headers and in metrics.
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
