//! One connection: HTTP/1.1, or HTTP/2 with prior knowledge, with timed reads and writes, each request through the guard.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tower_service::Service;

use crate::cors;
use crate::handlers::App;
use crate::respond::respond_error;
use crate::streams::{Progress, StreamTasks};
use crate::timed_io::{BusyBody, Phase, TimedIo};

/// The largest head of a request.
const HEAD_BYTES_MAX: u32 = 64 * 1024;

/// How many requests one HTTP/2 connection may have under way.
const STREAMS_MAX: u32 = 128;

/// How many requests a caller may take back before they were looked at; one more, and the connection ends. Without this,
/// opening and resetting streams would cost a caller nothing and the server everything (CVE-2023-44487).
const RESETS_MAX: usize = 20;

/// How many bytes of a request's body, and of all bodies of an HTTP/2 connection, may come before they are asked for.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 512 << 10;

/// How often an HTTP/2 connection is asked whether it lives, and how long the answer may take.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves `socket` in a task of its own among `connections`.
pub(crate) fn spawn(
    (connections, streams): (&mut JoinSet<()>, &StreamTasks),
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
    let io = TimedIo::new(socket, Arc::clone(&phase), &app.settings);
    let service = service_fn(move |request: Request<Incoming>| {
        let busy = phase.begin();
        let app = Arc::clone(&app);
        let router = router.clone();
        async move {
            let response = handle(&app, router, request).await;
            Ok::<_, Infallible>(response.map(|body| BusyBody::new(body, busy, Progress::of_stream())))
        }
    });
    let builder = builder(streams.clone());
    let connection = builder.serve_connection(TokioIo::new(io), service).into_owned();
    let connection = graceful.watch(connection);
    connections.spawn(async move {
        // A connection that breaks or times out says so to its client by closing; there is nobody to tell.
        let _ = connection.await;
        drop(place);
    });
}

fn builder(streams: StreamTasks) -> auto::Builder<StreamTasks> {
    let mut builder = auto::Builder::new(streams);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(HEAD_BYTES_MAX as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

async fn handle(app: &App, mut router: Router, request: Request<Incoming>) -> Response {
    let page = app.guard.check_origin(request.headers()).map(Option::<&HeaderValue>::cloned);
    let host = app.guard.check_host(&request);
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
