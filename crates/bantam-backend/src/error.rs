//! Why a backend gave no answer: whose fault, whether another may be asked, what the caller may see.

use std::sync::Arc;

use bantam_types::EscalationReason;
use bantam_wire::{Feature, ReadAnswerError, Unsupported};

/// Why a backend gave no answer. It never carries an upstream's own words, which may quote the prompt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct BackendError {
    /// What happened.
    pub fault: BackendFault,
    /// Retries made before giving up.
    pub retries: u32,
    /// What the upstream asked to wait, in seconds.
    pub retry_after_s: Option<u32>,
    /// Bantam's own words on what is wrong with the request and what would help; never an upstream's.
    pub advice: Option<Arc<str>>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BackendFault {
    /// The request is cleared for another tier: a fault of Bantam's own.
    #[error("the request is not cleared for this tier")]
    NotCleared,
    /// Its model is to run on this machine and runs elsewhere.
    #[error("its model is local and runs elsewhere")]
    Elsewhere,
    /// The request asks for something that this backend cannot do.
    #[error("it cannot honour `{}`", .0.name())]
    CannotHonour(Feature),
    /// No connection: refused, not in time, TLS failed, or the host name does not resolve.
    #[error("no connection could be made")]
    Connect,
    /// The connection broke before an answer began.
    #[error("the connection broke")]
    Broken,
    /// No first byte of the body in time.
    #[error("no answer began in time")]
    FirstByteTimeout,
    /// A pause in the middle of the answer was too long.
    #[error("the answer stalled")]
    ChunkTimeout,
    /// The whole took too long.
    #[error("the answer was not finished in time")]
    TotalTimeout,
    /// The prompt does not fit the model's context.
    #[error("the prompt has {tokens} tokens and the context {context}")]
    ContextLength {
        /// Tokens of the prompt, as the model counts them.
        tokens: u64,
        /// Tokens that the model takes.
        context: u64,
    },
    /// Larger than the limit.
    #[error("the answer is larger than the limit")]
    TooLarge,
    /// Not an answer of the upstream's API, not events, not UTF-8.
    #[error("the answer is not one of the upstream's API")]
    Garbage,
    /// Compressed, although it was asked for as it is, and in a way that is not undone.
    #[error("the answer is compressed with {0}, which was not asked for")]
    Encoded(&'static str),
    /// An error object with status 200.
    #[error("the answer is an error object")]
    ErrorBody,
    /// A stream that ended before its end.
    #[error("the stream was cut short")]
    Cut,
    /// The upstream refused the request: 400, 413, 422.
    #[error("the upstream refused the request with status {0}")]
    Refused(u16),
    /// The upstream refused our key: 401, 403.
    #[error("the upstream refused the key with status {0}")]
    Key(u16),
    /// The upstream has no such model: 404.
    #[error("the upstream has no such model or path (status 404)")]
    NotFound,
    /// The upstream is busy: 429.
    #[error("the upstream is rate limited (status 429)")]
    RateLimited,
    /// The upstream failed: any other status.
    #[error("the upstream failed with status {0}")]
    Status(u16),
    /// Not asked: the circuit breaker is open.
    #[error("it failed too often recently and is not asked for a while")]
    BreakerOpen,
    /// Not asked: too many calls are in progress.
    #[error("too many calls are in progress")]
    Busy,
    /// Not asked: other models held the memory that its model needs.
    #[error("no memory became free for its model in time")]
    NoRoom,
    /// Not asked: its model is not in memory and could not be loaded; the log says why.
    #[error("its model could not be loaded")]
    NotLoaded,
}

impl BackendFault {
    /// Returns the reason under which the ledger keeps the attempt.
    pub const fn reason(self) -> EscalationReason {
        match self {
            Self::FirstByteTimeout | Self::ChunkTimeout | Self::TotalTimeout => EscalationReason::Timeout,
            Self::BreakerOpen | Self::Busy | Self::NoRoom | Self::NotLoaded => EscalationReason::Unavailable,
            Self::TooLarge | Self::ContextLength { .. } => EscalationReason::TooLong,
            Self::CannotHonour(_)
            | Self::NotCleared
            | Self::Elsewhere
            | Self::Connect
            | Self::Broken
            | Self::Garbage
            | Self::Encoded(_)
            | Self::ErrorBody
            | Self::Cut
            | Self::Refused(_)
            | Self::Key(_)
            | Self::NotFound
            | Self::RateLimited
            | Self::Status(_) => EscalationReason::Error,
        }
    }

    /// Returns whether the same call may go through when it is made again at once.
    pub const fn is_transient(self) -> bool {
        match self {
            Self::Connect | Self::Broken | Self::RateLimited => true,
            Self::Status(status) => matches!(status, 408 | 409 | 425 | 500..=599),
            _ => false,
        }
    }
}

impl From<BackendFault> for BackendError {
    fn from(fault: BackendFault) -> Self {
        Self { fault, retries: 0, retry_after_s: None, advice: None }
    }
}

impl From<Unsupported> for BackendError {
    fn from(unsupported: Unsupported) -> Self {
        Self::advising(BackendFault::CannotHonour(unsupported.feature), unsupported.reason.into_owned())
    }
}

impl From<ReadAnswerError> for BackendFault {
    fn from(error: ReadAnswerError) -> Self {
        match error {
            ReadAnswerError::NotAnAnswer => Self::Garbage,
            ReadAnswerError::ErrorObject => Self::ErrorBody,
        }
    }
}

impl BackendError {
    /// Returns `fault` with Bantam's own words on what would help.
    pub fn advising(fault: BackendFault, advice: impl Into<Arc<str>>) -> Self {
        Self { advice: Some(advice.into()), ..fault.into() }
    }
}
