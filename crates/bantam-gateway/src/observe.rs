//! Who else sees a finished request: one bounded queue off the caller's path.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use bantam_books::ExampleRecord;
use bantam_types::Settlement;

/// A request that was settled.
#[derive(Clone, Debug, PartialEq)]
pub struct FinishedRequest {
    /// What the books keep of it.
    pub settlement: Settlement,
    /// What was kept to learn from, where its task records answers.
    pub example: Option<ExampleRecord>,
}

/// Sees every finished request: for metrics, logs, audits.
pub trait Observer: Send {
    /// Looks at one request. It runs on the observers' own thread, so it may take its time; while it does, requests
    /// wait in the queue, and those that find it full are dropped and counted. An observer that panics is taken off.
    fn observe(&mut self, finished: &FinishedRequest);
}

/// The observers of a gateway. Dropping them waits until they have seen what is in the queue.
#[derive(Default)]
pub struct Observers {
    queue: Option<SyncSender<FinishedRequest>>,
    thread: Option<JoinHandle<()>>,
    dropped: Arc<AtomicU64>,
}

impl Observers {
    /// Starts a thread for `observers` and a queue of `places` before it.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(observers: Vec<Box<dyn Observer>>, places: usize) -> std::io::Result<Self> {
        if observers.is_empty() {
            return Ok(Self::default());
        }
        let (queue, waiting) = sync_channel(places);
        let thread = Builder::new().name("bantam-observe".to_owned());
        let thread = thread.spawn(move || show_all(observers, &waiting))?;
        Ok(Self { queue: Some(queue), thread: Some(thread), dropped: Arc::default() })
    }

    /// Returns how many requests no observer saw because the queue was full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Queues a request, or drops and counts it. Never waits.
    pub(crate) fn tell(&self, settlement: Settlement, example: Option<ExampleRecord>) {
        if let Some(queue) = &self.queue
            && queue.try_send(FinishedRequest { settlement, example }).is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Observers {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the observers' thread ended by a panic");
        }
    }
}

fn show_all(mut observers: Vec<Box<dyn Observer>>, waiting: &Receiver<FinishedRequest>) {
    while let Ok(finished) = waiting.recv() {
        observers.retain_mut(|observer| {
            let seen = std::panic::catch_unwind(AssertUnwindSafe(|| observer.observe(&finished)));
            if seen.is_err() {
                tracing::error!("an observer of finished requests panicked and was taken off");
            }
            seen.is_ok()
        });
    }
}
