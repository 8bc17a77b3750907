//! From the gateway's reply to an HTTP response.

use axum::body::Body;
use axum::response::Response;
use bantam_backend::{HEAVY_BYTES, MemoryBudget};
use bantam_gateway::{Reply, ReplyBody};
use bantam_wire::{ApiError, Endpoint, ErrorCode, RoutingNote, openai};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::routes;

/// Returns the response for a reply.
///
/// What of it is in memory is counted until the caller has taken it.
pub(crate) fn respond(reply: Reply, memory: &MemoryBudget) -> Response {
    let endpoint = reply.endpoint;
    let mut response = match reply.body {
        ReplyBody::Whole(body) => with_type(counted(body, memory).into(), endpoint.media_type(false)),
        ReplyBody::Stream(items) => {
            let memory = memory.clone();
            let items = items.map(move |item| Ok::<_, std::convert::Infallible>(counted(item, &memory)));
            let body = Body::from_stream(items);
            let mut response = with_type(body, endpoint.media_type(true));
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        ReplyBody::Error(error) => respond_error_of(endpoint, &error),
    };
    let headers = response.headers_mut();
    put(headers, routes::REQUEST_ID, &RoutingNote::request_id_text(reply.request_id));
    if let Some(note) = &reply.note {
        put_note(headers, note);
    }
    response
}

/// Counts what is large enough to matter.
fn counted(bytes: Bytes, memory: &MemoryBudget) -> Bytes {
    if bytes.len() < HEAVY_BYTES { bytes } else { memory.count(bytes) }
}

/// Returns an error of a path that belongs to no dialect, in OpenAI's shape.
pub(crate) fn respond_error(error: &ApiError) -> Response {
    respond_error_of(openai::CHAT, error)
}

/// Returns an error in the shape of an endpoint's dialect.
pub(crate) fn respond_error_of(endpoint: &dyn Endpoint, error: &ApiError) -> Response {
    let mut response = with_type(Body::from(endpoint.error(error)), endpoint.media_type(false));
    *response.status_mut() =
        StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if let Some(seconds) = error.retry_after_s {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    // The official SDKs retry a 409 unless they are told not to; policy will not change its mind.
    let is_final = error.code == ErrorCode::PolicyConflict;
    if let Some(should_retry) = error.should_retry.or(is_final.then_some(false)) {
        put(headers, routes::SHOULD_RETRY, if should_retry { "true" } else { "false" });
    }
    if error.code == ErrorCode::BodyTimeout || error.slug == "memory_used_up" {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn put_note(headers: &mut HeaderMap, note: &RoutingNote) {
    if let Some(task) = &note.task {
        put(headers, routes::TASK, task.as_str());
    }
    put(headers, routes::TIER, note.tier.as_str());
    put(headers, routes::MODEL_NAME, &note.model);
    if let Some(confidence) = note.confidence {
        put(headers, routes::CONFIDENCE, &format!("{confidence:.4}"));
    }
    put(headers, routes::ESCALATED, &note.escalated_text());
    if let Some(cost) = note.cost {
        put(headers, routes::COST, &cost.to_string());
    }
}

fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

fn with_type(body: Body, kind: &'static str) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
