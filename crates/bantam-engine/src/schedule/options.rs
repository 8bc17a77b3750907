//! What a scheduler is set to.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// The limits of a scheduler.
#[derive(Clone)]
pub struct SchedulerOptions {
    /// Most tokens of a step in which nothing is being generated. More make prefill faster, and new requests wait
    /// longer for their first step.
    pub step_tokens: usize,
    /// Most tokens of a step in which something is being generated, so that a long prompt does not hold up the next
    /// tokens of all others; where a time is set for such steps, only until it is known how long a token takes.
    pub step_tokens_decoding: usize,
    /// How long a step in which something is being generated should take at most, as far as that is up to how much of
    /// the prompts is in it: at least a page of tokens goes with each step.
    pub step_time_decoding: Option<Duration>,
    /// Most requests that have pages at a time. One task has at most seven eighths of them.
    pub running_max: usize,
    /// Most requests that wait, for their first step or for pages and a reader to go on.
    pub waiting_max: usize,
    /// Most pages that are kept for later prompts, those in use included.
    pub cached_pages_max: usize,
    /// Choices that a reader may leave unread before its generation pauses.
    pub unread_max: usize,
    /// Tells the time.
    pub clock: Clock,
}

impl std::fmt::Debug for SchedulerOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SchedulerOptions")
            .field("step_tokens", &self.step_tokens)
            .field("step_tokens_decoding", &self.step_tokens_decoding)
            .field("step_time_decoding", &self.step_time_decoding)
            .field("running_max", &self.running_max)
            .field("waiting_max", &self.waiting_max)
            .field("cached_pages_max", &self.cached_pages_max)
            .field("unread_max", &self.unread_max)
            .finish_non_exhaustive()
    }
}

impl SchedulerOptions {
    /// Returns limits for a server: steps of 512 tokens, or some 20 ms while something is being generated, 64 requests
    /// at a time and 256 that wait, 64 unread choices, and all pages that are not in use kept for later prompts.
    pub fn new(clock: Clock) -> Self {
        Self {
            step_tokens: 512,
            step_tokens_decoding: 128,
            step_time_decoding: Some(Duration::from_millis(20)),
            running_max: 64,
            waiting_max: 256,
            cached_pages_max: usize::MAX,
            unread_max: 64,
            clock,
        }
    }

    /// Returns the same with every limit so large that something can run.
    pub(super) fn sane(mut self) -> Self {
        self.running_max = self.running_max.max(1);
        self.step_tokens = self.step_tokens.max(1);
        self.step_tokens_decoding = self.step_tokens_decoding.max(1);
        self
    }

    /// Returns how many requests of one task may have pages at a time.
    pub(super) fn running_of_task_max(&self) -> usize {
        (self.running_max - self.running_max / 8).max(1)
    }
}
