//! One HTTP exchange: a request out, a checked answer or a fault back.

use std::time::Instant;

use bantam_backend::{BackendError, BackendFault, WholeAnswer};
use bantam_wire::{Endpoint, Format, anthropic};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::time::timeout_at;

use crate::upstream::{Dialect, Upstream};

/// By when the parts of one exchange must have arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// When the attempt began.
    pub(crate) started: Instant,
    /// By when the first byte must have arrived.
    pub(crate) first_byte: Instant,
    /// By when everything must have arrived.
    pub(crate) total: Instant,
    /// Whether `total` is the caller's own deadline, and not what the upstream is given.
    pub(crate) total_is_callers: bool,
}

impl Deadlines {
    /// Returns microseconds since the attempt began.
    pub(crate) fn elapsed_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Returns whether a fault only says that the caller had no more time. That speaks against nobody.
    pub(crate) fn is_callers_own(&self, fault: BackendFault) -> bool {
        self.total_is_callers && fault == BackendFault::TotalTimeout
    }

    /// Returns why nothing had arrived when the wait for the first byte was over.
    pub(crate) fn first_byte_fault(&self) -> BackendFault {
        if Instant::now() >= self.total { BackendFault::TotalTimeout } else { BackendFault::FirstByteTimeout }
    }
}

/// Sends `body` and returns the head of a good answer.
pub(crate) async fn send(
    upstream: &Upstream,
    uri: &Uri,
    body: Bytes,
    stream: bool,
    deadlines: &Deadlines,
) -> Result<Response<Incoming>, BackendError> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri.clone();
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let accept = if stream { "text/event-stream" } else { "application/json" };
    headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
    if let Some((name, value)) = &upstream.auth {
        headers.insert(name.clone(), value.clone());
    }
    if upstream.dialect == Dialect::Anthropic {
        let version = HeaderValue::from_static(anthropic::ANTHROPIC_VERSION);
        headers.insert("anthropic-version", version);
    }
    let until = deadlines.first_byte.min(deadlines.total);
    let response = match timeout_at(until.into(), upstream.client.request(request)).await {
        Err(_) => return Err(deadlines.first_byte_fault().into()),
        Ok(Err(error)) if error.is_connect() => return Err(BackendFault::Connect.into()),
        Ok(Err(_)) => return Err(BackendFault::Broken.into()),
        Ok(Ok(response)) => response,
    };
    if response.status() == StatusCode::OK {
        return Ok(response);
    }
    let retry_after_s = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Err(BackendError { retry_after_s, ..status_fault(response.status()).into() })
}

fn status_fault(status: StatusCode) -> BackendFault {
    match status.as_u16() {
        status @ (400 | 413 | 422) => BackendFault::Refused(status),
        status @ (401 | 403) => BackendFault::Key(status),
        404 => BackendFault::NotFound,
        429 => BackendFault::RateLimited,
        status => BackendFault::Status(status),
    }
}

/// Reads a whole answer in `format`, for a caller of `endpoint`.
pub(crate) async fn read_whole(
    upstream: &Upstream,
    mut response: Response<Incoming>,
    (format, endpoint): (Format, &dyn Endpoint),
    deadlines: &Deadlines,
) -> Result<WholeAnswer, BackendError> {
    let first_byte_us = deadlines.elapsed_us();
    let bytes = read_body(upstream, response.body_mut(), deadlines).await?;
    let body = format.read_answer(bytes, endpoint).map_err(BackendFault::from)?;
    Ok(WholeAnswer { body, first_byte_us, retries: 0 })
}

async fn read_body(
    upstream: &Upstream,
    body: &mut Incoming,
    deadlines: &Deadlines,
) -> Result<Bytes, BackendError> {
    let limit = upstream.settings.response_bytes_max;
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    loop {
        let until = (Instant::now() + upstream.settings.chunk_timeout).min(deadlines.total);
        let frame = match timeout_at(until.into(), body.frame()).await {
            Err(_) if Instant::now() >= deadlines.total => return Err(BackendFault::TotalTimeout.into()),
            Err(_) => return Err(BackendFault::ChunkTimeout.into()),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(BackendFault::Cut.into()),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        let size = first.as_ref().map_or(0, Bytes::len) + rest.len() + data.len();
        if size > limit {
            return Err(BackendFault::TooLarge.into());
        }
        // Most answers arrive in one frame, which is then used without a copy.
        match &first {
            None => first = Some(data),
            Some(_) => rest.extend_from_slice(&data),
        }
    }
    let first = first.unwrap_or_default();
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}
