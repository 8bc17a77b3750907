//! What a caller gets for a settlement, and waits on when it has to survive a power loss.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::{BoxFuture, block_on};

/// Why a record cannot be said to survive a power loss. It is kept all the same, survives the end of the process, and
/// will be read back unless the machine fails first.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the record cannot be written through to the disk")]
pub struct DurableError {
    /// Why.
    #[source]
    pub source: Arc<io::Error>,
}

/// Proof that a record is kept: it survives the end of the process from now on.
///
/// It is a future that ends when the record also survives a power loss, which is at once where nobody asked for that.
/// It belongs to no runtime.
#[must_use = "a power loss may still take the record until the ticket was waited for"]
pub struct Ticket {
    pending: Option<BoxFuture<'static, Result<(), DurableError>>>,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").field("is_ready", &self.pending.is_none()).finish()
    }
}

impl Ticket {
    /// Returns a ticket that waits for nothing.
    pub const fn ready() -> Self {
        Self { pending: None }
    }

    /// Returns a ticket that waits for `durable`.
    pub fn waiting(durable: impl Future<Output = Result<(), DurableError>> + Send + 'static) -> Self {
        Self { pending: Some(Box::pin(durable)) }
    }

    /// Blocks until the record survives a power loss. Not for threads that run futures.
    ///
    /// # Errors
    /// When the disk refused.
    pub fn wait(self) -> Result<(), DurableError> {
        block_on(self)
    }
}

impl Future for Ticket {
    type Output = Result<(), DurableError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.pending {
            Some(pending) => pending.as_mut().poll(context),
            None => Poll::Ready(Ok(())),
        }
    }
}
