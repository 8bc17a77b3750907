//! What a scheduler has done.

use crate::prefix::PrefixStatistics;

/// What has happened since a scheduler was started, and how things were after its last step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedulerStatistics {
    /// Requests that wait for their first step.
    pub waiting: usize,
    /// Requests that have pages.
    pub running: usize,
    /// Requests that wait for pages that they lost.
    pub preempted: usize,
    /// Pages that nobody holds, not even the prefix cache.
    pub free_pages: usize,
    /// Steps of the model.
    pub steps: u64,
    /// Tokens that went through the model.
    pub tokens_computed: u64,
    /// Tokens that were generated.
    pub tokens_generated: u64,
    /// Requests that were answered.
    pub answered: u64,
    /// Requests that failed or were too late.
    pub failed: u64,
    /// Requests whose callers left.
    pub cancelled: u64,
    /// Times that a request lost its pages to an older one.
    pub preemptions: u64,
    /// What the prefix cache has saved.
    pub prefix: PrefixStatistics,
}
