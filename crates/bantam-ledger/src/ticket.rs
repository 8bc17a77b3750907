//! What a ticket waits for.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bantam_books::{DurableError, Ticket};

use crate::flush::Flusher;

/// Returns a ticket that waits until everything before `position` is synced.
pub(crate) fn waiting(position: u64, flusher: Arc<Flusher>) -> Ticket {
    Ticket::waiting(Durable { position, flusher, registered: false })
}

/// Ready when everything before a position survives a power loss.
struct Durable {
    position: u64,
    flusher: Arc<Flusher>,
    registered: bool,
}

impl Future for Durable {
    type Output = Result<(), DurableError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = self.flusher.poll(self.position, context.waker());
        self.registered = outcome.is_pending();
        outcome
    }
}

impl Drop for Durable {
    fn drop(&mut self) {
        if self.registered {
            self.flusher.forget(self.position);
        }
    }
}
