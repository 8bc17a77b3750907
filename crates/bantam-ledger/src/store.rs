//! Where settlements end up: one connection writes, any number of others read.
//!
//! The one that writes is behind a trait, so that tests can make it fail.

mod blocks;
mod connection;
mod fold;
mod kinds;
mod older;
mod pages;
mod prices;
mod query;
mod retention;
mod rollup;
mod rollups;
mod row;
mod schema;
mod summaries;
#[cfg(test)]
pub(crate) mod tests;
mod usage;

use crate::entry::Entry;
use crate::error::{CloseError, DatabaseError};
pub(crate) use connection::{SqliteReader, SqliteStore, StoreOptions};

/// The writing side.
pub(crate) trait Store: Send {
    /// Adds all entries in one transaction that survives a power loss, or none of them. An entry
    /// that the store has is left as it is.
    fn fold(&mut self, entries: &[Entry]) -> Result<Folded, DatabaseError>;
    /// Moves a few rows of an older version, or removes a few of the oldest rows if the retention says so, or gives a
    /// little room back. Returns whether there may be more to do. It takes milliseconds.
    fn tidy(&mut self, now_ms: i64) -> Result<bool, DatabaseError>;
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
