//! The reading side of a ledger.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use bantam_types::{Settlement, TaskName};

use crate::entry::ExampleRecord;
use crate::error::{OpenError, QueryError};
use crate::store::{Place, Query, SqliteReader};
use crate::usage::{GroupBy, GroupKey, RequestFilter, TemplateUsage, TimeRange, UsageRow};

/// Answers questions about a ledger, also while another process writes it.
///
/// It sees what was folded into the database: up to a few tens of milliseconds ago while the writer
/// runs. What a crashed writer left in the journal is seen only after it was started again.
pub struct LedgerReader {
    store: Box<dyn Query>,
}

impl std::fmt::Debug for LedgerReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LedgerReader").finish_non_exhaustive()
    }
}

impl LedgerReader {
    /// Opens the ledger whose database is at `path`.
    ///
    /// # Errors
    /// When there is none, or the file is something else or too new.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Ok(Self { store: Box::new(SqliteReader::open(path)?) })
    }

    /// Returns what the requests that arrived in `range` did and cost, one row a group, in the order
    /// of the keys. [`GroupBy::None`] always gives one row; see [`UsageRow`] for how a request with
    /// several attempts is split.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn usage(&self, range: TimeRange, by: GroupBy) -> Result<Vec<UsageRow>, QueryError> {
        self.store.usage(range, by)
    }

    /// Returns every discovered template with its traffic in `range`, most requests first.
    /// `usage(range, GroupBy::Task)` says the same of configured tasks.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn templates(&self, range: TimeRange) -> Result<Vec<TemplateUsage>, QueryError> {
        let rows = self.store.usage(range, GroupBy::Template)?;
        let mut rows: BTreeMap<_, _> = rows.into_iter().map(|row| (row.key.clone(), row)).collect();
        let with_usage = |record: crate::entry::TemplateRecord| {
            let key = GroupKey::Template(Some(record.template));
            let usage = rows.remove(&key).unwrap_or_else(|| UsageRow::empty(key));
            TemplateUsage { record, usage }
        };
        let mut found: Vec<_> = self.store.templates()?.into_iter().map(with_usage).collect();
        found.sort_by_key(|template| std::cmp::Reverse(template.usage.requests));
        Ok(found)
    }

    /// Returns the requests that pass `filter` with their attempts, last settled first, at most
    /// `limit`.
    ///
    /// # Errors
    /// When the database refuses, or a row holds what no version wrote.
    pub fn requests(&self, filter: &RequestFilter, limit: u32) -> Result<Vec<Settlement>, QueryError> {
        self.store.requests(filter, limit)
    }

    /// Returns one request with its attempts.
    ///
    /// # Errors
    /// As [`requests`](Self::requests).
    pub fn request(&self, request_id: u128) -> Result<Option<Settlement>, QueryError> {
        let filter = RequestFilter { request_id: Some(request_id), ..RequestFilter::default() };
        Ok(self.store.requests(&filter, 1)?.pop())
    }

    /// Returns the recorded answers of a task in time order.
    ///
    /// They are read a page at a time, each in a transaction of its own: a long training run must not
    /// hold a read transaction open, which would keep the writer's log from being brought in.
    pub fn examples<'a>(&'a self, task: &TaskName) -> Examples<'a> {
        Examples { reader: self, task: task.clone(), after: None, page: VecDeque::new(), ended: false }
    }
}

/// The recorded answers of a task; see [`LedgerReader::examples`].
#[derive(Debug)]
pub struct Examples<'a> {
    reader: &'a LedgerReader,
    task: TaskName,
    after: Place,
    page: VecDeque<ExampleRecord>,
    ended: bool,
}

impl Examples<'_> {
    const PAGE: u32 = 256;
}

impl Iterator for Examples<'_> {
    type Item = Result<ExampleRecord, QueryError>;

    /// Returns the next answer. An error is the last item.
    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty() && !self.ended {
            match self.reader.store.examples(&self.task, self.after, Self::PAGE) {
                Ok(page) => self.page = page.into(),
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        let next = self.page.pop_front();
        match &next {
            Some(example) => self.after = Some((example.recorded_ms, example.request_id)),
            None => self.ended = true,
        }
        next.map(Ok)
    }
}
