//! The jobs of a process, and those that other processes have in the same folder.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;

use crate::context::JobContext;
use crate::error::{CancelJobError, FindJobError, JobError, OpenJobsError, RecordError, SubmitJobError};
use crate::folder::JobFolder;
use crate::handle::JobHandle;
use crate::live::{Ending, LiveJob};
use crate::record::{FailureReason, JobFailure, JobId, JobList, JobRecord};

/// Bytes of a job's parameters at most.
const PARAMETERS_BYTES_MAX: usize = 64 << 10;
/// How often the folder is looked at for requests of other processes to cancel a job of this one.
const CANCEL_EVERY: Duration = Duration::from_millis(100);

/// How jobs are kept and run.
#[derive(Clone, Debug)]
pub struct JobsSettings {
    /// Where records are kept; the folder is created if it is missing.
    pub folder: PathBuf,
    /// How many jobs of this process run at once; at least 1.
    pub running_max: usize,
    /// How many wait; the next one is refused.
    pub queued_max: usize,
    /// How many records of ended jobs are kept; the oldest go.
    pub kept_max: usize,
}

impl JobsSettings {
    /// Returns settings for a folder: one job at a time, 16 that wait, 200 records.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, running_max: 1, queued_max: 16, kept_max: 200 }
    }
}

/// What is to be done: its kind and parameters are data, for whoever lists jobs.
#[derive(Clone, Debug, PartialEq)]
pub struct JobSpec {
    /// What kind of work it is, such as `pull`.
    pub kind: String,
    /// What was asked for. No prompts and no keys.
    pub parameters: Value,
}

type Work = Box<dyn FnOnce(&JobContext) -> Result<Value, JobError> + Send>;

/// The jobs of a process, and a view of those that other processes run in the same folder.
///
/// When the last clone and the last handle are dropped, jobs under way are cancelled and go on until they notice.
#[derive(Clone)]
pub struct Jobs(Arc<Shared>);

pub(crate) struct Shared {
    folder: JobFolder,
    settings: JobsSettings,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Jobs that wait or run.
    live: Vec<Arc<LiveJob>>,
    waiting: VecDeque<(Arc<LiveJob>, Work)>,
    /// Threads that run jobs.
    workers: usize,
    /// Whether a thread looks for requests to cancel.
    is_watched: bool,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        state.live.iter().for_each(|job| job.cancel());
        // Those that wait have nobody left to run them.
        state.waiting.drain(..).for_each(|(job, _)| job.end(Ending::Cancelled));
    }
}

impl Jobs {
    /// Opens the folder of jobs. Those that were running when their process ended are marked as interrupted.
    ///
    /// # Errors
    /// When the folder cannot be made, read or closed to others.
    pub fn open(settings: JobsSettings) -> Result<Self, OpenJobsError> {
        let folder = JobFolder::open(settings.folder.clone(), settings.kept_max)
            .map_err(|source| OpenJobsError { folder: settings.folder.clone(), source })?;
        Ok(Self(Arc::new(Shared { folder, settings, state: Mutex::default() })))
    }

    /// Submits work, which runs in a thread of its own once there is a place for it.
    ///
    /// # Errors
    /// When too many jobs wait already, or the job's record cannot be written. The work has not begun then.
    pub fn submit(
        &self,
        spec: JobSpec,
        work: impl FnOnce(&JobContext) -> Result<Value, JobError> + Send + 'static,
    ) -> Result<JobHandle, SubmitJobError> {
        let bytes = spec.parameters.to_string().len();
        if bytes > PARAMETERS_BYTES_MAX {
            return Err(SubmitJobError::ParametersTooLarge { bytes, max: PARAMETERS_BYTES_MAX });
        }
        let shared = &self.0;
        let mut state = shared.state.lock();
        let is_free = state.workers < shared.settings.running_max.max(1);
        if !is_free && state.waiting.len() >= shared.settings.queued_max {
            return Err(SubmitJobError::QueueFull { waiting: state.waiting.len() });
        }
        let job =
            Arc::new(shared.enter(spec).map_err(|source| SubmitJobError::Record {
                folder: shared.folder.path().to_owned(),
                source,
            })?);
        state.live.push(Arc::clone(&job));
        state.waiting.push_back((Arc::clone(&job), Box::new(work)));
        if is_free {
            if let Err(error) = Shared::start_worker(shared) {
                state.waiting.pop_back();
                state.live.pop();
                job.end(Ending::Failed(failed("the system gave no thread for the job")));
                return Err(SubmitJobError::Thread(error));
            }
            state.workers += 1;
        }
        if !state.is_watched {
            // Without this thread jobs run all the same; they cannot be cancelled from other processes.
            state.is_watched = watch(Arc::downgrade(shared)).is_ok();
        }
        Ok(JobHandle::new(job, Arc::clone(shared)))
    }

