//! The requests of HTTP/2 connections: a task for each, and an end to those whose caller takes no more of the answer.
//!
//! Over HTTP/1.1 a caller that does not read blocks its connection, and the connection's own time limit ends it. Over HTTP/2
//! the connection goes on for the other requests, and the caller only leaves one stream without room: then that stream
//! alone is reset.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The largest part of an answer that is handed over at once: more would leave this side's hands before the caller has
/// made room for it.
pub(crate) const PART_BYTES_MAX: usize = 64 << 10;

tokio::task_local! {
    /// How far the answer of the stream that is worked on has come.
    static PROGRESS: Arc<Progress>;
}

/// Spawns the streams of all connections, and knows them until they end.
#[derive(Clone)]
pub(crate) struct StreamTasks {
    tasks: Arc<Mutex<JoinSet<()>>>,
    write_timeout: Duration,
}

impl StreamTasks {
    pub(crate) fn new(write_timeout: Duration) -> Self {
        Self { tasks: Arc::default(), write_timeout }
    }

    /// Ends whatever still runs, and returns when it has ended.
    pub(crate) async fn end(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.shutdown().await;
    }
}

impl<F> hyper::rt::Executor<F> for StreamTasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        let progress = Arc::new(Progress::new());
        let stalled = Arc::clone(&progress).stalled(self.write_timeout);
        let stream = PROGRESS.scope(progress, stream);
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            // Dropped, the stream is reset.
            tokio::select! {
                _ = stream => {}
                () = stalled => {}
            }
        });
    }
}

/// Whether an answer waits for its caller, and since when.
pub(crate) struct Progress {
    made: Instant,
    /// Milliseconds since `made` at which a part was handed over and after which no other was asked for; 0 while the next
    /// part is awaited.
    handed_ms: AtomicU64,
}

impl Progress {
    fn new() -> Self {
        Self { made: Instant::now(), handed_ms: AtomicU64::new(0) }
    }

    /// Returns that of the stream that is worked on; none over HTTP/1.1.
    pub(crate) fn of_stream() -> Option<Arc<Self>> {
        PROGRESS.try_with(Arc::clone).ok()
    }

    /// Notes that a part is asked for: the caller has room.
    pub(crate) fn asked(&self) {
        self.handed_ms.store(0, Ordering::Relaxed);
    }

    /// Notes that a part was handed over.
    pub(crate) fn handed(&self) {
        self.handed_ms.store(self.elapsed_ms().max(1), Ordering::Relaxed);
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Is ready once no part was asked for in as long a time.
    async fn stalled(self: Arc<Self>, limit: Duration) {
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).max(1);
        loop {
            let handed_ms = self.handed_ms.load(Ordering::Relaxed);
            let waited_ms = if handed_ms == 0 { 0 } else { self.elapsed_ms().saturating_sub(handed_ms) };
            let Some(left_ms) = limit_ms.checked_sub(waited_ms).filter(|left_ms| *left_ms > 0) else {
                return;
            };
            pin!(tokio::time::sleep(Duration::from_millis(left_ms))).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(40);

    #[tokio::test]
    async fn only_who_is_handed_a_part_and_asks_for_no_other_stalls() {
        let progress = Arc::new(Progress::new());
        let stalled =
            |progress: &Arc<Progress>| tokio::time::timeout(LIMIT * 4, Arc::clone(progress).stalled(LIMIT));
        assert!(stalled(&progress).await.is_err(), "the answer is awaited");
        progress.handed();
        progress.asked();
        assert!(stalled(&progress).await.is_err(), "the caller reads on");
        progress.handed();
        assert!(stalled(&progress).await.is_ok());
    }
}
