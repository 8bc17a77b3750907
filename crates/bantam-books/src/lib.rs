//! The contract of the books: what every request did and cost, settled once and read back by anybody.
//!
//! [`Books`] is the side that writes and [`BooksReader`] the side that reads. The gateway and the commands know these
//! two traits and none of their forms: `bantam-ledger` keeps books in a file, [`MemoryBooks`] in this process. What a
//! form has to do is written as tests in the module `conformance`, which each of them passes.
//!
//! How requests are added up stands here, in [`Usage`], so that all forms count alike.
//!
//! **Invariant:** no byte of a prompt is kept unless the caller hands over an [`ExampleRecord`], or a
//! [`TemplateRecord`] with text in it.
//!
//! ```
//! use bantam_books::{GroupBy, GroupKey, Tally, TimeRange};
//!
//! let tally = Tally::new(TimeRange::ALL, GroupBy::None);
//! let rows = tally.into_rows();
//! assert_eq!(rows[0].key, GroupKey::All);
//! assert_eq!(rows[0].usage.requests, 0);
//! ```

mod block_on;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod entry;
mod filter;
mod histogram;
mod memory;
mod reader;
mod settle;
mod tally;
mod ticket;
mod usage;

pub use block_on::block_on;
pub use entry::{ExampleRecord, TemplateRecord};
pub use filter::{CallerFilter, Cursor, ParseCursorError, RequestFilter, RequestPage};
pub use histogram::{Bucket, Histogram};
pub use memory::MemoryBooks;
pub use reader::{BooksReader, Examples, Place, ReadError};
pub use settle::{Books, SettleError};
pub use tally::Tally;
pub use ticket::{DurableError, Ticket};
pub use usage::{
    GroupBy, GroupKey, Rung, Savings, TemplateUsage, TimeRange, Usage, UsageRow, deciding_attempt,
};

use std::pin::Pin;

/// A future that may be sent to another thread, as trait objects return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
