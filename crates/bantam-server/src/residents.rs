//! Models in this process's memory over HTTP: listing them, and unloading one.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use bantam_backend::{ResidentModel, Unload};
use bantam_wire::{ApiError, ErrorCode};
use http::StatusCode;
use serde_json::{Value, json};

use crate::handlers::{App, json_response};
use crate::respond::respond_error;

/// How long an unload waits for the requests that use the model, unless `wait_ms` says otherwise.
const WAIT: Duration = Duration::from_secs(30);
const WAIT_MS_MAX: u64 = 600_000;

/// `GET /api/ps`, in Ollama's shape with what Bantam knows beside.
pub(crate) async fn list(State(app): State<Arc<App>>, request: Request) -> Response {
    if let Err(error) = app.guard.check_key(request.headers()) {
        return respond_error(&error);
    }
    let models: Vec<Value> = app.residents.list().iter().map(shown).collect();
    json_response(&json!({ "models": models }))
}

fn shown(model: &ResidentModel) -> Value {
    let digest = model.identity.rsplit_once('@').map_or(&*model.identity, |(_, digest)| digest);
    // Ollama's clients want a time; one that never comes is far away.
    let expires_at = model.expires_at.as_deref().unwrap_or("9999-12-31T23:59:59Z");
    json!({
        "name": model.name, "model": model.name, "size": model.bytes, "size_vram": 0, "digest": digest,
        "details": {
            "parent_model": model.base.as_deref().unwrap_or_default(), "format": "", "family": "",
            "families": [], "parameter_size": "", "quantization_level": "",
        },
        "expires_at": expires_at, "context_length": model.context_tokens,
        "state": model.state, "leases": model.leases, "identity": model.identity,
        "shared_by": model.shared_by, "base": model.base, "stays": model.expires_at.is_none(),
    })
}

/// `POST /bantam/unload/NAME?wait_ms=N`.
pub(crate) async fn unload(
    State(app): State<Arc<App>>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    if let Err(error) = app.guard.check_key(request.headers()) {
        return respond_error(&error);
    }
    let Ok(Path(name)) = name else {
        let message = "the path is not UTF-8 once its escapes are resolved";
        return respond_error(&ApiError::new(ErrorCode::InvalidRequest, "invalid_path", message));
    };
    let wait = match wait_of(request.uri().query()) {
        Ok(wait) => wait,
        Err(error) => return respond_error(&error),
    };
    let shown: String = name.chars().take(80).collect();
    match app.residents.unload(&name, wait).await {
        Unload::Done => json_response(&json!({ "model": name, "status": "unloaded" })),
        Unload::NotLoaded => json_response(&json!({ "model": name, "status": "not loaded" })),
        Unload::Unknown => respond_error(&ApiError::new(
            ErrorCode::NotFound,
            "model_not_found",
            format!("there is no model `{shown}` here: GET /v1/models lists them"),
        )),
        Unload::Elsewhere => respond_error(&ApiError::new(
            ErrorCode::NotFound,
            "model_not_here",
            format!("the model `{shown}` runs on an upstream: only models with a `file` are in this process"),
        )),
        Unload::StillUsed { leases } => {
            let message = format!("{leases} requests still use `{shown}`: try again when they are done");
            let mut response = respond_error(&ApiError::new(ErrorCode::Busy, "model_in_use", message));
            *response.status_mut() = StatusCode::CONFLICT;
            response
        }
    }
}

fn wait_of(query: Option<&str>) -> Result<Duration, ApiError> {
    let Some(query) = query.filter(|query| !query.is_empty()) else { return Ok(WAIT) };
    let wait = query.strip_prefix("wait_ms=").and_then(|number| number.parse::<u64>().ok());
    wait.filter(|ms| *ms <= WAIT_MS_MAX).map(Duration::from_millis).ok_or_else(|| {
        let message = format!("the query is not `wait_ms=` with 0 to {WAIT_MS_MAX}");
        ApiError::new(ErrorCode::InvalidRequest, "invalid_query", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_bounded_and_has_a_default() {
        assert_eq!(wait_of(None).unwrap(), WAIT);
        assert_eq!(wait_of(Some("wait_ms=0")).unwrap(), Duration::ZERO);
        for bad in ["wait_ms=", "wait_ms=-1", "wait_ms=600001", "wait=5", "wait_ms=5&x=1"] {
            assert_eq!(wait_of(Some(bad)).unwrap_err().slug, "invalid_query", "{bad}");
        }
    }
}
