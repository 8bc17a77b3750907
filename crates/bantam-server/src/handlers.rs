//! One function an endpoint.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use bantam_backend::Residents;
use bantam_gateway::{Gateway, Hints};
use bantam_wire::{ApiError, ENDPOINTS, Endpoint, ErrorCode};
use futures_util::FutureExt;
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};

use crate::body::{self, BodyLimits};
use crate::envelope;
use crate::guard::Guard;
use crate::residents;
use crate::respond::{respond, respond_error, respond_error_of};
use crate::routes;
use crate::serve::ServerSettings;

/// What every handler shares.
pub(crate) struct App {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) guard: Guard,
    pub(crate) settings: ServerSettings,
    pub(crate) residents: Arc<dyn Residents>,
}

/// Returns the routes.
pub(crate) fn router(app: Arc<App>) -> Router {
    let answers = ENDPOINTS.iter().fold(Router::new(), |router, &endpoint| {
        let handler =
            async move |State(app): State<Arc<App>>, request: Request| answer(&app, endpoint, request).await;
        router.route(endpoint.path(), post(handler).fallback(wrong_method))
    });
    answers
        .route(routes::MODELS, get(list_models).fallback(wrong_method))
        .route(routes::MODEL, get(show_model).fallback(wrong_method))
        .route(routes::RESIDENTS, get(residents::list).fallback(wrong_method))
        .route(routes::UNLOAD, post(residents::unload).fallback(wrong_method))
        .route(routes::HEALTH, get(healthz).fallback(wrong_method))
        .route(routes::READY, get(readyz).fallback(wrong_method))
        .fallback(unknown_path)
        .with_state(app)
}

/// The way of a request, from HTTP and back.
async fn answer(app: &App, endpoint: &'static dyn Endpoint, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let caller = match app.guard.check_key(&head.headers) {
        Ok(caller) => caller,
        Err(error) => return respond_error_of(endpoint, &error),
    };
    let task = head
        .headers
        .get(routes::ASKED_TASK)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let earlier_tries = head
        .headers
        .get(routes::RETRY_COUNT)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .unwrap_or(0);
    let envelope = envelope::read(&head.headers, &app.gateway.deployment().forwarded_headers);
    let hints = Hints { task, caller, earlier_tries, envelope };
    let limits = BodyLimits {
        bytes_max: app.settings.body_bytes_max,
        timeout: app.settings.body_timeout,
        memory: &app.settings.memory,
    };
    let read = body::read(body, limits).await;
    let reply = async {
        match read {
            Ok(body) => app.gateway.answer(endpoint, body, hints).await,
            Err(error) => app.gateway.refuse(endpoint, hints, error).await,
        }
    };
    let reply = AssertUnwindSafe(reply).catch_unwind().await;
    match reply {
        Ok(reply) => respond(reply, &app.settings.memory),
        Err(_) => {
            // The panic hook has said where; what the request held is not repeated anywhere.
            tracing::error!("a request ended in a panic");
            let message = "a fault of Bantam's own; see its log";
            respond_error_of(endpoint, &ApiError::new(ErrorCode::Internal, "internal_error", message))
        }
    }
}

async fn list_models(State(app): State<Arc<App>>, request: Request) -> Response {
    if let Err(error) = app.guard.check_key(request.headers()) {
        return respond_error(&error);
    }
    let models: Vec<Value> = model_ids(&app).iter().map(|id| model_json(id)).collect();
    json_response(&json!({"object": "list", "data": models}))
}

async fn show_model(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    if let Err(error) = app.guard.check_key(request.headers()) {
        return respond_error(&error);
    }
    let Ok(Path(id)) = id else {
        let message = "the path is no UTF-8 once its escapes are resolved";
        return respond_error(&ApiError::new(ErrorCode::InvalidRequest, "invalid_path", message));
    };
    if model_ids(&app).contains(&id) {
        return json_response(&model_json(&id));
    }
    let shown: String = id.chars().take(80).collect();
    respond_error(&ApiError::new(
        ErrorCode::NotFound,
        "model_not_found",
        format!("there is no model `{shown}` here: GET /v1/models lists them"),
    ))
}

/// Returns everything that callers may name: models, tasks, and `auto` where it has a ladder.
fn model_ids(app: &App) -> Vec<String> {
    let deployment = app.gateway.deployment();
    let has_auto = !deployment.auto_ladder.is_empty();
    let auto = has_auto.then(|| "auto".to_owned());
    let aliases = deployment.auto_names.iter().filter(|_| has_auto).cloned();
    let models = deployment.models.keys().map(ToString::to_string);
    let tasks = deployment.tasks.keys().map(|task| format!("task/{task}"));
    auto.into_iter().chain(aliases).chain(models).chain(tasks).collect()
}

fn model_json(id: &str) -> Value {
    json!({"id": id, "object": "model", "created": 0, "owned_by": "bantam"})
}

async fn healthz() -> Response {
    json_response(&json!({"status": "alive"}))
}

async fn readyz(State(app): State<Arc<App>>) -> Response {
    if app.gateway.is_ready() {
        return json_response(&json!({"status": "ready"}));
    }
    let mut response =
        json_response(&json!({"status": "not ready", "reason": "the ledger cannot be written"}));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

async fn wrong_method(method: Method, request: Request) -> Response {
    let message = format!("{method} is not allowed on {}", request.uri().path());
    let mut response =
        respond_error(&ApiError::new(ErrorCode::MethodNotAllowed, "method_not_allowed", message));
    let methods = routes::methods(request.uri().path());
    if let Some(methods) = methods.and_then(|methods| HeaderValue::try_from(methods).ok()) {
        response.headers_mut().insert(header::ALLOW, methods);
    }
    response
}

async fn unknown_path(request: Request) -> Response {
    let path: String = request.uri().path().chars().take(80).collect();
    let known: Vec<String> = routes::all().iter().map(routes::Route::shown_path).collect();
    respond_error(&ApiError::new(
        ErrorCode::NotFound,
        "unknown_path",
        format!("there is no {path} here; there are {}", known.join(", ")),
    ))
}

pub(crate) fn json_response(value: &Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
