//! A job of this process, while it waits and runs: its record in memory, and whoever watches it.

use std::time::{Duration, Instant};

use bantam_types::Cancel;
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use crate::folder::{JobFolder, JobLock};
use crate::record::{EventBody, JobFailure, JobId, JobProgress, JobRecord, JobState};

/// Progress is written to disk at most this often; a reader of the file sees nothing finer.
const SAVE_EVERY: Duration = Duration::from_millis(500);
/// Bytes of a result at most.
const RESULT_BYTES_MAX: usize = 1 << 20;
/// Bytes of one detail at most.
const DETAIL_BYTES_MAX: usize = 4 << 10;

/// A job of this process.
pub(crate) struct LiveJob {
    id: JobId,
    folder: JobFolder,
    state: Mutex<Inner>,
    changed: Condvar,
    cancel: watch::Sender<bool>,
    /// The same request, for work that computes and looks at it between two steps.
    request: Cancel,
}

struct Inner {
    record: JobRecord,
    /// Held until the job has ended.
    lock: Option<JobLock>,
    saved: Instant,
    /// Counts changes, so that watchers see whether there was one.
    changes: u64,
}

/// How work ended.
pub(crate) enum Ending {
    Done(serde_json::Value),
    Failed(JobFailure),
    Cancelled,
}

impl LiveJob {
    pub(crate) fn new(record: JobRecord, lock: JobLock, folder: JobFolder) -> Self {
        let id = record.id.clone();
        let inner = Inner { record, lock: Some(lock), saved: Instant::now(), changes: 0 };
        let (state, changed, cancel) = (Mutex::new(inner), Condvar::new(), watch::Sender::new(false));
        Self { id, folder, state, changed, cancel, request: Cancel::new() }
    }

    pub(crate) const fn id(&self) -> &JobId {
        &self.id
    }

    /// Returns the record as it is now.
    pub(crate) fn record(&self) -> JobRecord {
        self.state.lock().record.clone()
    }

    pub(crate) fn cancel(&self) {
        self.request.cancel();
        self.cancel.send_replace(true);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        *self.cancel.borrow()
    }

    pub(crate) const fn cancel_request(&self) -> &Cancel {
        &self.request
    }

    pub(crate) fn cancellation(&self) -> watch::Receiver<bool> {
        self.cancel.subscribe()
    }

    /// Cancels the job if somebody asked for that through the folder.
    pub(crate) fn look_for_cancel(&self) {
        if !self.is_cancelled() && self.folder.is_to_cancel(&self.id) {
            self.cancel();
        }
    }

    pub(crate) fn start(&self) {
        self.change(true, |record| record.change_state(JobState::Running));
    }

    pub(crate) fn push(&self, event: EventBody) {
        if let EventBody::Detail { value } = &event
            && value.to_string().len() > DETAIL_BYTES_MAX
        {
            self.change(false, |record| record.events_dropped += 1);
            return;
        }
        self.change(true, |record| record.push(event));
    }

    pub(crate) fn progress(&self, progress: JobProgress) {
        self.change(false, |record| record.progress = Some(progress));
    }

    /// Writes down how the job ended, and lets go of it.
    pub(crate) fn end(&self, ending: Ending) {
        let mut inner = self.state.lock();
        let state = match ending {
            Ending::Done(result) if result.to_string().len() > RESULT_BYTES_MAX => {
                inner.record.failure = Some(JobFailure {
                    reason: crate::FailureReason::Failed,
                    message: format!("the job's result has more than {RESULT_BYTES_MAX} bytes"),
                    hint: None,
                });
                JobState::Failed
            }
            Ending::Done(result) => {
                inner.record.result = Some(result);
                JobState::Done
            }
            Ending::Failed(failure) => {
                inner.record.failure = Some(failure);
                JobState::Failed
            }
            Ending::Cancelled => JobState::Cancelled,
        };
        inner.record.change_state(state);
        if let Some(lock) = inner.lock.take() {
            // Whoever waits for the job gets its result from memory, written down or not.
            let _ = self.folder.write(&lock, &inner.record, true);
            self.folder.forget_cancel(&self.id);
            lock.release();
        }
        inner.changes += 1;
        drop(inner);
        self.changed.notify_all();
    }

    /// Changes the record; writes it at once where that `matters`, and else now and then.
    fn change(&self, matters: bool, change: impl FnOnce(&mut JobRecord)) {
        let mut inner = self.state.lock();
        if inner.record.state.is_over() {
            return;
        }
        change(&mut inner.record);
        inner.changes += 1;
        if matters || inner.saved.elapsed() >= SAVE_EVERY {
            inner.saved = Instant::now();
            let Inner { record, lock, .. } = &*inner;
            if let Some(lock) = lock {
                // A full disk must not end the work; the record is written again at the next change.
                let _ = self.folder.write(lock, record, false);
            }
        }
        drop(inner);
        self.changed.notify_all();
    }

    /// Waits until there were more than `changes` changes, or the time is up; returns the record and the count then.
    pub(crate) fn wait_for_change(&self, changes: u64, timeout: Duration) -> (JobRecord, u64) {
        let mut inner = self.state.lock();
        if inner.changes <= changes && !inner.record.state.is_over() {
            self.changed.wait_for(&mut inner, timeout);
        }
        (inner.record.clone(), inner.changes)
    }

    /// Waits until the job has ended, and returns its record.
    pub(crate) fn wait(&self) -> JobRecord {
        let mut inner = self.state.lock();
        while !inner.record.state.is_over() {
            self.changed.wait(&mut inner);
        }
        inner.record.clone()
    }
}
