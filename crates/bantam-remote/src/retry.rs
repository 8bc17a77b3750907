//! The retry budget: a failing upstream is not hit harder because it fails.

use std::hash::BuildHasher;
use std::time::{Duration, Instant};

/// Each call earns this much of a retry.
const EARNED_PER_CALL: f64 = 0.2;
/// And so does each second.
const EARNED_PER_SECOND: f64 = 10.0;
/// The most retries that can be saved up.
const SAVED_MAX: f64 = 20.0;
/// The first pause; each further one doubles it.
const PAUSE_BASE: Duration = Duration::from_millis(50);
/// An upstream that asks for a longer pause is not retried: the next rung is faster.
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A bucket of retries. Pure: the caller brings the clock.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    saved: f64,
    counted: Instant,
}

impl RetryBudget {
    pub(crate) fn new(now: Instant) -> Self {
        Self { saved: SAVED_MAX, counted: now }
    }

    /// Notes a call, which earns part of a retry.
    pub(crate) fn earn(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.counted).as_secs_f64();
        self.saved = (self.saved + EARNED_PER_CALL + seconds * EARNED_PER_SECOND).min(SAVED_MAX);
        self.counted = now;
    }

    /// Returns whether no retry was taken out since it was full.
    #[cfg(test)]
    pub(crate) fn is_full(&self) -> bool {
        self.saved >= SAVED_MAX
    }

    /// Takes one retry out of the budget if there is one.
    pub(crate) fn spend(&mut self) -> bool {
        let enough = self.saved >= 1.0;
        if enough {
            self.saved -= 1.0;
        }
        enough
    }
}

/// Returns how long to wait before retry number `retry` (from 0): full jitter over a doubling pause.
pub(crate) fn pause(retry: u32, asked: Option<Duration>, jitter: &impl BuildHasher) -> Option<Duration> {
    let asked = asked.unwrap_or_default();
    if asked > PAUSE_MAX {
        return None;
    }
    let ceiling = PAUSE_BASE.saturating_mul(1 << retry.min(5)).min(PAUSE_MAX);
    let random = jitter.hash_one((retry, Instant::now()));
    let spread = ceiling.mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64);
    Some(asked.max(spread))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spends_what_was_saved_and_then_a_fifth_of_the_calls() {
        let now = Instant::now();
        let mut budget = RetryBudget::new(now);
        let spent = (0..100).filter(|_| budget.spend()).count();
        assert_eq!(spent, 20);
        let mut later = 0;
        for _ in 0..100 {
            budget.earn(now);
            later += usize::from(budget.spend());
        }
        assert!((19..=20).contains(&later), "{later}");
        budget.earn(now + Duration::from_secs(1));
        assert_eq!((0..100).filter(|_| budget.spend()).count(), 10);
    }

    #[test]
    fn an_upstream_that_asks_for_a_long_pause_is_not_retried() {
        let jitter = std::hash::RandomState::new();
        assert_eq!(pause(0, Some(Duration::from_secs(60)), &jitter), None);
        let second = Duration::from_secs(1);
        assert_eq!(pause(0, Some(second), &jitter), Some(second));
        for retry in 0..40 {
            assert!(pause(retry, None, &jitter).is_some_and(|pause| pause <= PAUSE_MAX));
        }
    }
}
