//! Reading a request's body up to a limit and in time.

use std::time::Duration;

use axum::body::Body;
use bantam_wire::{ApiError, ErrorCode};
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;

/// Reads the whole body.
pub(crate) async fn read(body: Body, bytes_max: usize, timeout: Duration) -> Result<Bytes, ApiError> {
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large(bytes_max));
    }
    // A body that is already here needs no timer.
    let mut body = body;
    let first = tokio::time::timeout(timeout, collect(&mut body, bytes_max));
    match first.await {
        Ok(read) => read,
        Err(_) => Err(ApiError::new(
            ErrorCode::BodyTimeout,
            "body_timeout",
            format!("the body did not arrive within {} ms", timeout.as_millis()),
        )),
    }
}

async fn collect(body: &mut Body, bytes_max: usize) -> Result<Bytes, ApiError> {
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            ApiError::new(
                ErrorCode::InvalidRequest,
                "incomplete_body",
                "the body ended before its announced end",
            )
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if first.as_ref().map_or(0, Bytes::len) + rest.len() + data.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
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

fn too_large(bytes_max: usize) -> ApiError {
    ApiError::new(
        ErrorCode::TooLarge,
        "request_too_large",
        format!("the body is larger than {bytes_max} bytes: shorten it, or raise `server.body_bytes_max`"),
    )
}
