//! One connection: HTTP/1.1 with timed reads, each request through the guard.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tower_service::Service;

use crate::cors;
use crate::handlers::App;
use crate::respond::respond_error;
use crate::timed_io::{BusyBody, Phase, TimedIo};

/// The largest head of a request.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Serves `socket` in a task of its own among `connections`.
pub(crate) fn spawn(
    connections: &mut JoinSet<()>,
    socket: TcpStream,
    place: OwnedSemaphorePermit,
    app: Arc<App>,
    router: Router,
    graceful: &GracefulShutdown,
) {
    if socket.set_nodelay(true).is_err() {
        return;
    }
    let phase = Phase::new();
    let io = TimedIo::new(socket, Arc::clone(&phase), app.settings.header_timeout, app.settings.idle_timeout);
    let service = service_fn(move |request: Request<Incoming>| {
        let busy = phase.begin();
        let app = Arc::clone(&app);
        let router = router.clone();
        async move {
            let response = handle(&app, router, request).await;
            Ok::<_, Infallible>(response.map(|body| BusyBody::new(body, busy)))
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(io), service);
    let connection = graceful.watch(connection);
    connections.spawn(async move {
        // A connection that breaks or times out says so to its client by closing; there is nobody to tell.
        let _ = connection.await;
        drop(place);
    });
}

async fn handle(app: &App, mut router: Router, request: Request<Incoming>) -> Response {
    let page = app.guard.check_origin(request.headers()).map(Option::<&HeaderValue>::cloned);
    let host = app.guard.check_host(request.headers());
    let preflight = if matches!(page, Ok(Some(_))) { cors::answer_preflight(&request) } else { None };
    let mut response = match (host, &page, preflight) {
        (Err(error), _, _) => respond_error(&error),
        (Ok(()), Err(error), _) => respond_error(error),
        (Ok(()), Ok(_), Some(response)) => response,
        (Ok(()), Ok(_), None) => {
            let Ok(response) = router.call(request.map(Body::new)).await;
            response
        }
    };
    cors::add_headers(&mut response, &page, app.guard.has_origins());
    response
}
