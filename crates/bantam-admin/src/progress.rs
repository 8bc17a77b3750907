//! Progress of work that tells of every step.

use std::time::{Duration, Instant};

use bantam_jobs::{JobContext, JobProgress};

/// How often a job's progress changes at most.
const EVERY: Duration = Duration::from_millis(50);

/// Tells a job's progress, however often the work does, no more often than people can read it.
pub(crate) struct PacedProgress<'c> {
    context: &'c JobContext,
    told: Option<Instant>,
}

impl<'c> PacedProgress<'c> {
    pub(crate) const fn new(context: &'c JobContext) -> Self {
        Self { context, told: None }
    }

    /// Tells how far the work is, unless that was told a moment ago and there is more to come.
    pub(crate) fn tell(&mut self, progress: JobProgress) {
        let is_last = progress.total == Some(progress.done);
        if is_last || self.told.is_none_or(|told| told.elapsed() >= EVERY) {
            self.told = Some(Instant::now());
            self.context.progress(progress);
        }
    }
}
