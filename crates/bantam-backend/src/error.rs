//! Why a backend gave no answer: whose fault, whether another may be asked, what the caller may see.

use std::sync::Arc;
use std::time::Duration;

use bantam_types::{AnswerUsage, EscalationReason, FaultKind};
use bantam_wire::{Feature, ReadAnswerError, Unsupported};

use crate::UpstreamNotes;

/// Why a backend gave no answer. It never carries an upstream's own words, which may quote the prompt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct BackendError {
    /// What happened.
    pub fault: BackendFault,
    /// Retries made before giving up.
    pub retries: u32,
    /// How long the upstream asked to wait.
    pub retry_after: Option<Duration>,
    /// After which pause the same backend may be asked again, as a new attempt: what was sent may have been billed.
    pub repeat_after: Option<Duration>,
    /// Whether the upstream says that a repeat would not help.
    pub is_final: bool,
    /// What the upstream counted before it failed; see [`Self::with_usage`].
    pub usage: Option<Box<AnswerUsage>>,
    /// Bantam's own words on what is wrong with the request and what would help; never an upstream's.
    pub advice: Option<Arc<str>>,
    /// What the upstream's headers say of the call.
    pub notes: Option<Arc<UpstreamNotes>>,
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
    /// No connection: nothing was sent.
    #[error("{0}")]
    Connect(ConnectFault),
    /// The connection was closed before the request was sent.
    #[error("the connection was closed before the request was sent")]
    Unsent,
    /// The connection was closed after the request was sent, before an answer began.
    #[error("the connection broke")]
    Broken,
    /// The connection was reset after the request was sent, before an answer began.
    #[error("the connection was reset")]
    Reset,
    /// What came back is not HTTP of the version that was asked.
    #[error("what answers there does not speak the same HTTP")]
    NotHttp,
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
    /// The upstream says that the prompt does not fit the model's context, and not by how much.
    #[error("the prompt does not fit the context of the upstream's model (status {0})")]
    ContextExceeded(u16),
    /// The provider's policy refused the content.
    #[error("the provider's content policy refused the request (status {0})")]
    Filtered(u16),
    /// The upstream takes no request of that size, or the account may not send as much in a minute.
    #[error("the upstream takes no request of that size (status {0})")]
    RequestTooLarge(u16),
    /// The upstream refused the request as invalid, as any would: 400, 422.
    #[error("the upstream refused the request as invalid (status {0})")]
    Refused(u16),
    /// The upstream's model does not take a parameter, a value or a kind of content that others may take, or the upstream
    /// refused the request without a reason: 400, 422.
    #[error("the upstream does not take the request, and another may (status {0})")]
    Unsupported(u16),
    /// The upstream refused our key: 401, 403.
    #[error("the upstream refused the key with status {0}")]
    Key(u16),
    /// The upstream has no such model: 404.
    #[error("the upstream has no such model or path (status 404)")]
    NotFound,
    /// The upstream limits the rate: 429.
    #[error("the upstream limits the rate of requests (status {0})")]
    RateLimited(u16),
    /// The account's quota or credit is used up: 402, or 429 with a code that says so.
    #[error("the quota or credit at the upstream is used up (status {0})")]
    QuotaUsedUp(u16),
    /// The upstream has no capacity: 503, 529.
    #[error("the upstream is overloaded (status {0})")]
    Overloaded(u16),
    /// The upstream failed: any other status.
    #[error("the upstream failed with status {0}")]
    Status(u16),
    /// Not asked: the circuit breaker is open.
    #[error("it failed too often recently and is not asked for a while")]
    BreakerOpen,
    /// Not asked: too many calls are in progress.
    #[error("too many calls are in progress")]
    Busy,
    /// The memory for requests and answers is used up, so its answer could not be received.
    #[error("there was no memory left for the answer")]
    NoMemory,
    /// Not asked: other models held the memory that its model needs.
    #[error("no memory became free for its model in time")]
    NoRoom,
    /// Not asked: its model is not in memory and could not be loaded; the log says why.
    #[error("its model could not be loaded")]
    NotLoaded,
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ConnectFault {
    /// The host's name does not resolve.
    #[error("the host's name could not be resolved")]
    NameNotFound,
    /// Nothing listens there.
    #[error("the connection was refused")]
    Refused,
    /// No way leads there.
    #[error("the host cannot be reached")]
    Unreachable,
    /// Not in time.
    #[error("no connection came about in time")]
    Late,
    /// The handshake failed.
    #[error("the TLS handshake failed")]
    Tls,
    /// What answers does not speak TLS.
    #[error("what answers there does not speak TLS")]
    NotTls,
    /// The certificate is not valid for the host, or not now.
    #[error("the certificate is not valid for this host or at this time")]
    Certificate,
    /// Nobody who is trusted has signed the certificate.
    #[error("the certificate is signed by nobody who is trusted here")]
    UnknownIssuer,
    /// Only HTTP/2 is spoken there.
    #[error("the server speaks HTTP/2 only")]
    Http2Only,
    /// Only HTTP/1.1 is spoken there, and HTTP/2 was to be.
    #[error("the server wants HTTP/1.1")]
    Http1Only,
    /// The proxy could not be reached, or gave no connection.
    #[error("the proxy gave no connection to the host")]
    Proxy,
    /// Anything else.
    #[error("the connection broke while it was made")]
    Other,
}

