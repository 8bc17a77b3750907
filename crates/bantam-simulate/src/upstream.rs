//! The server: a listener on loopback and the requests it has received.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::connection;
use crate::script::{Behaviour, Received};

/// A simulated upstream; it stops when it is dropped.
pub struct SimulatedUpstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// State that all connections share.
pub(crate) struct Shared {
    pub(crate) script: Box<dyn Fn(&Received) -> Behaviour + Send + Sync>,
    pub(crate) received: Mutex<Vec<Received>>,
    pub(crate) count: AtomicU64,
    pub(crate) keep: bool,
}

impl SimulatedUpstream {
    /// Starts a server on a free loopback port that answers by `script` and keeps the requests it receives.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start(
        script: impl Fn(&Received) -> Behaviour + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        Self::listen(Box::new(script), true).await
    }

    /// Like [`start`](Self::start), but only counts requests.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start_forgetful(
        script: impl Fn(&Received) -> Behaviour + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        Self::listen(Box::new(script), false).await
    }

    async fn listen(
        script: Box<dyn Fn(&Received) -> Behaviour + Send + Sync>,
        keep: bool,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared =
            Arc::new(Shared { script, received: Mutex::new(Vec::new()), count: AtomicU64::new(0), keep });
        let accepting = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                let mut connections = tokio::task::JoinSet::new();
                while let Ok((socket, _)) = listener.accept().await {
                    connections.spawn(connection::serve(socket, Arc::clone(&shared)));
                    while connections.try_join_next().is_some() {}
                }
            }
        });
        Ok(Self { address, shared, accepting })
    }

    /// Returns the address to configure: `http://127.0.0.1:PORT/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Returns the number of requests received.
    pub fn count(&self) -> u64 {
        self.shared.count.load(Ordering::SeqCst)
    }

    /// Returns the requests received.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().clone()
    }

    /// Returns whether the head or body of any request contains `needle`.
    pub fn holds(&self, needle: &str) -> bool {
        self.shared.received.lock().iter().any(|request| {
            request.head.contains(needle)
                || request.body.windows(needle.len().max(1)).any(|window| window == needle.as_bytes())
        })
    }
}

impl Drop for SimulatedUpstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
