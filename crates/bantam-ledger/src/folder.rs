//! The thread that brings the journal into the store.
//!
//! It sleeps until something is appended, gathers for a moment so that one transaction takes many
//! records, and folds until it has caught up. A failure leaves everything in the journal: it is noted,
//! and tried again, ever more slowly.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex};

use crate::error::FoldError;
use crate::journal::Journal;
use crate::journal::segment::{JournalError, SegmentReader};
use crate::store::Store;

/// A backlog this long is folded at once.
const GATHERED_BYTES: u64 = 256 << 10;
/// The pause after the first failure. It doubles with each that follows.
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// The longest pause.
const RETRY_LAST: Duration = Duration::from_secs(5);
/// How often the store is tidied up while rows are kept for a time.
const TIDY_INTERVAL: Duration = Duration::from_secs(60);
/// The backlog that wakes nobody.
const NEVER: u64 = u64::MAX;

/// What callers and the thread share.
pub(crate) struct FoldStatus {
    /// The backlog at which an append has to wake the thread. One comparison is all that an append
    /// pays while the thread is busy or gathering.
    wake_at: AtomicU64,
    thread: OnceLock<Thread>,
    closing: AtomicBool,
    /// Somebody waits: no gathering.
    hurry: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Default)]
struct State {
    settlements: u64,
    duplicates: u64,
    failures: u64,
    failure: Option<Arc<FoldError>>,
    ended: bool,
}

/// Counts and the present failure.
pub(crate) struct FoldReport {
    pub(crate) settlements: u64,
    pub(crate) duplicates: u64,
    pub(crate) failure: Option<Arc<FoldError>>,
}

impl FoldStatus {
    /// Returns the status of a thread that has not started.
    pub(crate) fn new() -> Self {
        Self {
            wake_at: AtomicU64::new(NEVER),
            thread: OnceLock::new(),
            closing: AtomicBool::new(false),
            hurry: AtomicBool::new(false),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Says whom to wake.
    pub(crate) fn started(&self, thread: &Thread) {
        let _ = self.thread.set(thread.clone());
    }

    /// Wakes the thread if the backlog is worth it.
    pub(crate) fn note_appended(&self, journal: &Journal) {
        let wake_at = self.wake_at.load(SeqCst);
        if wake_at != NEVER && journal.backlog_bytes() >= wake_at && self.wake_at.swap(NEVER, SeqCst) != NEVER
        {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Makes the thread fold what is left of a closed journal and end.
    pub(crate) fn close(&self) {
        self.closing.store(true, SeqCst);
        self.wake();
    }

    /// Waits until everything before `position` is in the store, or folding fails.
    pub(crate) fn wait(&self, journal: &Journal, position: u64) -> Result<(), Arc<FoldError>> {
        let mut state = self.state.lock();
        let failures = state.failures;
        while journal.folded() < position {
            if state.ended {
                return Err(Arc::new(FoldError::Ended));
            }
            if let (Some(failure), true) = (&state.failure, state.failures > failures) {
                return Err(Arc::clone(failure));
            }
            self.hurry.store(true, SeqCst);
            self.wake();
            self.changed.wait(&mut state);
        }
        Ok(())
    }

    /// Returns counts and the present failure.
    pub(crate) fn report(&self) -> FoldReport {
        let State { settlements, duplicates, failure, .. } = self.state.lock().clone();
        FoldReport { settlements, duplicates, failure }
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.changed.notify_all();
    }

    fn is_urgent(&self) -> bool {
        self.closing.load(SeqCst) || self.hurry.load(SeqCst)
    }
}

/// Returns the time of day, milliseconds since the Unix epoch.
fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Tells waiters that nobody folds any more, also after a panic.
struct Ended<'s>(&'s FoldStatus);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.update(|state| state.ended = true);
    }
}

/// The thread's own part.
pub(crate) struct Folder {
    journal: Arc<Journal>,
    status: Arc<FoldStatus>,
    store: Box<dyn Store>,
    pace: Pace,
    reader: Option<(u64, SegmentReader)>,
    /// When the store is tidied up again, if ever.
    next_tidy: Option<Instant>,
}

/// When the thread does what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// How long it gathers before it folds.
    pub(crate) interval: Duration,
    /// Whether rows are kept for a time only: then the store is tidied up again and again, and not just once.
    pub(crate) retains: bool,
}

