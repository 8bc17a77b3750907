//! How many tokens a model would have counted, estimated from what models did count.

use std::sync::atomic::{AtomicU64, Ordering};

use bantam_types::TokenUsage;

/// Running sums of estimated and counted tokens of one task.
///
/// A local answer has no bill, but its baseline has: the same request at the baseline model. The estimate
/// for it (a token for every four bytes) is scaled by what upstreams counted for the same task before.
#[derive(Debug, Default)]
pub struct TokenRatio {
    estimated_input: AtomicU64,
    counted_input: AtomicU64,
    counted_output: AtomicU64,
    answers: AtomicU64,
}

impl TokenRatio {
    /// Notes the tokens that an upstream counted, beside the estimate of the prompt.
    pub fn learn(&self, estimated_input: u64, counted: TokenUsage) {
        // Sums that are read a moment apart may miss one answer in thousands; that changes no estimate.
        self.estimated_input.fetch_add(estimated_input, Ordering::Relaxed);
        self.counted_input.fetch_add(counted.input, Ordering::Relaxed);
        self.counted_output.fetch_add(counted.output, Ordering::Relaxed);
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns what a prompt of `estimated_input` and an answer of `estimated_output` tokens would be
    /// counted as.
    pub fn predict(&self, estimated_input: u64, estimated_output: u64) -> TokenUsage {
        let answers = self.answers.load(Ordering::Relaxed);
        let estimated = self.estimated_input.load(Ordering::Relaxed);
        if answers == 0 || estimated == 0 {
            return TokenUsage::new(estimated_input, 0, estimated_output);
        }
        let scaled = u128::from(estimated_input) * u128::from(self.counted_input.load(Ordering::Relaxed))
            / u128::from(estimated);
        let output = self.counted_output.load(Ordering::Relaxed).div_ceil(answers);
        TokenUsage::new(u64::try_from(scaled).unwrap_or(u64::MAX), 0, output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_is_scaled_by_what_was_counted() {
        let ratio = TokenRatio::default();
        assert_eq!(ratio.predict(100, 3), TokenUsage::new(100, 0, 3));
        ratio.learn(100, TokenUsage::new(130, 0, 5));
        ratio.learn(300, TokenUsage::new(390, 0, 8));
        assert_eq!(ratio.predict(200, 3), TokenUsage::new(260, 0, 7));
    }
}
