//! What the ledger keeps: one settlement a request, one record an attempt.

use std::borrow::Cow;

use crate::{
    AnswerUsage, EscalationReason, FaultKind, Label, Price, RateLimits, TaskName, Template, Tier, Unpriced,
    Usd,
};

/// How one attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptOutcome {
    /// Its answer was returned to the caller.
    Accepted,
    /// It answered, and the answer was not good enough: the next rung was asked.
    Discarded(EscalationReason),
    /// It gave no answer.
    Failed(EscalationReason),
    /// The caller left while it ran.
    Cancelled,
}

impl AttemptOutcome {
    /// Returns the verdict's name in the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Discarded(_) => "discarded",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns why the attempt's answer was not returned, if there is a reason.
    pub const fn reason(self) -> Option<EscalationReason> {
        match self {
            Self::Discarded(reason) | Self::Failed(reason) => Some(reason),
            Self::Accepted | Self::Cancelled => None,
        }
    }
}

/// One call of one backend.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptRecord {
    /// The backend's name in the configuration.
    pub backend: std::sync::Arc<str>,
    /// The model that answered, as the backend names it.
    pub model: std::sync::Arc<str>,
    /// The tier it ran on.
    pub tier: Tier,
    /// What it took, as the backend counted it; `None` when it did not say.
    pub usage: Option<AnswerUsage>,
    /// Microseconds from the request's arrival to the start of this attempt.
    pub started_us: u64,
    /// Microseconds from the start of the attempt to its first answer byte.
    pub first_byte_us: Option<u64>,
    /// Microseconds from the start of the attempt to its end.
    pub last_byte_us: u64,
    /// The price that was used; `None` means unpriced, which is not free.
    pub price: Option<std::sync::Arc<Price>>,
    /// The exact cost, where it is known.
    pub cost: Option<Usd>,
    /// Why the cost is not known; `None` where it is, and in records from before reasons were kept.
    pub unpriced: Option<Unpriced>,
    /// The student's calibrated probability, when it has one.
    pub confidence: Option<f32>,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// Retries that this attempt took inside one backend.
    pub retries: u32,
    /// Why it gave no answer, where it failed.
    pub fault: Option<FaultKind>,
    /// The HTTP status with which an upstream refused or failed.
    pub upstream_status: Option<u16>,
    /// The upstream's own id of the request, which its support asks for.
    pub upstream_request_id: Option<std::sync::Arc<str>>,
    /// What the upstream said of its rate limits.
    pub rate_limits: Option<RateLimits>,
}

/// How one request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestOutcome {
    /// An answer was returned whole.
    Answered,
    /// Refused before any backend was asked: bad input, limits or privacy.
    Refused,
    /// Every rung failed, a stream broke after it began, or Bantam itself failed.
    Failed,
    /// The caller left.
    Cancelled,
}

impl RequestOutcome {
    /// Returns the outcome's name in the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Everything the ledger keeps of one request: the receipt and its attempts, written together or not at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Settlement {
    /// The request's own id; unique for ever, also over restarts.
    pub request_id: u128,
    /// When the request arrived, milliseconds since the Unix epoch.
    pub arrived_unix_ms: i64,
    /// The task it belonged to, if any.
    pub task: Option<TaskName>,
    /// The prompt template it was recognised by, or that it may become a task of.
    pub template: Option<Template>,
    /// The name of the key that the caller showed, if any; never the key.
    pub caller: Option<std::sync::Arc<str>>,
    /// The path that was asked, such as `/v1/chat/completions`; `None` in records from before it was kept.
    pub endpoint: Option<Cow<'static, str>>,
    /// The dialect of that path, such as `openai`; `None` in records from before it was kept.
    pub dialect: Option<Cow<'static, str>>,
    /// What the caller asked for as `model`; empty when the request was refused before it was read.
    pub requested_model: String,
    /// How sensitive it was; [`Label::Public`] when the request was refused before it was read.
    pub label: Label,
    /// How it ended.
    pub outcome: RequestOutcome,
    /// The HTTP status that the caller saw.
    pub status: u16,
    /// Whether it was streamed.
    pub streamed: bool,
    /// Microseconds from arrival to the last byte of the answer.
    pub duration_us: u64,
    /// What the same request would have cost at the baseline model, when that can be said.
    pub baseline_cost: Option<Usd>,
    /// The attempts, in order.
    pub attempts: Vec<AttemptRecord>,
}
