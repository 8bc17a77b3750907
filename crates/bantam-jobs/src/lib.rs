//! Long work as jobs: each has an id, reports progress, can be cancelled, and leaves a result that survives a restart.
//!
//! [`Jobs`] runs work in threads of its own, a bounded number at a time. Each job is one small JSON file, a
//! [`JobRecord`], in a folder that any number of processes may share: a command line that pulls a model and a gateway
//! that trains one see each other's jobs and can cancel them.
//!
//! What the work is, this crate does not know. Whoever submits a job passes a closure that takes a [`JobContext`] and
//! returns a JSON value; its kind and its parameters are data for whoever lists jobs later.
//!
//! **Invariant:** a job that nobody runs is never shown as running. Whoever runs a job holds a lock on a file beside
//! its record, which the system releases when the process ends, however it ends; a live record without that lock
//! becomes `interrupted`.
//!
//! **Invariant:** everything is bounded: jobs that run and wait, events and bytes of a record, records kept.
//!
//! **Invariant:** records are readable by their owner alone (files 0600 in a folder 0700). They hold what was asked and
//! what came of it, never a prompt or a key; submitters keep to that.

mod context;
mod error;
mod folder;
mod handle;
mod live;
mod private;
mod record;
mod registry;

pub use context::JobContext;
pub use error::{CancelJobError, FindJobError, JobError, OpenJobsError, RecordError, SubmitJobError};
pub use handle::{JobHandle, JobUpdate};
pub use private::{create_private_folder, write_private_file};
pub use record::{
    DamagedRecord, EventBody, FailureReason, JobEvent, JobFailure, JobId, JobList, JobProgress, JobRecord,
    JobState, ParseJobIdError,
};
pub use registry::{JobSpec, Jobs, JobsSettings};
