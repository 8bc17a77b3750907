//! How long the model's steps take.

use std::time::Duration;

/// Steps of fewer tokens say more about the reading of weights than about tokens.
const TOKENS_MIN: usize = 16;
/// How much the newest step counts.
const NEWEST: f64 = 0.25;

/// How long a token of a prompt takes, by the steps lately.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Pace {
    seconds_a_token: Option<f64>,
}

impl Pace {
    /// Learns from a step of so many tokens.
    pub(super) fn learn(&mut self, tokens: usize, took: Duration) {
        // A clock that stands still tells nothing.
        if tokens < TOKENS_MIN || took.is_zero() {
            return;
        }
        let now = took.as_secs_f64() / tokens as f64;
        let before = self.seconds_a_token.unwrap_or(now);
        // One step that the system held up must not stop prompts.
        let now = now.min(4.0 * before);
        self.seconds_a_token = Some(before + NEWEST * (now - before));
    }

    /// Returns how many tokens a step of that time has; nothing before any step was long enough to tell.
    pub(super) fn tokens_in(self, time: Duration) -> Option<usize> {
        self.seconds_a_token.map(|seconds| (time.as_secs_f64() / seconds) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_fit_the_time_by_what_steps_took() {
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
    fn one_step_that_was_held_up_is_soon_forgotten() {
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
