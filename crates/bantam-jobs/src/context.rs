//! What work sees of the job that it runs in.

use std::sync::Arc;

use bantam_types::Cancel;
use serde_json::Value;

use crate::error::JobError;
use crate::live::LiveJob;
use crate::record::{EventBody, JobId, JobProgress};

/// The job that some work runs in: where it reports progress, and learns that it is cancelled.
///
/// Reporting never waits for whoever watches: progress that nobody fetched is replaced by the next, and of many events
/// the oldest are dropped.
#[derive(Clone)]
pub struct JobContext {
    job: Arc<LiveJob>,
}

impl JobContext {
    pub(crate) const fn new(job: Arc<LiveJob>) -> Self {
        Self { job }
    }

    /// Returns the job's id.
    pub fn id(&self) -> &JobId {
        self.job.id()
    }

    /// Says how far the work is.
    pub fn progress(&self, progress: JobProgress) {
        self.job.progress(progress);
    }

    /// Tells people something.
    pub fn note(&self, text: impl Into<String>) {
        self.job.push(EventBody::Note { text: text.into() });
    }

    /// Tells people something that they should know before they trust the result.
    pub fn warn(&self, text: impl Into<String>) {
        self.job.push(EventBody::Warning { text: text.into() });
    }

    /// Tells a measurement or a step, in a shape that depends on the kind of job; at most 4 KiB.
    pub fn detail(&self, value: Value) {
        self.job.push(EventBody::Detail { value });
    }

    /// Returns whether the work is to stop.
    pub fn is_cancelled(&self) -> bool {
        self.job.is_cancelled()
    }

    /// Returns the request to stop, for work that looks at one between two steps.
    pub fn cancel_request(&self) -> Cancel {
        self.job.cancel_request().clone()
    }

    /// Ends the work where it is to stop.
    ///
    /// # Errors
    /// [`JobError::Cancelled`] when it is.
    pub fn check(&self) -> Result<(), JobError> {
        if self.is_cancelled() { Err(JobError::Cancelled) } else { Ok(()) }
    }

    /// Is ready when the work is to stop; never otherwise. Runs on any executor.
    pub async fn cancelled(&self) {
        let mut cancellation = self.job.cancellation();
        // The sender lives in the job, which this holds.
        let _ = cancellation.wait_for(|is_cancelled| *is_cancelled).await;
    }
}
