//! Accepting connections until told to stop, then draining them.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bantam_backend::{MemoryBudget, Residents};
use bantam_gateway::Gateway;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::connection;
use crate::guard::Guard;
use crate::handlers::{App, router};
use crate::streams::StreamTasks;

/// Connections at a time; further ones wait in the system's backlog.
const CONNECTIONS_MAX: usize = 16_384;

/// How long connections are still accepted after a stop: those that the system has made before it.
const BACKLOG_TIME: Duration = Duration::from_millis(50);

/// Limits of the server.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Bytes of a request's body.
    pub body_bytes_max: usize,
    /// How long a request's head may take to arrive.
    pub header_timeout: Duration,
    /// How long a request's body may take to arrive.
    pub body_timeout: Duration,
    /// How long a caller may take no byte of an answer.
    pub write_timeout: Duration,
    /// What bodies and answers take of the memory.
    pub memory: MemoryBudget,
    /// How long a connection may lie idle between requests.
    pub idle_timeout: Duration,
    /// How long requests may go on after a stop was asked for.
    pub drain_timeout: Duration,
}

/// Serves until `stop` is ready, then lets requests under way finish within the drain time-out and ends the
/// rest: on return nothing is under way, so every request has been settled.
///
/// # Errors
/// Only when the listener itself is broken; a connection that breaks is its own affair.
pub async fn serve(
    listener: TcpListener,
    gateway: Arc<Gateway>,
    guard: Guard,
    settings: ServerSettings,
    residents: Arc<dyn Residents>,
    stop: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let drain_timeout = settings.drain_timeout;
    let app = Arc::new(App { gateway, guard, settings, residents });
    let router = router(Arc::clone(&app));
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    let streams = StreamTasks::new(app.settings.write_timeout);
    let spawn = |connections: &mut JoinSet<()>, socket, place| {
        let (app, router) = (Arc::clone(&app), router.clone());
        connection::spawn((connections, &streams), socket, place, app, router, &graceful);
    };
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let (socket, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: waiting is better than giving up.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        spawn(&mut connections, socket, place);
    }
    // Closing the listener cuts off whoever connected before the stop and was not accepted yet.
    let backlog = async {
        while let Ok((socket, place)) = accept(&listener, &places).await {
            spawn(&mut connections, socket, place);
        }
    };
    let _ = tokio::time::timeout(BACKLOG_TIME, backlog).await;
    drop(listener);
    if tokio::time::timeout(drain_timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not finish within the drain time-out");
    }
    connections.shutdown().await;
    streams.end().await;
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(std::io::Error::other)?;
    let (socket, _) = listener.accept().await?;
    Ok((socket, place))
}