impl Folder {
    /// Returns a folder at the beginning of a journal.
    pub(crate) fn new(
        journal: Arc<Journal>,
        status: Arc<FoldStatus>,
        store: Box<dyn Store>,
        pace: Pace,
    ) -> Self {
        Self { journal, status, store, pace, reader: None, next_tidy: Some(Instant::now()) }
    }

    /// Folds until the status says to close. Returns the store, and why not everything is in it.
    pub(crate) fn run(mut self) -> (Box<dyn Store>, Result<(), Arc<FoldError>>) {
        let status = Arc::clone(&self.status);
        let _ended = Ended(&status);
        let mut pause = RETRY_FIRST;
        loop {
            // Looked at first: the journal is closed before this is set, so the pass after it is the
            // last that can find anything.
            let closing = status.closing.load(SeqCst);
            status.hurry.store(false, SeqCst);
            let mut result = self.catch_up().map_err(Arc::new);
            if result.is_ok() && !closing {
                result = self.tidy().map_err(Arc::new);
            }
            status.update(|state| {
                state.failures += u64::from(result.is_err());
                state.failure = result.as_ref().err().cloned();
            });
            if closing {
                return (self.store, result);
            }
            if result.is_ok() {
                pause = RETRY_FIRST;
                self.gather();
            } else {
                self.park_until(Instant::now() + pause, NEVER);
                pause = (pause * 2).min(RETRY_LAST);
            }
        }
    }

    /// Tidies the store up, step by step, until there is no more to do or something waits to be folded. One step is
    /// always taken, so that it comes to an end under any load.
    fn tidy(&mut self) -> Result<(), FoldError> {
        while self.next_tidy.is_some_and(|next| next <= Instant::now()) {
            if !self.store.tidy(unix_ms())? {
                self.next_tidy = self.pace.retains.then(|| Instant::now() + TIDY_INTERVAL);
            }
            if self.journal.backlog_bytes() > 0 || self.status.is_urgent() {
                break;
            }
        }
        Ok(())
    }

    fn catch_up(&mut self) -> Result<(), FoldError> {
        while let Some(extent) = self.journal.oldest() {
            let reader = self.reader_of(extent.number)?;
            if reader.offset() < extent.length {
                self.fold_batch(extent.length)?;
            } else if extent.sealed {
                self.reader = None;
                let path = self.journal.path(extent.number);
                let removed = self.journal.remove_oldest(extent.number);
                removed.map_err(|source| FoldError::Remove { path, source })?;
            } else {
                break;
            }
        }
        Ok(())
    }

    fn reader_of(&mut self, number: u64) -> Result<&mut SegmentReader, FoldError> {
        let reader = match self.reader.take() {
            Some((open, reader)) if open == number => reader,
            _ => {
                let path = self.journal.path(number);
                let reader = SegmentReader::open(&path)?;
                reader.ok_or(JournalError::Cut { path, offset: 0 })?
            }
        };
        Ok(&mut self.reader.insert((number, reader)).1)
    }

    fn fold_batch(&mut self, end: u64) -> Result<(), FoldError> {
        let Some((number, reader)) = &mut self.reader else {
            return Ok(());
        };
        let batch = reader.batch(end)?;
        if batch.entries.is_empty() {
            let path = self.journal.path(*number);
            return Err(JournalError::Cut { path, offset: reader.offset() }.into());
        }
        let folded = self.store.fold(&batch.entries)?;
        reader.advance(&batch);
        self.journal.note_folded(batch.bytes);
        self.status.update(|state| {
            state.settlements += folded.settlements;
            state.duplicates += folded.duplicates;
            state.failure = None;
        });
        Ok(())
    }

    /// Sleeps until there is something, and a little longer for more of it.
    fn gather(&self) {
        self.status.wake_at.store(1, SeqCst);
        while self.journal.backlog_bytes() == 0 && !self.status.is_urgent() {
            let Some(next_tidy) = self.next_tidy else {
                thread::park();
                continue;
            };
            let left = next_tidy.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::park_timeout(left);
        }
        self.park_until(Instant::now() + self.pace.interval, GATHERED_BYTES);
    }

    /// Sleeps until a time, a backlog, or until somebody is in a hurry.
    fn park_until(&self, deadline: Instant, backlog_bytes: u64) {
        self.status.wake_at.store(backlog_bytes, SeqCst);
        while self.journal.backlog_bytes() < backlog_bytes && !self.status.is_urgent() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            thread::park_timeout(left);
        }
        self.status.wake_at.store(NEVER, SeqCst);
    }
}
