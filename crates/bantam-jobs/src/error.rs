//! What goes wrong with jobs.

use std::io;
use std::path::PathBuf;

use crate::record::{JobFailure, JobId, JobState};

/// How work ends when it has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobError {
    /// It noticed that it was cancelled, and stopped.
    Cancelled,
    /// It failed.
    Failed(JobFailure),
}

impl From<JobFailure> for JobError {
    fn from(failure: JobFailure) -> Self {
        Self::Failed(failure)
    }
}

/// Why a record could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// What the system said.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Longer than any record.
    #[error("it has {bytes} bytes, more than any job's record")]
    TooLong {
        /// Its length.
        bytes: u64,
    },
    /// Not a record.
    #[error("not a job's record")]
    Shape(#[from] serde_json::Error),
    /// Another version of Bantam wrote it.
    #[error("it has format version {found}, and this program reads version {supported}")]
    Version {
        /// What it says.
        found: u64,
        /// What is read.
        supported: u32,
    },
}

/// Why the folder of jobs cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the folder of jobs {}", .folder.display())]
pub struct OpenJobsError {
    /// The folder.
    pub folder: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// Why a job was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitJobError {
    /// Too many jobs wait already.
    #[error("{waiting} jobs are waiting already")]
    QueueFull {
        /// How many wait.
        waiting: usize,
    },
    /// The parameters are too large to be kept.
    #[error("the job's parameters have {bytes} bytes; at most {max} are kept")]
    ParametersTooLarge {
        /// Their length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// No thread could be started.
    #[error("cannot start a thread for the job")]
    Thread(#[source] io::Error),
    /// The record could not be written.
    #[error("cannot write the job's record in {}", .folder.display())]
    Record {
        /// The folder of jobs.
        folder: PathBuf,
        /// Why.
        #[source]
        source: RecordError,
    },
}

/// Why a job cannot be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FindJobError {
    /// There is no such job.
    #[error("there is no job `{id}`")]
    Missing {
        /// The id that was asked for.
        id: JobId,
    },
    /// Its record cannot be read.
    #[error("cannot read the record of the job `{id}`, {}", .file.display())]
    Record {
        /// The job.
        id: JobId,
        /// The record's file.
        file: PathBuf,
        /// Why.
        #[source]
        source: RecordError,
    },
}

/// Why a job was not cancelled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CancelJobError {
    /// It cannot be found.
    #[error(transparent)]
    Find(#[from] FindJobError),
    /// It has ended already.
    #[error("the job `{id}` has ended already: {state}")]
    Over {
        /// The job.
        id: JobId,
        /// How it ended.
        state: JobState,
    },
    /// The request to cancel could not be written.
    #[error("cannot ask for the job `{id}` to be cancelled")]
    Write {
        /// The job.
        id: JobId,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}
