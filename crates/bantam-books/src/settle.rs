//! The side that writes.

use std::io;
use std::sync::Arc;

use bantam_types::Settlement;

use crate::{ExampleRecord, TemplateRecord, Ticket};

/// Books that are open for writing. All methods may be called from any thread and take microseconds: none waits for
/// a database.
pub trait Books: Send + Sync {
    /// Records a request, together with its answer to learn from, both or neither. When this returns, the end of the
    /// process cannot take it any more; whether it also survives a power loss, the ticket says.
    ///
    /// A request whose id is there already is not recorded again. The example holds prompt text. It is kept because it
    /// is given: whether a task wants that is decided by the caller.
    ///
    /// # Errors
    /// When it was not recorded. Nothing of it was kept then, and the request must not be acknowledged.
    fn settle(&self, settlement: &Settlement, example: Option<&ExampleRecord>)
    -> Result<Ticket, SettleError>;

    /// Records a discovered template. One that the books have stays as it is.
    ///
    /// # Errors
    /// As [`settle`](Self::settle).
    fn record_template(&self, record: &TemplateRecord) -> Result<Ticket, SettleError>;

    /// Returns whether new requests should be let in. It is cheap enough to ask for each of them, before any backend
    /// is asked and money is spent.
    fn is_writable(&self) -> bool;
}

/// Why a settlement was not recorded. In every case nothing of it was kept, and the request must not be acknowledged.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettleError {
    /// The store is too far behind the journal. Nothing was written.
    #[error("the ledger is behind: {backlog_bytes} bytes wait for the database")]
    Behind {
        /// How much waits.
        backlog_bytes: u64,
    },
    /// The record is larger than any may be.
    #[error("the record takes {bytes} bytes, more than a record may have")]
    TooLarge {
        /// How much it takes.
        bytes: usize,
    },
    /// The books were closed.
    #[error("the ledger is closed")]
    Closed,
    /// The journal cannot be written.
    #[error("the journal cannot be written")]
    Journal {
        /// Why.
        source: Arc<io::Error>,
    },
}