/// Whether the same call may be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// It would fail again, or what came of it is not known.
    Never,
    /// It may go through, and the upstream has done no work for it yet.
    Free,
    /// It may go through, but the upstream may have answered it and billed for it already.
    MayBeBilled,
}

impl ConnectFault {
    const fn kind(self) -> FaultKind {
        match self {
            Self::NameNotFound => FaultKind::NameNotFound,
            Self::Refused => FaultKind::ConnectionRefused,
            Self::Unreachable => FaultKind::Unreachable,
            Self::Late => FaultKind::ConnectTimeout,
            Self::Tls => FaultKind::TlsFailed,
            Self::NotTls => FaultKind::NotTls,
            Self::Certificate => FaultKind::CertificateRefused,
            Self::UnknownIssuer => FaultKind::CertificateUnknown,
            Self::Http2Only => FaultKind::Http2Only,
            Self::Http1Only => FaultKind::Http1Only,
            Self::Proxy => FaultKind::ProxyFailed,
            Self::Other => FaultKind::ConnectionFailed,
        }
    }

    /// Returns whether it may pass by itself.
    const fn may_pass(self) -> bool {
        match self {
            Self::NameNotFound
            | Self::Refused
            | Self::Unreachable
            | Self::Late
            | Self::Proxy
            | Self::Other => true,
            Self::Tls
            | Self::NotTls
            | Self::Certificate
            | Self::UnknownIssuer
            | Self::Http2Only
            | Self::Http1Only => false,
        }
    }
}

impl BackendFault {
    /// Returns the word under which the ledger keeps it.
    pub const fn kind(self) -> FaultKind {
        match self {
            Self::NotCleared => FaultKind::NotCleared,
            Self::Elsewhere => FaultKind::RunsElsewhere,
            Self::Encoded(_) => FaultKind::Encoded,
            Self::CannotHonour(_) => FaultKind::CannotHonour,
            Self::Connect(fault) => fault.kind(),
            Self::Unsent => FaultKind::Unsent,
            Self::Broken => FaultKind::Broken,
            Self::Reset => FaultKind::Reset,
            Self::NotHttp => FaultKind::NotHttp,
            Self::FirstByteTimeout => FaultKind::FirstByteTimeout,
            Self::ChunkTimeout => FaultKind::ChunkTimeout,
            Self::TotalTimeout => FaultKind::TotalTimeout,
            Self::ContextLength { .. } | Self::ContextExceeded(_) => FaultKind::ContextLength,
            Self::TooLarge => FaultKind::AnswerTooLarge,
            Self::Garbage => FaultKind::Garbage,
            Self::ErrorBody => FaultKind::ErrorBody,
            Self::Cut => FaultKind::Cut,
            Self::Filtered(_) => FaultKind::ContentFilter,
            Self::RequestTooLarge(_) => FaultKind::RequestTooLarge,
            Self::Refused(_) | Self::Unsupported(_) => FaultKind::RequestRefused,
            Self::Key(403) => FaultKind::Forbidden,
            Self::Key(_) => FaultKind::KeyRefused,
            Self::NotFound => FaultKind::ModelNotFound,
            Self::RateLimited(_) => FaultKind::RateLimited,
            Self::QuotaUsedUp(_) => FaultKind::QuotaUsedUp,
            Self::Overloaded(_) => FaultKind::Overloaded,
            Self::Status(408 | 504 | 524) => FaultKind::UpstreamTimeout,
            Self::Status(500..=599) => FaultKind::ServerError,
            Self::Status(_) => FaultKind::UnexpectedStatus,
            Self::BreakerOpen => FaultKind::BreakerOpen,
            Self::Busy => FaultKind::Busy,
            Self::NoMemory => FaultKind::NoMemory,
            Self::NoRoom => FaultKind::NoRoom,
            Self::NotLoaded => FaultKind::NotLoaded,
        }
    }

