//! The reading side of a ledger.
//!
//! SQLite answers on the thread that asks and takes as long as it takes, so the connection belongs to a thread of its
//! own: whoever asks sends a question and waits as a future, on any runtime.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::Builder;

use bantam_books::{
    BooksReader, BoxFuture, Cursor, ExampleRecord, GroupBy, Place, ReadError, RequestFilter, RequestPage,
    TemplateRecord, TimeRange, UsageRow,
};
use bantam_types::TaskName;

use crate::answer;
use crate::error::{OpenError, QueryError};
use crate::store::SqliteReader;

/// How many questions may wait for the thread. It bounds what callers that ask faster than the disk answers can pile up.
const QUESTIONS_MAX: usize = 256;

type Question = Box<dyn FnOnce(&mut SqliteReader) + Send>;

/// Answers questions about a ledger, also while another process writes it.
///
/// It sees what was folded into the database: up to a few tens of milliseconds ago while the writer
/// runs. What a crashed writer left in the journal is seen only after it was started again.
///
/// Questions are answered one after the other; open several readers to ask several at once.
#[derive(Clone)]
pub struct LedgerReader {
    questions: SyncSender<Question>,
}

impl std::fmt::Debug for LedgerReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LedgerReader").finish_non_exhaustive()
    }
}

impl LedgerReader {
    /// Opens the ledger whose database is at `path`. Its thread ends with the last clone.
    ///
    /// # Errors
    /// When the file is missing, is not a ledger, or is of a version too old or too new.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let store = SqliteReader::open(path)?;
        let (questions, asked) = sync_channel(QUESTIONS_MAX);
        let thread = Builder::new().name("bantam-books".to_owned()).stack_size(1 << 20);
        thread.spawn(move || answer_all(store, &asked)).map_err(|source| OpenError::Thread { source })?;
        Ok(Self { questions })
    }

    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut SqliteReader) -> Result<T, QueryError> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, ReadError>> {
        let (answerer, answer) = answer::channel();
        let question: Question = Box::new(move |store| {
            if !answerer.is_forgotten() {
                answerer.answer(question(store));
            }
        });
        let sent = self.questions.try_send(question).map_err(|error| match error {
            TrySendError::Full(_) => ReadError::without_cause("too many questions wait for the ledger"),
            TrySendError::Disconnected(_) => ended(),
        });
        Box::pin(async move {
            sent?;
            let answer = answer.await.ok_or_else(ended)?;
            answer.map_err(|error| ReadError::new("the ledger cannot be read", error))
        })
    }
}

fn ended() -> ReadError {
    ReadError::without_cause("the ledger's reading thread has ended")
}

fn answer_all(mut store: SqliteReader, asked: &Receiver<Question>) {
    while let Ok(question) = asked.recv() {
        question(&mut store);
    }
}

impl BooksReader for LedgerReader {
    fn usage(&self, range: TimeRange, by: GroupBy) -> BoxFuture<'_, Result<Vec<UsageRow>, ReadError>> {
        self.ask(move |store| store.usage(range, by))
    }

    fn requests(
        &self,
        filter: RequestFilter,
        after: Option<Cursor>,
        limit: u32,
    ) -> BoxFuture<'_, Result<RequestPage, ReadError>> {
        self.ask(move |store| store.requests(&filter, after, limit))
    }

    fn template_records(&self) -> BoxFuture<'_, Result<Vec<TemplateRecord>, ReadError>> {
        self.ask(|store| store.templates())
    }

    fn examples_after(
        &self,
        task: TaskName,
        after: Option<Place>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<ExampleRecord>, ReadError>> {
        self.ask(move |store| store.examples(&task, after, limit))
    }
}