    /// Returns all jobs of the folder, the newest first; records that cannot be read are listed apart.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self) -> Result<JobList, OpenJobsError> {
        let shared = &self.0;
        let mut list = shared
            .folder
            .list()
            .map_err(|source| OpenJobsError { folder: shared.folder.path().to_owned(), source })?;
        // What this process runs, it knows better than the files.
        for job in &shared.state.lock().live {
            if let Some(record) = list.jobs.iter_mut().find(|record| record.id == *job.id()) {
                *record = job.record();
            }
        }
        Ok(list)
    }

    /// Returns a job, of this process or another.
    ///
    /// # Errors
    /// When there is no such job, or its record cannot be read.
    pub fn show(&self, id: &JobId) -> Result<JobRecord, FindJobError> {
        let shared = &self.0;
        if let Some(job) = shared.find(id) {
            return Ok(job.record());
        }
        let read = shared.folder.read_settled(id);
        let file = shared.folder.record_path(id);
        read.map_err(|source| FindJobError::Record { id: id.clone(), file, source })?
            .ok_or_else(|| FindJobError::Missing { id: id.clone() })
    }

    /// Asks whoever runs a job, this process or another, to cancel it. The work stops where it looks for that.
    ///
    /// # Errors
    /// When there is no such job, or it has ended.
    pub fn cancel(&self, id: &JobId) -> Result<(), CancelJobError> {
        if let Some(job) = self.0.find(id) {
            job.cancel();
            return Ok(());
        }
        let record = self.show(id)?;
        if record.state.is_over() {
            return Err(CancelJobError::Over { id: id.clone(), state: record.state });
        }
        self.0.folder.ask_to_cancel(id).map_err(|source| CancelJobError::Write { id: id.clone(), source })
    }

    /// Asks for a job to be cancelled like [`Self::cancel`], and returns its record once it has ended, or as it is when
    /// `patience` is at its end.
    ///
    /// # Errors
    /// When there is no such job, or it has ended.
    pub fn cancel_and_wait(&self, id: &JobId, patience: Duration) -> Result<JobRecord, CancelJobError> {
        self.cancel(id)?;
        let begin = Instant::now();
        loop {
            let record = self.show(id)?;
            if record.state.is_over() || begin.elapsed() > patience {
                return Ok(record);
            }
            std::thread::sleep(CANCEL_EVERY);
        }
    }

    /// Cancels all jobs of this process and waits for them, at most for `patience`; returns whether all have ended.
    pub fn close(&self, patience: Duration) -> bool {
        let live: Vec<_> = self.0.state.lock().live.clone();
        live.iter().for_each(|job| job.cancel());
        let begin = Instant::now();
        live.iter().all(|job| {
            while !job.record().state.is_over() {
                let left = patience.saturating_sub(begin.elapsed());
                if left.is_zero() {
                    return false;
                }
                job.wait_for_change(u64::MAX, left);
            }
            true
        })
    }
}

impl Shared {
    /// Takes an id for a job and writes its first record.
    fn enter(&self, spec: JobSpec) -> Result<LiveJob, RecordError> {
        loop {
            let mut bytes = JobId::random_bytes();
            getrandom::fill(&mut bytes).map_err(|error| RecordError::Io(std::io::Error::other(error)))?;
            let id = JobId::from_random(bytes);
            let Some(lock) = self.folder.claim(&id)? else { continue };
            let record = JobRecord::new(id, spec.kind, spec.parameters);
            if let Err(error) = self.folder.write(&lock, &record, true) {
                lock.release();
                return Err(error);
            }
            return Ok(LiveJob::new(record, lock, self.folder.clone()));
        }
    }

    fn find(&self, id: &JobId) -> Option<Arc<LiveJob>> {
        self.state.lock().live.iter().find(|job| job.id() == id).cloned()
    }

    /// Starts a thread that runs jobs until none waits.
    fn start_worker(shared: &Arc<Self>) -> std::io::Result<()> {
        let shared = Arc::downgrade(shared);
        let thread = std::thread::Builder::new().name("bantam-job".to_owned());
        thread.spawn(move || while run_next(&shared) {}).map(drop)
    }
}

/// Runs the job that has waited longest; returns whether there was one.
fn run_next(shared: &Weak<Shared>) -> bool {
    let Some(held) = shared.upgrade() else { return false };
    let next = {
        let mut state = held.state.lock();
        let next = state.waiting.pop_front();
        if next.is_none() {
            state.workers -= 1;
        }
        next
    };
    // The registry may go while the work runs.
    drop(held);
    let Some((job, work)) = next else { return false };
    run(&job, work);
    if let Some(shared) = shared.upgrade() {
        shared.state.lock().live.retain(|live| live.id() != job.id());
        if let Ok(list) = shared.folder.list() {
            shared.folder.prune(&list, shared.settings.kept_max);
        }
    }
    true
}

fn run(job: &Arc<LiveJob>, work: Work) {
    if job.is_cancelled() {
        return job.end(Ending::Cancelled);
    }
    job.start();
    let context = JobContext::new(Arc::clone(job));
    let ended = catch_unwind(AssertUnwindSafe(|| work(&context)));
    job.end(match ended {
        Ok(Ok(result)) => Ending::Done(result),
        Ok(Err(JobError::Cancelled)) => Ending::Cancelled,
        Ok(Err(JobError::Failed(failure))) => Ending::Failed(failure),
        Err(_) => Ending::Failed(failed("the job panicked: this is a bug in Bantam")),
    });
}

fn failed(message: &str) -> JobFailure {
    JobFailure { reason: FailureReason::Failed, message: message.to_owned(), hint: None }
}

/// Starts a thread that looks for requests of other processes to cancel jobs of this one.
fn watch(shared: Weak<Shared>) -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name("bantam-job-watch".to_owned());
    let look = move || {
        while let Some(shared) = shared.upgrade() {
            let live: Vec<_> = {
                let mut state = shared.state.lock();
                if state.live.is_empty() {
                    state.is_watched = false;
                    return;
                }
                state.live.clone()
            };
            live.iter().for_each(|job| job.look_for_cancel());
            drop((live, shared));
            std::thread::sleep(CANCEL_EVERY);
        }
    };
    thread.spawn(look).map(drop)
}
