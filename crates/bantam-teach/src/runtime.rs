//! Waiting for a language model's answers on the thread of the work that asks.

use std::future::Future;

/// Runs `work` to its end on this thread. It must not be a thread of another runtime.
///
/// # Errors
/// When no runtime can be started.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    Ok(runtime.block_on(work))
}
