//! Ctrl-C, heard from the moment that somebody listens.

use std::io;

/// Hears every Ctrl-C from its creation on, also while nobody waits for it.
///
/// `tokio::signal::ctrl_c()` begins to listen when it is first polled. A Ctrl-C before that ends the process at
/// once, and leaves behind what it was to clean up.
pub(crate) struct Interrupts {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
    #[cfg(windows)]
    signal: tokio::signal::windows::CtrlC,
}

impl Interrupts {
    /// Begins to listen. Must be called within a runtime.
    ///
    /// # Errors
    /// When the system does not let the process listen.
    pub(crate) fn listen() -> io::Result<Self> {
        #[cfg(unix)]
        let signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
        #[cfg(windows)]
        let signal = tokio::signal::windows::ctrl_c()?;
        Ok(Self { signal })
    }

    /// Waits for the next Ctrl-C. Safe to drop and to call again.
    pub(crate) async fn next(&mut self) {
        if self.signal.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
