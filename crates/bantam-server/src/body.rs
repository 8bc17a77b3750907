//! Reading a request's body up to a limit and in time.

use std::time::Duration;

use axum::body::Body;
use bantam_backend::{HeldMemory, MemoryBudget};
use bantam_wire::{ApiError, ErrorCode};
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt;

/// How many times the bytes of a body are in memory until its answer is there: as they came, as they are read (at most
/// 2.1 times as many, measured), and as they are sent on.
const TIMES_HELD: usize = 4;

/// How long a body waits for memory.
const MEMORY_PATIENCE: Duration = Duration::from_secs(1);

/// How a body is read.
#[derive(Clone, Copy)]
pub(crate) struct BodyLimits<'l> {
    pub(crate) bytes_max: usize,
    pub(crate) timeout: Duration,
    pub(crate) memory: &'l MemoryBudget,
}

/// Reads the whole body. It takes its part of the memory as it arrives, and gives it back when the last part of it is
/// dropped.
///
/// # Errors
/// When it is too large, does not arrive in time, ends early, or finds no memory.
pub(crate) async fn read(body: Body, limits: BodyLimits<'_>) -> Result<Bytes, ApiError> {
    let BodyLimits { bytes_max, timeout, .. } = limits;
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large(bytes_max));
    }
    tokio::time::timeout(timeout, collect(body, limits)).await.unwrap_or_else(|_| {
        Err(ApiError::new(
            ErrorCode::BodyTimeout,
            "body_timeout",
            format!("the body did not arrive within {} ms", timeout.as_millis()),
        ))
    })
}

async fn collect(mut body: Body, limits: BodyLimits<'_>) -> Result<Bytes, ApiError> {
    let mut held = limits.memory.hold();
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            ApiError::new(
                ErrorCode::InvalidRequest,
                "incomplete_body",
                "the body ended before its announced end",
            )
        })?;
        let Ok(data) = frame.into_data() else { continue };
        let bytes = first.len().max(whole.len()) + data.len();
        if bytes > limits.bytes_max {
            return Err(too_large(limits.bytes_max));
        }
        take_memory(&mut held, bytes).await?;
        // Most bodies arrive in one piece, which is then used without a copy.
        if first.is_empty() {
            first = data;
            continue;
        }
        if whole.is_empty() {
            whole.extend_from_slice(&first);
        }
        whole.extend_from_slice(&data);
    }
    let body = if whole.is_empty() { first } else { whole.freeze() };
    Ok(held.until_dropped(body))
}

async fn take_memory(held: &mut HeldMemory, bytes: usize) -> Result<(), ApiError> {
    let bytes = bytes.saturating_mul(TIMES_HELD);
    if held.try_grow_to(bytes).is_ok() {
        return Ok(());
    }
    tokio::time::timeout(MEMORY_PATIENCE, held.grow_to(bytes)).await.map_err(|_| {
        ApiError::new(
            ErrorCode::Unavailable,
            "memory_used_up",
            "the memory for requests and answers is used up (`server.memory`): retry in a moment",
        )
        .retry_after(1)
    })
}

fn too_large(bytes_max: usize) -> ApiError {
    ApiError::new(
        ErrorCode::TooLarge,
        "request_too_large",
        format!("the body is larger than {bytes_max} bytes: shorten it, or raise `server.body_bytes_max`"),
    )
}
