//! Ctrl-C, heard from the moment that somebody listens.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears every Ctrl-C from its creation on, also while nobody waits for it.
///
/// `tokio::signal::ctrl_c()` begins to listen when it is first polled. A Ctrl-C before that ends the process at
/// once, and leaves behind what it was to clean up.
pub(crate) struct Interrupts(Signal);

impl Interrupts {
    /// Begins to listen. Must be called within a runtime.
    ///
    /// # Errors
    /// When the system does not let the process listen.
    pub(crate) fn listen() -> io::Result<Self> {
        signal(SignalKind::interrupt()).map(Self)
    }

    /// Waits for the next Ctrl-C. Safe to drop and to call again.
    pub(crate) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
