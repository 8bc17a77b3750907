//! A submitted job, for whoever watches it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::live::LiveJob;
use crate::record::{JobEvent, JobId, JobProgress, JobRecord, JobState};
use crate::registry::Shared;

/// How long a look at a job waits for news.
const LOOK: Duration = Duration::from_millis(100);

/// A job of this process.
#[derive(Clone)]
pub struct JobHandle {
    job: Arc<LiveJob>,
    /// Whoever watches a job keeps it running.
    _jobs: Arc<Shared>,
    /// Changes that were seen.
    changes: u64,
    /// The number of the last event that was seen.
    last_event: u64,
}

/// What changed since a watcher last looked.
#[derive(Clone, Debug, PartialEq)]
pub struct JobUpdate {
    /// Where the job stands.
    pub state: JobState,
    /// How far it is.
    pub progress: Option<JobProgress>,
    /// New events, oldest first; those that were dropped meanwhile are missing.
    pub events: Vec<JobEvent>,
}

impl JobHandle {
    pub(crate) const fn new(job: Arc<LiveJob>, jobs: Arc<Shared>) -> Self {
        Self { job, _jobs: jobs, changes: 0, last_event: 0 }
    }

    /// Returns the job's id.
    pub fn id(&self) -> &JobId {
        self.job.id()
    }

    /// Waits for the next change, at most for `timeout`; returns what is new, which may be nothing. Once the job has
    /// ended it returns at once.
    pub fn next(&mut self, timeout: Duration) -> JobUpdate {
        let (record, changes) = self.job.wait_for_change(self.changes, timeout);
        self.changes = changes;
        let seen = self.last_event;
        let events: Vec<JobEvent> = record.events.into_iter().filter(|event| event.number > seen).collect();
        self.last_event = events.last().map_or(seen, |event| event.number);
        JobUpdate { state: record.state, progress: record.progress, events }
    }

    /// Tells `hear` of every change until the job has ended, and returns its record.
    ///
    /// `wants_out` is asked now and then how often somebody has said that the job is to stop. Once cancels it. Whoever says
    /// it twice, or has waited for `patience` since then, is not kept waiting: the record is that of a job that still runs.
    pub fn follow(
        &mut self,
        patience: Option<Duration>,
        wants_out: &dyn Fn() -> u32,
        hear: &mut dyn FnMut(JobUpdate),
    ) -> JobRecord {
        let mut cancelled: Option<Instant> = None;
        loop {
            let update = self.next(LOOK);
            let is_over = update.state.is_over();
            hear(update);
            let times = wants_out();
            if times > 0 && cancelled.is_none() {
                self.cancel();
                cancelled = Some(Instant::now());
            }
            let waited = cancelled.zip(patience);
            let has_waited = waited.is_some_and(|(cancelled, patience)| cancelled.elapsed() > patience);
            if is_over || times > 1 || has_waited {
                return self.record();
            }
        }
    }

    /// Asks the work to stop. It stops where it looks for that; until then it runs on.
    pub fn cancel(&self) {
        self.job.cancel();
    }

    /// Returns the job's record as it is now.
    pub fn record(&self) -> JobRecord {
        self.job.record()
    }

    /// Waits until the job has ended, and returns its record.
    pub fn wait(&self) -> JobRecord {
        self.job.wait()
    }
}
