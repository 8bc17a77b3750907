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
//! **Reading stays fast.** The transaction that inserts a request adds it to the sums of its hour and to the block of its
//! neighbours, so a report reads sums and a list reads what it lists.
//!
//! **Invariant:** the rows of requests are inserted and never changed; a correction is a new row. Only their
//! [`Retention`] removes them, the oldest first, and sums outlive them.
//! **Invariant:** no byte of a prompt is kept unless the caller hands over an
//! [`ExampleRecord`](bantam_books::ExampleRecord), or [`LedgerOptions::keep_prompt_previews`] is set.
//! **Invariant:** only this crate knows SQL, and only its `format` module the journal's bytes.
//!
//! A good contribution here makes one of those sentences easier to believe. Anything that decides
//! (prices, budgets, what to record) belongs to a crate above.

mod answer;
mod entry;
mod error;
mod flush;
mod folder;
mod format;
mod journal;
mod ledger;
mod options;
mod private;
mod reader;
mod recover;
mod store;
mod ticket;

pub use error::{CloseError, DatabaseError, FoldError, OpenError};
pub use format::DecodeError;
pub use journal::segment::JournalError;
pub use ledger::{Health, Ledger, Pressure};
pub use options::{Acknowledge, Damage, LedgerOptions, Retention};
pub use reader::LedgerReader;
pub use recover::Recovered;
