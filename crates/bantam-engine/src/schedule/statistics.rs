//! Counters of a scheduler.

use crate::prefix::PrefixStatistics;

/// Counts since the scheduler started, and its state after the last step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedulerStatistics {
    /// Requests waiting for their first step.
    pub waiting: usize,
    /// Requests that hold pages.
    pub running: usize,
    /// Requests that lost their pages and wait for new ones.
    pub preempted: usize,
    /// Pages that neither a request nor the prefix cache holds.
    pub free_pages: usize,
    /// Steps that the model ran.
    pub steps: u64,
    /// Tokens that the model processed.
    pub tokens_computed: u64,
    /// Generated tokens.
    pub tokens_generated: u64,
    /// Answered requests.
    pub answered: u64,
    /// Requests that failed or missed their deadline.
    pub failed: u64,
    /// Requests whose callers left.
    pub cancelled: u64,
    /// Number of times that a request lost its pages to an older one.
    pub preemptions: u64,
    /// Counters of the prefix cache.
    pub prefix: PrefixStatistics,
}
