//! The circuit breaker: an upstream that keeps failing is left alone for a while.

use std::time::{Duration, Instant};

/// Consecutive failures that open the breaker.
const FAILURES_MAX: u32 = 5;
/// How long the first opening lasts; each further one doubles it.
const OPEN_BASE: Duration = Duration::from_secs(30);
/// The longest opening.
const OPEN_MAX: Duration = Duration::from_secs(600);

/// Counts failures and decides whether a call may be made. Pure: the caller brings the clock.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    failures: u32,
    /// Times in a row that it opened.
    openings: u32,
    open_until: Option<Instant>,
    probing: bool,
}

impl Breaker {
    /// Returns whether a call would be admitted now.
    pub(crate) fn is_available(&self, now: Instant) -> bool {
        self.open_until.is_none_or(|until| now >= until && !self.probing)
    }

    /// Admits a call, or not. After an opening exactly one call is admitted to probe the upstream.
    pub(crate) fn admit(&mut self, now: Instant) -> bool {
        let available = self.is_available(now);
        if available && self.open_until.is_some() {
            self.probing = true;
        }
        available
    }

    /// Notes a call that went well.
    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Notes a stream that began well: enough to end a probe, not enough to forget failures, because an
    /// upstream whose every stream breaks off also begins each of them.
    pub(crate) fn began(&mut self) {
        if self.open_until.is_some() {
            self.succeeded();
        }
    }

    /// Notes a call that speaks against the upstream.
    pub(crate) fn failed(&mut self, now: Instant) {
        self.failures += 1;
        if self.probing || self.failures >= FAILURES_MAX {
            let pause = OPEN_BASE.saturating_mul(1 << self.openings.min(10)).min(OPEN_MAX);
            self.open_until = Some(now + pause);
            self.openings += 1;
            self.failures = 0;
            self.probing = false;
        }
    }

    /// Notes a call that ended without saying anything about the upstream: refused, or cancelled.
    pub(crate) fn ended(&mut self) {
        self.probing = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_after_five_failures_probes_once_and_doubles_its_pause() {
        let mut breaker = Breaker::default();
        let start = Instant::now();
        for _ in 0..FAILURES_MAX {
            assert!(breaker.admit(start));
            breaker.failed(start);
        }
        assert!(!breaker.admit(start));
        let later = start + OPEN_BASE;
        assert!(breaker.admit(later));
        assert!(!breaker.admit(later), "a second probe beside the first");
        breaker.failed(later);
        assert!(!breaker.admit(later + OPEN_BASE));
        assert!(breaker.admit(later + OPEN_BASE * 2));
        breaker.succeeded();
        assert!(breaker.admit(later));
    }

    #[test]
    fn a_cancelled_probe_lets_the_next_one_through() {
        let mut breaker = Breaker::default();
        let start = Instant::now();
        (0..FAILURES_MAX).for_each(|_| breaker.failed(start));
        let later = start + OPEN_BASE;
        assert!(breaker.admit(later));
        breaker.ended();
        assert!(breaker.admit(later));
    }

    #[test]
    fn a_stream_that_begins_ends_a_probe_and_forgets_no_failures() {
        let mut breaker = Breaker::default();
        let start = Instant::now();
        for _ in 0..FAILURES_MAX {
            assert!(breaker.admit(start));
            breaker.began();
            breaker.failed(start);
        }
        assert!(!breaker.admit(start));
        let later = start + OPEN_BASE;
        assert!(breaker.admit(later));
        breaker.began();
        assert!(breaker.admit(later), "the probe has gone well");
    }

    #[test]
    fn a_success_forgets_earlier_failures() {
        let mut breaker = Breaker::default();
        let now = Instant::now();
        for _ in 0..20 {
            (0..FAILURES_MAX - 1).for_each(|_| breaker.failed(now));
            breaker.succeeded();
        }
        assert!(breaker.is_available(now));
    }
}
