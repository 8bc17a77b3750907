//! Group commit: one thread that makes the journal survive a power loss for everybody who waits.
//!
//! A sync takes about as long for one record as for a thousand, so all records that were appended
//! while one sync ran share the next. Tickets are answered by position: a sync that began after the
//! record was appended covers it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::task::{Poll, Waker};

use bantam_books::DurableError;
use parking_lot::{Condvar, Mutex};

use crate::journal::Journal;

/// What the callers and the syncing thread share.
pub(crate) struct Flusher {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    requested: u64,
    /// Everything before was tried: synced, or noted in `failure`.
    tried: u64,
    /// The positions that were not synced when they should have been, as one range. Two failures
    /// become one range with what lay between: whoever asks so late for a record between them is
    /// told less than is true, never more.
    failure: Option<(std::ops::Range<u64>, Arc<io::Error>)>,
    wakers: BTreeMap<u64, Waker>,
    closing: bool,
}

impl State {
    fn outcome(&self, position: u64) -> Poll<Result<(), DurableError>> {
        if self.tried < position {
            return Poll::Pending;
        }
        match &self.failure {
            // A position names the end of a record, so it lies in the range that ends with it.
            Some((range, source)) if range.start < position && position <= range.end => {
                Poll::Ready(Err(DurableError { source: Arc::clone(source) }))
            }
            _ => Poll::Ready(Ok(())),
        }
    }

    fn note(&mut self, position: u64, result: Result<(), io::Error>) {
        if let Err(error) = result {
            let start = self.failure.as_ref().map_or(self.tried, |(range, _)| range.start);
            self.failure = Some((start..position, Arc::new(error)));
        }
        self.tried = self.tried.max(position);
    }
}

impl Flusher {
    /// Returns the shared part of a flusher that has nothing to do yet.
    pub(crate) fn new() -> Self {
        Self { state: Mutex::default(), work: Condvar::new() }
    }

    /// Asks for everything before `position` to be synced soon.
    pub(crate) fn request(&self, position: u64) {
        let mut state = self.state.lock();
        state.requested = state.requested.max(position);
        drop(state);
        self.work.notify_one();
    }

    /// Returns how the sync of `position` ended; wakes `waker` when it has not.
    pub(crate) fn poll(&self, position: u64, waker: &Waker) -> Poll<Result<(), DurableError>> {
        let mut state = self.state.lock();
        let outcome = state.outcome(position);
        if outcome.is_pending() {
            state.wakers.insert(position, waker.clone());
        }
        outcome
    }

    /// Forgets whom to wake for `position`.
    pub(crate) fn forget(&self, position: u64) {
        self.state.lock().wakers.remove(&position);
    }

    /// Returns why a sync failed, if one ever did.
    pub(crate) fn failure(&self) -> Option<Arc<io::Error>> {
        self.state.lock().failure.as_ref().map(|(_, error)| Arc::clone(error))
    }

    /// Makes the thread sync what is left and end.
    pub(crate) fn close(&self) {
        self.state.lock().closing = true;
        self.work.notify_one();
    }

    /// Syncs whenever somebody asked, until [`close`](Self::close).
    pub(crate) fn run(&self, journal: &Journal) {
        loop {
            let mut state = self.state.lock();
            while state.requested <= state.tried && !state.closing {
                self.work.wait(&mut state);
            }
            let last = state.closing;
            drop(state);
            self.sync(journal);
            if last {
                return;
            }
        }
    }

    fn sync(&self, journal: &Journal) {
        let unsynced = journal.take_unsynced();
        let files = unsynced.files.iter().try_for_each(|file| file.sync());
        let result =
            files.and_then(|()| if unsynced.directory_changed { journal.sync_directory() } else { Ok(()) });
        if result.is_err() {
            // A system may call the pages of a failed sync clean, so that a second sync "succeeds"
            // without them. Nothing more goes into that file.
            journal.rotate();
        }
        let mut state = self.state.lock();
        state.note(unsynced.position, result);
        let later = state.wakers.split_off(&(unsynced.position + 1));
        let ready = std::mem::replace(&mut state.wakers, later);
        drop(state);
        ready.into_values().for_each(Waker::wake);
    }
}
