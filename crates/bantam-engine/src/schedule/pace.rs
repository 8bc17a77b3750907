//! Estimates the duration of the model's steps.

use std::time::Duration;

/// Steps with fewer tokens measure the reading of weights rather than the time per token.
const TOKENS_MIN: usize = 16;
/// Weight of the newest step in the average.
const NEWEST: f64 = 0.25;

/// The time per prompt token, averaged over recent steps.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Pace {
    seconds_a_token: Option<f64>,
}

impl Pace {
    /// Updates the estimate with a step.
    pub(super) fn learn(&mut self, tokens: usize, took: Duration) {
        // Ignore a clock that does not advance.
        if tokens < TOKENS_MIN || took.is_zero() {
            return;
        }
        let now = took.as_secs_f64() / tokens as f64;
        let before = self.seconds_a_token.unwrap_or(now);
        // One step delayed by the system must not stop prompts.
        let now = now.min(4.0 * before);
        self.seconds_a_token = Some(before + NEWEST * (now - before));
    }

    /// Returns how many tokens a step of that duration has; `None` before the first useful measurement.
    pub(super) fn tokens_in(self, time: Duration) -> Option<usize> {
        self.seconds_a_token.map(|seconds| (time.as_secs_f64() / seconds) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_estimated_from_step_durations() {
        let (mut pace, time) = (Pace::default(), Duration::from_millis(20));
        assert_eq!(pace.tokens_in(time), None);
        pace.learn(8, Duration::from_millis(50));
        pace.learn(500, Duration::ZERO);
        assert_eq!(pace.tokens_in(time), None);
        pace.learn(512, Duration::from_millis(512));
        assert_eq!(pace.tokens_in(time), Some(20));
        for _ in 0..40 {
            pace.learn(32, Duration::from_millis(8));
        }
        assert_eq!(pace.tokens_in(time), Some(79));
    }

    #[test]
    fn a_single_delayed_step_is_soon_forgotten() {
        let (mut pace, time) = (Pace::default(), Duration::from_millis(20));
        pace.learn(100, Duration::from_millis(100));
        pace.learn(100, Duration::from_secs(10));
        assert!(pace.tokens_in(time).unwrap() >= 11);
        for _ in 0..20 {
            pace.learn(100, Duration::from_millis(100));
        }
        assert!(pace.tokens_in(time).unwrap() >= 19);
    }
}
