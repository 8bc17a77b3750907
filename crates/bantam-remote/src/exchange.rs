//! One HTTP exchange: a request out, a checked answer or a fault back.

use std::time::Instant;

use bantam_backend::{BackendError, BackendFault, HEAVY_BYTES, WholeAnswer, heavy};
use bantam_wire::{AnswerBody, Endpoint, Envelope, Format, ReadAnswerError, UpstreamError, anthropic};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::timeout_at;

use crate::connect::fault_of;
use crate::incoming::{Body, Holds};
use crate::refusal::{Failure, error_in_answer, read_refusal};
use crate::stream::{self, OpenStream};
use crate::upstream::{Dialect, Upstream};

/// By when the parts of one exchange must have arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// When the attempt began.
    pub(crate) started: Instant,
    /// By when the first byte of the body must have arrived.
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
    (stream, envelope): (bool, &Envelope),
    deadlines: &Deadlines,
) -> Result<Response<Incoming>, Failure> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri.clone();
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let accept = if stream { "text/event-stream" } else { "application/json" };
    headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    upstream.passing.add(envelope, headers);
    send_request(upstream, request, deadlines).await
}

/// Sends a request with the upstream's key and returns the head of a good answer.
pub(crate) async fn send_request(
    upstream: &Upstream,
    mut request: Request<Full<Bytes>>,
    deadlines: &Deadlines,
) -> Result<Response<Incoming>, Failure> {
    let headers = request.headers_mut();
    if let Some((name, value)) = &upstream.auth {
        headers.insert(name.clone(), value.clone());
    }
    let is_fixed = upstream.client.headers().contains_key("anthropic-version");
    if upstream.dialect == Dialect::Anthropic && !is_fixed && !headers.contains_key("anthropic-version") {
        let version = HeaderValue::from_static(anthropic::ANTHROPIC_VERSION);
        headers.insert("anthropic-version", version);
    }
    let until = deadlines.first_byte.min(deadlines.total);
    let response = match timeout_at(until.into(), upstream.client.request(request)).await {
        Err(_) => return Err(deadlines.first_byte_fault().into()),
        Ok(Err(error)) => return Err(fault_of(&error).into()),
        Ok(Ok(response)) => response,
    };
    if response.status() == StatusCode::OK {
        return Ok(response);
    }
    Err(read_refusal(response, deadlines).await)
}

/// What the reading of an answer needs to know of its call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) format: Format,
    pub(crate) endpoint: &'static dyn Endpoint,
    /// Whether a stream was asked for.
    pub(crate) stream: bool,
    /// How many answers were asked for.
    pub(crate) answers: usize,
}

/// An answer, whole or as a stream that has begun.
pub(crate) enum Received {
    Whole(WholeAnswer),
    Stream(Box<OpenStream>),
}

/// Reads an answer. Where a stream was asked for and the whole answer came, that is returned; where the whole answer was
/// asked for and a stream came, it is put together.
pub(crate) async fn receive(
    upstream: &Upstream,
    response: Response<Incoming>,
    asked: Asked,
    deadlines: Deadlines,
) -> Result<Received, BackendError> {
    let mut body = Body::new(response, upstream.settings, deadlines, upstream.memory.hold())?;
    let holds = body.holds().await?;
    let first_byte_us = deadlines.elapsed_us();
    let body = match holds {
        Holds::Events if asked.stream => {
            let stream = stream::open(body, asked, deadlines).await?;
            return Ok(Received::Stream(Box::new(stream)));
        }
        Holds::Events => AnswerBody::Typed(stream::put_together(body, asked, deadlines).await?),
        Holds::Whole => {
            let bytes = body.whole().await?;
            let read = bytes.clone();
            let read = move || asked.format.read_answer(read, asked.endpoint);
            match if bytes.len() < HEAVY_BYTES { read() } else { heavy(read).await } {
                Ok(body) => body,
                Err(ReadAnswerError::ErrorObject) => return Err(error_in_answer(&bytes)),
                Err(error) => {
                    let usage = UpstreamError::read(200, &bytes).usage;
                    return Err(BackendError::from(BackendFault::from(error)).with_usage(usage));
                }
            }
        }
    };
    Ok(Received::Whole(WholeAnswer { body, first_byte_us, retries: 0, notes: None }))
}
