//! What a caller gets for a settlement, and waits on when it has to survive a power loss.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::flush::{DurableError, Flusher};

/// Proof that a record is in the journal: it survives the end of the process from now on.
///
/// With [`Acknowledge::PowerLoss`](crate::Acknowledge::PowerLoss) the request may be acknowledged
/// only after [`durable`](Self::durable) or [`wait`](Self::wait); with
/// [`Acknowledge::ProcessCrash`](crate::Acknowledge::ProcessCrash) both are ready at once.
#[must_use = "a power loss may still take the record until the ticket was waited for"]
#[derive(Debug)]
pub struct Ticket {
    pending: Option<Pending>,
}

struct Pending {
    position: u64,
    flusher: Arc<Flusher>,
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").field("position", &self.position).finish_non_exhaustive()
    }
}

impl Ticket {
    /// Returns a ticket that waits for nothing.
    pub(crate) fn ready() -> Self {
        Self { pending: None }
    }

    /// Returns a ticket that waits until everything before `position` is synced.
    pub(crate) fn waiting(position: u64, flusher: Arc<Flusher>) -> Self {
        Self { pending: Some(Pending { position, flusher }) }
    }

    /// Returns a future that is ready when the record survives a power loss. It belongs to no
    /// runtime.
    pub fn durable(self) -> Durable {
        Durable { pending: self.pending, registered: false }
    }

    /// Blocks until the record survives a power loss.
    ///
    /// # Errors
    /// When the disk refused.
    pub fn wait(self) -> Result<(), DurableError> {
        self.pending.map_or(Ok(()), |pending| pending.flusher.wait(pending.position))
    }
}

/// Ready when a record survives a power loss; see [`Ticket::durable`].
#[must_use = "futures do nothing unless polled"]
#[derive(Debug)]
pub struct Durable {
    pending: Option<Pending>,
    registered: bool,
}

impl Future for Durable {
    type Output = Result<(), DurableError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(pending) = &self.pending else {
            return Poll::Ready(Ok(()));
        };
        let outcome = pending.flusher.poll(pending.position, context.waker());
        self.registered = outcome.is_pending();
        outcome
    }
}

impl Drop for Durable {
    fn drop(&mut self) {
        if let (Some(pending), true) = (&self.pending, self.registered) {
            pending.flusher.forget(pending.position);
        }
    }
}
