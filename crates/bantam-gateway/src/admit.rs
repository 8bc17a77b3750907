//! Admission: how many requests are worked on, how many may wait, and what the rest are told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bantam_wire::{ApiError, ErrorCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many requests there may be at a time.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionLimits {
    /// Being worked on.
    pub running_max: usize,
    /// Waiting for their turn.
    pub waiting_max: usize,
}

/// The queue before the gateway: bounded, first come first served.
pub(crate) struct Admission {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
}

impl Admission {
    pub(crate) fn new(limits: AdmissionLimits) -> Self {
        Self {
            places: Arc::new(Semaphore::new(limits.running_max)),
            waiting: AtomicUsize::new(0),
            waiting_max: limits.waiting_max,
        }
    }

    /// Waits for a place; it is held until the permit is dropped.
    pub(crate) async fn enter(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let _waiting = Waiting::begin(&self.waiting, self.waiting_max).ok_or_else(|| {
            ApiError::new(ErrorCode::Busy, "queue_full", "too many requests are waiting: retry in a moment")
                .retry_after(1)
        })?;
        Arc::clone(&self.places).acquire_owned().await.map_err(|_| {
            ApiError::new(ErrorCode::Unavailable, "shutting_down", "the gateway is shutting down")
                .retry_after(1)
        })
    }
}

/// Counts one waiter, also when it gives up.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize, max: usize) -> Option<Self> {
        let waiting = Self(count);
        let before = count.fetch_add(1, Ordering::Relaxed);
        (before < max).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_refuses_and_a_leaver_frees_its_place() {
        let admission = Arc::new(Admission::new(AdmissionLimits { running_max: 1, waiting_max: 1 }));
        let first = admission.enter().await.unwrap();
        let waiter = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.enter().await.map(drop) }
        });
        while admission.waiting.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(admission.enter().await.unwrap_err().code, ErrorCode::Busy);
        waiter.abort();
        let _ = waiter.await;
        assert_eq!(admission.waiting.load(Ordering::Relaxed), 0);
        drop(first);
        drop(admission.enter().await.unwrap());
    }
}
