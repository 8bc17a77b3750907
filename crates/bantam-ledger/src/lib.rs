//! The ledger: what every request did and cost, exactly once, whatever happens to the process.
//!
//! A settlement is appended to a *journal* with one `write`, after which the end of the process cannot
//! take it any more, and is *folded* from there into SQLite by a thread of its own, many in one
//! transaction. So the request path pays a few microseconds and never waits for the database; and
//! whatever the database does — slow, full, killed — the journal is the truth until the database says
//! that it has the row.
//!
//! ```text
//! settle → <path>.journal/N.journal → folder thread → <path> (SQLite) → LedgerReader
//!        ↘ flusher thread (fdatasync for everybody who waits; Acknowledge::PowerLoss only)
//! ```
//!
//! **Exactly once.** A record is acknowledged after it was written whole, a segment is deleted after
//! the transactions with all its rows were committed, and a row whose request id is there is not
//! inserted again. So a crash at any point leaves each acknowledged record in the journal, in the
//! database or in both, and replaying the journal makes that exactly one row. Request ids have to be
//! unique for ever; ids that begin with the time keep the database's index compact.
//!
//! **Invariant:** rows are inserted, never updated or deleted; a correction is a new row.
//! **Invariant:** no byte of a prompt is kept unless the caller hands over an [`ExampleRecord`] or a
//! [`TemplateRecord`] that holds it.
//! **Invariant:** only this crate knows SQL, and only its `format` module the journal's bytes.
//!
//! A good contribution here makes one of those sentences easier to believe. Anything that decides
//! (prices, budgets, what to record) belongs to a crate above.

mod entry;
mod error;
mod flush;
mod folder;
mod format;
mod journal;
mod ledger;
mod options;
mod reader;
mod recover;
mod store;
mod ticket;
mod usage;

pub use entry::{ExampleRecord, TemplateRecord};
pub use error::{CloseError, DatabaseError, FoldError, OpenError, QueryError, SettleError};
pub use flush::DurableError;
pub use format::DecodeError;
pub use journal::segment::JournalError;
pub use ledger::{Health, Ledger, Pressure};
pub use options::{Acknowledge, Damage, LedgerOptions};
pub use reader::{Examples, LedgerReader};
pub use recover::Recovered;
pub use ticket::{Durable, Ticket};
pub use usage::{GroupBy, GroupKey, Latency, RequestFilter, Savings, TemplateUsage, TimeRange, UsageRow};
