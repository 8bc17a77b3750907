//! One HTTP exchange: a request out, a checked answer or a named fault back.

use std::time::Instant;

use bantam_backend::{BackendError, BackendFault, Completion};
use bantam_wire::Endpoint;
use bantam_wire::completion::{CompletionFacts, ReadCompletionError, read_answer};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::time::timeout_at;

use crate::upstream::{Dialect, Upstream};

/// When the parts of one exchange must be there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// When the attempt began.
    pub(crate) started: Instant,
    /// When the first byte must be there.
    pub(crate) first_byte: Instant,
    /// When everything must be there.
    pub(crate) total: Instant,
}

impl Deadlines {
    /// Returns microseconds since the attempt began.
    pub(crate) fn elapsed_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn first_byte_fault(&self) -> BackendFault {
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
        let version = HeaderValue::from_static(bantam_wire::anthropic::ANTHROPIC_VERSION);
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

/// Reads a whole answer and checks that it is one of its endpoint.
pub(crate) async fn read_whole(
    upstream: &Upstream,
    mut response: Response<Incoming>,
    (endpoint, created_unix_s): (Endpoint, i64),
    deadlines: &Deadlines,
) -> Result<Completion, BackendError> {
    let first_byte_us = deadlines.elapsed_us();
    let body = read_body(upstream, response.body_mut(), deadlines).await?;
    let (body, facts) = match upstream.dialect {
        Dialect::OpenAi => {
            let facts = read_answer(endpoint, &body).map_err(|error| fault_of(&error))?;
            (body, facts)
        }
        Dialect::Anthropic => {
            let (body, facts) = bantam_wire::anthropic::read_message(&body, created_unix_s)
                .map_err(|error| fault_of(&error))?;
            (Bytes::from(body), facts)
        }
    };
    let CompletionFacts { usage, text, has_note } = facts;
    Ok(Completion { body, usage, text, has_note, first_byte_us, retries: 0 })
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
        // Most answers arrive in one frame, which is then used as it is.
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

/// Returns the fault that an unreadable answer is.
pub(crate) fn fault_of(error: &ReadCompletionError) -> BackendFault {
    match error {
        ReadCompletionError::NotACompletion => BackendFault::Garbage,
        ReadCompletionError::ErrorObject => BackendFault::ErrorBody,
    }
}
