//! From a status and an error object to a fault.

use std::time::Duration;

use bantam_backend::{BackendError, BackendFault};
use bantam_wire::{Unwanted, UpstreamError, UpstreamErrorKind};
use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use crate::exchange::Deadlines;
use crate::notes;
use crate::retry_after::{is_final, retry_after};

/// The most of an error object that is looked at.
const BYTES_MAX: usize = 64 << 10;
/// How long an error object may take. The status alone says enough to go on.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why a call failed, and what of it was not taken and can be said another way.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: BackendError,
    pub(crate) unwanted: Option<Unwanted>,
}

impl<E: Into<BackendError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { error: error.into(), unwanted: None }
    }
}

/// Returns what an answer whose status is not 200 says.
pub(crate) async fn read_refusal(response: Response<Incoming>, deadlines: &Deadlines) -> Failure {
    let status = response.status().as_u16();
    let notes = notes::read(response.headers());
    let (asked, is_final) = (retry_after(response.headers()), is_final(response.headers()));
    let until = (Instant::now() + PATIENCE).min(deadlines.total.into());
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while let Ok(Some(Ok(frame))) = timeout_at(until, body.frame()).await {
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > BYTES_MAX {
            break;
        }
    }
    let told = UpstreamError::read(status, &bytes);
    let fault = fault_of(status, told.kind);
    let error = BackendError { retry_after: asked.or(told.retry_after), is_final, notes, ..fault.into() };
    Failure { error: error.with_usage(told.usage), unwanted: told.unwanted }
}

/// Returns what an error object says that came in the place of an answer, with status 200.
pub(crate) fn error_in_answer(body: &[u8]) -> BackendError {
    let told = UpstreamError::read(200, body);
    let fault = match (told.kind, told.status) {
        (None, None) => BackendFault::ErrorBody,
        // The object is the upstream's word for the status that it did not send.
        (kind, Some(status)) => fault_of(status, kind),
        (Some(kind), None) => fault_of_kind(kind),
    };
    BackendError { retry_after: told.retry_after, ..fault.into() }.with_usage(told.usage)
}

/// What a kind means where no status stands beside it.
const fn fault_of_kind(kind: UpstreamErrorKind) -> BackendFault {
    match kind {
        UpstreamErrorKind::ContextLength => BackendFault::ContextExceeded(200),
        UpstreamErrorKind::ContentFilter => BackendFault::Filtered(200),
        UpstreamErrorKind::Quota => BackendFault::QuotaUsedUp(200),
        UpstreamErrorKind::RequestTooLarge => BackendFault::RequestTooLarge(200),
        UpstreamErrorKind::RateLimit => BackendFault::RateLimited(200),
        UpstreamErrorKind::Overloaded => BackendFault::Overloaded(200),
        UpstreamErrorKind::Invalid => BackendFault::Refused(200),
        UpstreamErrorKind::Unsupported => BackendFault::Unsupported(200),
        UpstreamErrorKind::Key
        | UpstreamErrorKind::Forbidden
        | UpstreamErrorKind::ModelNotFound
        | UpstreamErrorKind::Timeout
        | UpstreamErrorKind::Server => BackendFault::ErrorBody,
    }
}

/// Returns what an error object says that came as an event of a stream. The answer may have begun and may be billed,
/// whatever status the object names.
pub(crate) fn error_in_stream(data: &[u8]) -> BackendError {
    let error = error_in_answer(data);
    BackendError { fault: within_answer(error.fault), ..error }
}

/// Returns the fault as one that stood in an answer of status 200.
const fn within_answer(fault: BackendFault) -> BackendFault {
    match fault {
        BackendFault::ContextExceeded(_) => BackendFault::ContextExceeded(200),
        BackendFault::Filtered(_) => BackendFault::Filtered(200),
        BackendFault::RequestTooLarge(_) => BackendFault::RequestTooLarge(200),
        BackendFault::Refused(_) => BackendFault::Refused(200),
        BackendFault::Unsupported(_) => BackendFault::Unsupported(200),
        BackendFault::RateLimited(_) => BackendFault::RateLimited(200),
        BackendFault::QuotaUsedUp(_) => BackendFault::QuotaUsedUp(200),
        BackendFault::Overloaded(_) => BackendFault::Overloaded(200),
        BackendFault::Key(_) | BackendFault::NotFound | BackendFault::Status(300..=499) => {
            BackendFault::ErrorBody
        }
        fault => fault,
    }
}

/// Returns the fault of a status, with what the object beside it is about.
fn fault_of(status: u16, kind: Option<UpstreamErrorKind>) -> BackendFault {
    use UpstreamErrorKind as Kind;

    // What a message says is believed only where the status leaves it open: it may quote the prompt.
    let is_open = !matches!(status, 401 | 404 | 407);
    match (kind, status) {
        (Some(Kind::ContextLength), 400..=599) if is_open => BackendFault::ContextExceeded(status),
        (Some(Kind::ContentFilter), 400..=599) if is_open => BackendFault::Filtered(status),
        (Some(Kind::Quota), 400..=499) if is_open => BackendFault::QuotaUsedUp(status),
        (Some(Kind::RequestTooLarge), 400..=499) if is_open => BackendFault::RequestTooLarge(status),
        (Some(Kind::Overloaded), 429 | 500..=599) => BackendFault::Overloaded(status),
        (Some(Kind::Invalid), 400 | 422) => BackendFault::Refused(status),
        // Without a reason it may be this server's taste as well, or a proxy's before it.
        (_, 400 | 422) => BackendFault::Unsupported(status),
        (_, 401 | 403) => BackendFault::Key(status),
        (_, 402) => BackendFault::QuotaUsedUp(status),
        (_, 404) => BackendFault::NotFound,
        (_, 413) => BackendFault::RequestTooLarge(status),
        (_, 429) => BackendFault::RateLimited(status),
        (_, 503 | 529) => BackendFault::Overloaded(status),
        _ => BackendFault::Status(status),
    }
}