    /// Returns the HTTP status with which an upstream refused or failed.
    pub const fn upstream_status(self) -> Option<u16> {
        match self {
            Self::ContextExceeded(status)
            | Self::Filtered(status)
            | Self::RequestTooLarge(status)
            | Self::Refused(status)
            | Self::Unsupported(status)
            | Self::Key(status)
            | Self::RateLimited(status)
            | Self::QuotaUsedUp(status)
            | Self::Overloaded(status)
            | Self::Status(status) => Some(status),
            Self::NotFound => Some(404),
            Self::ErrorBody => Some(200),
            _ => None,
        }
    }

    /// Returns whether nobody bills for a call that ended so, because no model worked on it. An error that came in the
    /// place of an answer may come after work, and so may a failure of the upstream.
    pub const fn is_never_billed(self) -> bool {
        match self {
            Self::NotCleared
            | Self::Elsewhere
            | Self::CannotHonour(_)
            | Self::ContextLength { .. }
            | Self::Connect(_)
            | Self::Unsent
            | Self::NotFound
            | Self::BreakerOpen
            | Self::Busy
            | Self::NoRoom
            | Self::NotLoaded => true,
            Self::ContextExceeded(status)
            | Self::RequestTooLarge(status)
            | Self::Refused(status)
            | Self::Unsupported(status)
            | Self::Key(status)
            | Self::RateLimited(status)
            | Self::QuotaUsedUp(status)
            | Self::Overloaded(status) => status != 200,
            Self::Status(status) => matches!(status, 300..=499),
            // Some providers bill for the prompt that they looked at, and for the answer that they held back.
            Self::Filtered(_)
            | Self::Broken
            | Self::Reset
            | Self::NotHttp
            | Self::FirstByteTimeout
            | Self::ChunkTimeout
            | Self::TotalTimeout
            | Self::TooLarge
            | Self::NoMemory
            | Self::Garbage
            | Self::Encoded(_)
            | Self::ErrorBody
            | Self::Cut => false,
        }
    }

    /// Returns whether the request itself is at fault: the same one would be refused again, and another one may not.
    pub const fn blames_request(self) -> bool {
        matches!(
            self,
            Self::CannotHonour(_)
                | Self::ContextLength { .. }
                | Self::ContextExceeded(_)
                | Self::Filtered(_)
                | Self::RequestTooLarge(_)
                | Self::Refused(_)
                | Self::Unsupported(_)
        )
    }

