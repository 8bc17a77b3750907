//! The scheduler's options.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// A source of the current time.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// The limits of a scheduler.
#[derive(Clone)]
pub struct SchedulerOptions {
    /// Most tokens in a step without generation. More tokens make prefill faster, but new requests wait longer for
    /// their first step.
    pub step_tokens: usize,
    /// Most tokens in a step with generation, so that a long prompt does not delay the next tokens of all others. If
    /// `step_time_decoding` is set, this applies only until the time per token is known.
    pub step_tokens_decoding: usize,
    /// Target time of a step with generation, as far as it depends on the share of prompts in it: at least a page of
    /// tokens goes into each step.
    pub step_time_decoding: Option<Duration>,
    /// Most requests that have pages at a time. One task gets at most seven eighths of them.
    pub running_max: usize,
    /// Most waiting requests: for their first step, for pages, or for a reader.
    pub waiting_max: usize,
    /// Most pages cached for later prompts, including those in use.
    pub cached_pages_max: usize,
    /// Pages that may be used from the start; the model's others only once [`Scheduler::grow`](super::Scheduler::grow)
    /// allows them.
    pub first_pages: usize,
    /// Most replies that a reader may leave unread before its generation pauses.
    pub unread_max: usize,
    /// The source of the current time.
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
            .field("first_pages", &self.first_pages)
            .field("unread_max", &self.unread_max)
            .finish_non_exhaustive()
    }
}

impl SchedulerOptions {
    /// Returns defaults for a server: steps of 512 tokens, or about 20 ms during generation, 64 running and 256
    /// waiting requests, 64 unread replies, all pages usable, and all unused ones cached for later prompts.
    pub fn new(clock: Clock) -> Self {
        Self {
            step_tokens: 512,
            step_tokens_decoding: 128,
            step_time_decoding: Some(Duration::from_millis(20)),
            running_max: 64,
            waiting_max: 256,
            cached_pages_max: usize::MAX,
            first_pages: usize::MAX,
            unread_max: 64,
            clock,
        }
    }

    /// Raises every limit to a value with which something can run.
    pub(super) fn clamped(mut self) -> Self {
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
