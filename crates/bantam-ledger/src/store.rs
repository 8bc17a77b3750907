//! Where settlements end up, behind two traits: one for the single writer, one for any number of
//! readers.
//!
//! They are two because they run on different threads over different connections, and so that a
//! reader cannot write even by mistake. A store for another database implements both.

mod connection;
mod fold;
mod query;
mod row;
mod schema;
#[cfg(test)]
pub(crate) mod tests;
mod usage;

use bantam_types::{Settlement, TaskName};

use crate::entry::{Entry, ExampleRecord, TemplateRecord};
use crate::error::{CloseError, DatabaseError, QueryError};
use crate::usage::{GroupBy, RequestFilter, TimeRange, UsageRow};
pub(crate) use connection::{SqliteReader, SqliteStore};

/// The writing side.
pub(crate) trait Store: Send {
    /// Adds all entries in one transaction that survives a power loss, or none of them. An entry
    /// that the store has is left as it is.
    fn fold(&mut self, entries: &[Entry]) -> Result<Folded, DatabaseError>;
    /// Brings everything into the main file and lets go of it.
    fn close(self: Box<Self>) -> Result<(), CloseError>;
}

/// What one fold added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Folded {
    /// Settlements that were new.
    pub(crate) settlements: u64,
    /// Settlements whose request was there.
    pub(crate) duplicates: u64,
}

/// The reading side.
pub(crate) trait Query: Send + Sync {
    /// See [`LedgerReader::usage`](crate::LedgerReader::usage).
    fn usage(&self, range: TimeRange, by: GroupBy) -> Result<Vec<UsageRow>, QueryError>;
    /// Returns all discovered templates, first seen first.
    fn templates(&self) -> Result<Vec<TemplateRecord>, QueryError>;
    /// Returns the newest requests that pass the filter, newest first.
    fn requests(&self, filter: &RequestFilter, limit: u32) -> Result<Vec<Settlement>, QueryError>;
    /// Returns the next examples of a task after a place, in time order.
    fn examples(&self, task: &TaskName, after: Place, limit: u32) -> Result<Vec<ExampleRecord>, QueryError>;
}

/// A place in a task's examples: the time and request of the last one that was read.
pub(crate) type Place = Option<(i64, u128)>;
