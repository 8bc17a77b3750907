//! The side that reads.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bantam_types::TaskName;

use crate::{
    BoxFuture, Cursor, ExampleRecord, GroupBy, GroupKey, RequestFilter, RequestPage, TemplateRecord,
    TemplateUsage, TimeRange, Usage, UsageRow,
};

/// Answers questions about books, also while somebody writes them. What was settled a moment ago may not be seen yet.
pub trait BooksReader: Send + Sync {
    /// Returns what the requests that arrived in `range` did and cost, one row a group, in the order of the keys.
    /// [`GroupBy::None`] always gives one row; see [`Usage`] for how a request with several attempts is split.
    ///
    /// # Errors
    /// When the books cannot be read.
    fn usage(&self, range: TimeRange, by: GroupBy) -> BoxFuture<'_, Result<Vec<UsageRow>, ReadError>>;

    /// Returns at most `limit` of the requests that pass `filter`, with their attempts, last settled first, and where
    /// the next page begins. `after` is the place where the page before ended.
    ///
    /// # Errors
    /// When the books cannot be read, or a row holds what no version wrote.
    fn requests(
        &self,
        filter: RequestFilter,
        after: Option<Cursor>,
        limit: u32,
    ) -> BoxFuture<'_, Result<RequestPage, ReadError>>;

    /// Returns all discovered templates, first seen first.
    ///
    /// # Errors
    /// When the books cannot be read.
    fn template_records(&self) -> BoxFuture<'_, Result<Vec<TemplateRecord>, ReadError>>;

    /// Returns at most `limit` recorded answers of a task after a place, in time order.
    ///
    /// # Errors
    /// When the books cannot be read.
    fn examples_after(
        &self,
        task: TaskName,
        after: Option<Place>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<ExampleRecord>, ReadError>>;
}

/// A place among a task's recorded answers: the one that was read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// When it was recorded, milliseconds since the Unix epoch.
    pub recorded_ms: i64,
    /// The request that was answered.
    pub request_id: u128,
}

impl dyn BooksReader + '_ {
    /// Returns every discovered template with its traffic in `range`, most requests first.
    ///
    /// # Errors
    /// As [`usage`](BooksReader::usage).
    pub async fn templates(&self, range: TimeRange) -> Result<Vec<TemplateUsage>, ReadError> {
        let rows = self.usage(range, GroupBy::Template).await?;
        let mut rows: BTreeMap<_, _> = rows.into_iter().map(|row| (row.key, row.usage)).collect();
        let with_usage = |record: TemplateRecord| {
            let usage = rows.remove(&GroupKey::Template(Some(record.template))).unwrap_or_default();
            TemplateUsage { record, usage }
        };
        let mut found: Vec<_> = self.template_records().await?.into_iter().map(with_usage).collect();
        found.sort_by_key(|template| std::cmp::Reverse(template.usage.requests));
        Ok(found)
    }

    /// Returns the sum over all requests that arrived in `range`.
    ///
    /// # Errors
    /// As [`usage`](BooksReader::usage).
    pub async fn total(&self, range: TimeRange) -> Result<Usage, ReadError> {
        let rows = self.usage(range, GroupBy::None).await?;
        Ok(rows.into_iter().next().map(|row| row.usage).unwrap_or_default())
    }

    /// Returns the recorded answers of a task in time order.
    ///
    /// They are read a page at a time: a long training run must not hold the books.
    pub fn examples(&self, task: TaskName) -> Examples<'_> {
        Examples { reader: self, task, after: None, page: VecDeque::new(), has_ended: false }
    }
}

/// The recorded answers of a task; see `examples` of [`BooksReader`].
pub struct Examples<'a> {
    reader: &'a dyn BooksReader,
    task: TaskName,
    after: Option<Place>,
    page: VecDeque<ExampleRecord>,
    has_ended: bool,
}

impl Examples<'_> {
    const PAGE: u32 = 256;

    /// Returns the next answer, `None` after the last one.
    ///
    /// # Errors
    /// When the books cannot be read. Nothing comes after an error.
    pub async fn next(&mut self) -> Result<Option<ExampleRecord>, ReadError> {
        if self.page.is_empty() && !self.has_ended {
            let page = self.reader.examples_after(self.task.clone(), self.after, Self::PAGE).await;
            self.has_ended = page.as_ref().map_or(true, Vec::is_empty);
            self.page = page?.into();
        }
        let next = self.page.pop_front();
        if let Some(example) = &next {
            self.after = Some(Place { recorded_ms: example.recorded_ms, request_id: example.request_id });
        }
        Ok(next)
    }
}

impl std::fmt::Debug for Examples<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Examples").field("task", &self.task).finish_non_exhaustive()
    }
}

/// Why a question to the books has no answer.
///
/// The cause is behind [`source`](std::error::Error::source) and not public as a type, so that another form of the
/// books does not break callers.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what}")]
pub struct ReadError {
    what: String,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl ReadError {
    /// Returns an error that says what could not be done, and why.
    pub fn new(what: impl Into<String>, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self { what: what.into(), source: Some(Arc::new(source)) }
    }

    /// Returns an error that says what could not be done.
    pub fn without_cause(what: impl Into<String>) -> Self {
        Self { what: what.into(), source: None }
    }
}
