//! Why an attempt gave no answer, in one word that the ledger keeps.

use crate::words::words;

words! {
    /// What kept an attempt from answering. The words are for programs and stay as they are.
    FaultKind:
    NotCleared = "not_cleared", "The request was not cleared for the tier: a fault of Bantam's own.";
    CannotHonour = "cannot_honour", "The request asks for something that the backend cannot do.";
    Busy = "busy", "Not asked: too many calls were in progress.";
    BreakerOpen = "breaker_open", "Not asked: it failed too often shortly before.";
    NoMemory = "no_memory", "The memory for requests and answers was used up: see `server.memory`.";
    NoRoom = "no_room", "Not asked: other models held the memory that its model needs.";
    NotLoaded = "not_loaded", "Not asked: its model could not be loaded.";
    NameNotFound = "name_not_found", "The name of the upstream's host could not be resolved.";
    ConnectionRefused = "connection_refused", "Nothing listens at the upstream's address and port.";
    Unreachable = "unreachable", "The network has no way to the upstream's address.";
    ConnectTimeout = "connect_timeout", "No connection came about within `connect_timeout_ms`.";
    ConnectionFailed = "connection_failed", "The connection broke while it was made.";
    TlsFailed = "tls_failed", "The TLS handshake failed.";
    NotTls = "not_tls", "What answered an `https` address does not speak TLS.";
    CertificateRefused = "certificate_refused", "The upstream's certificate is not valid for its host, or not now.";
    CertificateUnknown = "certificate_unknown", "The upstream's certificate is signed by nobody who is trusted here.";
    Http2Only = "http2_only", "The upstream speaks HTTP/2 only, and `http` says 1.1.";
    Http1Only = "http1_only", "The upstream wants HTTP/1.1, and `http` says 2.";
    ProxyFailed = "proxy_failed", "The proxy could not be reached, or gave no connection to the upstream.";
    NotHttp = "not_http", "What answered does not speak HTTP of the version that it was asked in.";
    Unsent = "unsent", "The connection was closed before the request was sent.";
    Broken = "broken", "The connection was closed after the request was sent and before an answer began.";
    Reset = "reset", "The connection was reset after the request was sent and before an answer began.";
    FirstByteTimeout = "first_byte_timeout", "No answer began within `first_byte_timeout_ms`.";
    ChunkTimeout = "chunk_timeout", "The answer paused for longer than `chunk_timeout_ms`.";
    TotalTimeout = "total_timeout", "The answer was not finished in time.";
    Encoded = "encoded", "The answer is compressed in a way that was not asked for and is not known here.";
    RunsElsewhere = "runs_elsewhere", "Not asked: the engine says that the model does not run on this machine.";
    Cut = "cut", "The answer ended before its end.";
    AnswerTooLarge = "answer_too_large", "The answer is larger than `response_bytes_max`.";
    Garbage = "garbage", "What came back is not an answer of the upstream's API.";
    ErrorBody = "error_body", "An error object came with status 200.";
    ContextLength = "context_length", "The prompt does not fit the model's context.";
    ContentFilter = "content_filter", "The provider's policy refused the content.";
    RequestRefused = "request_refused", "The upstream refused the request as invalid, or its model takes no such request.";
    RequestTooLarge = "request_too_large", "The upstream takes no request of that size.";
    KeyRefused = "key_refused", "The upstream refused the key.";
    Forbidden = "forbidden", "The key may not use the model.";
    ModelNotFound = "model_not_found", "The upstream has no such model or path.";
    RateLimited = "rate_limited", "The upstream limits the rate of requests.";
    QuotaUsedUp = "quota_used_up", "The account's quota or credit at the upstream is used up.";
    Overloaded = "overloaded", "The upstream has no capacity at the moment.";
    UpstreamTimeout = "upstream_timeout", "The upstream itself waited too long for an answer.";
    ServerError = "server_error", "The upstream failed.";
    UnexpectedStatus = "unexpected_status", "The upstream answered with a status that its API does not have.";
}
