//! The circuit breaker: what keeps failing is left alone for a while.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

/// Consecutive failures that open the breaker.
const FAILURES_MAX: u32 = 5;
/// How long the first opening lasts; each further one doubles it.
const OPEN_BASE: Duration = Duration::from_secs(30);
/// The longest opening, whatever an upstream asks for.
const OPEN_MAX: Duration = Duration::from_secs(600);

/// Counts failures and decides whether a call may be made. Pure: the caller brings the clock.
///
/// Every admitted call ends with exactly one of [`succeeded`](Self::succeeded), [`failed`](Self::failed) and
/// [`ended`](Self::ended), each of which takes the call's [`Admission`].
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    failures: u32,
    /// Openings since the last success.
    openings: u32,
    /// Openings ever. An admission of an earlier generation is of a call that was in flight when the breaker opened: its
    /// end was decided before the pause, so it neither lengthens the pause nor ends it.
    generation: u64,
    /// While this is set, the only call in flight that belongs to the generation is the probe.
    open_until: Option<Instant>,
    probing: bool,
}

/// The permission to make one call.
#[derive(Debug)]
pub(crate) struct Admission {
    generation: u64,
}

impl Breaker {
    /// Returns whether a call would be admitted now.
    pub(crate) fn is_available(&self, now: Instant) -> bool {
        self.open_until.is_none_or(|until| now >= until && !self.probing)
    }

    /// Returns how long calls are still refused; nothing where they are not.
    pub(crate) fn pause_left(&self, now: Instant) -> Option<Duration> {
        let until = self.open_until.filter(|_| !self.is_available(now))?;
        Some(until.saturating_duration_since(now))
    }

    /// Returns whether calls are refused, or one of them probes.
    pub(crate) const fn is_open(&self) -> bool {
        self.open_until.is_some()
    }

    /// Admits a call, or not. After an opening exactly one call is admitted to probe the upstream.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<Admission> {
        if !self.is_available(now) {
            return None;
        }
        self.probing = self.open_until.is_some();
        Some(Admission { generation: self.generation })
    }

    /// Notes a call that went well.
    pub(crate) fn succeeded(&mut self, admission: Admission) {
        if self.is_current(&admission) {
            *self = Self { generation: self.generation, ..Self::default() };
        }
    }

    /// Notes a stream that began well: enough to end a probe, not enough to forget failures and openings, because an
    /// upstream whose every stream breaks off also begins each of them.
    pub(crate) fn began(&mut self, admission: &Admission) {
        if self.is_current(admission) {
            self.open_until = None;
            self.probing = false;
        }
    }

    /// Notes a call that speaks against the upstream, which may have asked for a pause.
    pub(crate) fn failed(&mut self, admission: Admission, now: Instant, asked: Option<Duration>) {
        if !self.is_current(&admission) {
            return;
        }
        self.failures += 1;
        if self.open_until.is_some() || self.failures >= FAILURES_MAX {
            let pause = OPEN_BASE.saturating_mul(1 << self.openings.min(10));
            let pause = pause.max(asked.unwrap_or_default()).min(OPEN_MAX);
            self.open_until = Some(now + pause);
            self.openings = self.openings.saturating_add(1);
            self.generation += 1;
            self.failures = 0;
            self.probing = false;
        }
    }

    /// Notes a call that ended without saying anything about the upstream: refused, or cancelled.
    pub(crate) fn ended(&mut self, admission: Admission) {
        if self.is_current(&admission) {
            self.probing = false;
        }
    }

    const fn is_current(&self, admission: &Admission) -> bool {
        admission.generation == self.generation
    }
}