    /// Returns what whoever runs the gateway can do about it, where there is something.
    pub const fn hint(self) -> Option<&'static str> {
        Some(match self {
            Self::Connect(ConnectFault::NameNotFound) => {
                "check the host in `base_url`, and the name server of this machine"
            }
            Self::Connect(ConnectFault::Refused) => {
                "check the port in `base_url`, and that the server runs there"
            }
            Self::Connect(ConnectFault::Unreachable) => {
                "check the network of this machine and its way to the host in `base_url`"
            }
            Self::Connect(ConnectFault::Late) => {
                "check that no firewall drops connections to `base_url`, or raise `connect_timeout_ms`"
            }
            Self::Connect(ConnectFault::UnknownIssuer) => {
                "if a proxy or a server of your own signs it, name its root certificate in `ca_file`"
            }
            Self::Connect(ConnectFault::Certificate) => {
                "check that `base_url` has the name in the certificate, and the clock of this machine"
            }
            Self::Connect(ConnectFault::NotTls) => {
                "use `http` in `base_url`, or the port on which the server speaks TLS"
            }
            Self::Connect(ConnectFault::Http2Only) => {
                "set `http = \"auto\"` in its upstream, or \"2\" where there is no TLS"
            }
            Self::Connect(ConnectFault::Http1Only) => "set `http = \"1.1\"` in its upstream",
            Self::Connect(ConnectFault::Proxy) => {
                "check `proxy` and its login, and that the proxy may connect to the host in `base_url`"
            }
            Self::Status(407) => {
                "check the login of `proxy`: name the variable that holds it in `proxy_login_env`"
            }
            Self::NotHttp => {
                "check that `base_url` names an HTTP server (`https` for a TLS port), and that `http` is the version it speaks"
            }
            Self::Connect(ConnectFault::Tls) => "check that the server offers TLS 1.2 or 1.3",
            Self::Key(401) => "check the key in the variable that `api_key_env` names",
            Self::Key(_) => "check that the key may use the model",
            Self::NotFound => "check the model's `name`, and `base_url` and `path` of the upstream",
            Self::QuotaUsedUp(_) => "add credit to the account at the provider, or raise its limit",
            Self::Status(300..=399) => "name the address that it redirects to in `base_url`",
            _ => return None,
        })
    }

    /// Returns the reason under which the ledger keeps the attempt.
    pub const fn reason(self) -> EscalationReason {
        match self {
            Self::FirstByteTimeout | Self::ChunkTimeout | Self::TotalTimeout => EscalationReason::Timeout,
            Self::BreakerOpen | Self::Busy | Self::NoMemory | Self::NoRoom | Self::NotLoaded => {
                EscalationReason::Unavailable
            }
            Self::TooLarge
            | Self::ContextLength { .. }
            | Self::ContextExceeded(_)
            | Self::RequestTooLarge(_) => EscalationReason::TooLong,
            Self::CannotHonour(_)
            | Self::NotCleared
            | Self::Elsewhere
            | Self::Connect(_)
            | Self::Unsent
            | Self::Broken
            | Self::Reset
            | Self::NotHttp
            | Self::Garbage
            | Self::Encoded(_)
            | Self::ErrorBody
            | Self::Cut
            | Self::Filtered(_)
            | Self::Refused(_)
            | Self::Unsupported(_)
            | Self::Key(_)
            | Self::NotFound
            | Self::RateLimited(_)
            | Self::QuotaUsedUp(_)
            | Self::Overloaded(_)
            | Self::Status(_) => EscalationReason::Error,
        }
    }

    /// Returns whether the same call may go through when it is made again.
    pub const fn repeat(self) -> Repeat {
        match self {
            Self::Connect(fault) if fault.may_pass() => Repeat::Free,
            Self::Unsent | Self::RateLimited(_) | Self::Overloaded(_) => Repeat::Free,
            Self::Status(408 | 409 | 425) => Repeat::Free,
            Self::Broken | Self::Reset | Self::Status(500..=599) => Repeat::MayBeBilled,
            _ => Repeat::Never,
        }
    }
}

impl From<BackendFault> for BackendError {
    fn from(fault: BackendFault) -> Self {
        Self {
            fault,
            retries: 0,
            retry_after: None,
            repeat_after: None,
            is_final: false,
            usage: None,
            advice: None,
            notes: None,
        }
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
    /// Returns whether the same call may be made again.
    pub const fn repeat(&self) -> Repeat {
        if self.is_final { Repeat::Never } else { self.fault.repeat() }
    }

    /// Returns the error with what was counted before it, beside what it says itself.
    #[must_use]
    pub fn with_usage(self, counted: Option<AnswerUsage>) -> Self {
        let Some(counted) = counted else { return self };
        let told = self.usage.map_or(counted, |told| counted.followed_by(*told));
        Self { usage: Some(Box::new(told)), ..self }
    }

    /// Returns what the upstream counted before it failed.
    pub fn usage(&self) -> Option<AnswerUsage> {
        self.usage.as_deref().copied()
    }

    /// Returns `fault` with Bantam's own words on what would help.
    pub fn advising(fault: BackendFault, advice: impl Into<Arc<str>>) -> Self {
        Self { advice: Some(advice.into()), ..fault.into() }
    }
}
