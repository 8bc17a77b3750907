//! Sampling parameters and their ranges.

use std::collections::BTreeMap;

/// Most alternatives that can be reported with a token.
pub const ALTERNATIVES_MAX: usize = 64;

/// How to choose tokens. There is no default: the caller resolves parameters that a request omits.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingConfig {
    /// Divisor of the logits, 0 to 100; 0 takes the most probable token and draws nothing.
    pub temperature: f32,
    /// Keep this many of the most probable tokens; 0 keeps all.
    pub top_k: usize,
    /// Keep the fewest most probable tokens whose probabilities reach this sum, above 0 to 1; 1 keeps all.
    pub top_p: f32,
    /// Keep tokens with at least this share of the largest probability, 0 to 1; 0 keeps all.
    pub min_p: f32,
    /// Divides the positive logits of tokens in prompt or answer, and multiplies the negative ones; above 0 to 10, 1
    /// for no penalty (Keskar and others, *CTRL*, 2019).
    pub repetition_penalty: f32,
    /// Subtracted from the logits of tokens in the answer, -10 to 10; 0 for no penalty.
    pub presence_penalty: f32,
    /// Subtracted from a token's logit for each of its occurrences in the answer, -10 to 10; 0 for no penalty.
    pub frequency_penalty: f32,
    /// Added to the logits of these tokens. Minus infinity forbids a token; plus infinity is refused.
    pub logit_bias: BTreeMap<u32, f32>,
    /// The same seed draws the same tokens from the same logits, on every platform.
    pub seed: u64,
    /// How many of the most probable tokens to report with each token, at most [`ALTERNATIVES_MAX`].
    pub alternatives: usize,
}

impl SamplingConfig {
    /// Returns a configuration that takes the most probable token and adjusts no logit.
    #[must_use]
    pub fn greedy() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: BTreeMap::new(),
            seed: 0,
            alternatives: 0,
        }
    }

    /// Checks the ranges; the error names the first parameter outside its range.
    pub(crate) fn check(&self) -> Result<(), SamplingConfigError> {
        let within = |field, number: f32, low: f32, high: f32, excludes_low: bool| {
            let is_fine = number >= low && number <= high && !(excludes_low && number == low);
            if is_fine {
                Ok(())
            } else {
                Err(SamplingConfigError::OutOfRange { field, number, low, high, excludes_low })
            }
        };
        within("temperature", self.temperature, 0.0, 100.0, false)?;
        within("top_p", self.top_p, 0.0, 1.0, true)?;
        within("min_p", self.min_p, 0.0, 1.0, false)?;
        within("repetition_penalty", self.repetition_penalty, 0.0, 10.0, true)?;
        within("presence_penalty", self.presence_penalty, -10.0, 10.0, false)?;
        within("frequency_penalty", self.frequency_penalty, -10.0, 10.0, false)?;
        if self.temperature > 0.0 && self.temperature < 1e-3 {
            return Err(SamplingConfigError::ColderThanUseful(self.temperature));
        }
        if let Some((token, bias)) =
            self.logit_bias.iter().find(|(_, bias)| bias.is_nan() || **bias == f32::INFINITY)
        {
            return Err(SamplingConfigError::Bias { token: *token, bias: *bias });
        }
        if self.alternatives > ALTERNATIVES_MAX {
            return Err(SamplingConfigError::TooManyAlternatives(self.alternatives));
        }
        Ok(())
    }
}

/// Why sampling parameters are not usable.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SamplingConfigError {
    /// A number is out of range or NaN.
    #[error("{field} is {number}; the range is {}{low} to {high}", if *excludes_low { "above " } else { "" })]
    OutOfRange {
        /// The field of [`SamplingConfig`].
        field: &'static str,
        /// Its value.
        number: f32,
        /// The lower bound.
        low: f32,
        /// The upper bound.
        high: f32,
        /// Whether the lower bound itself is excluded.
        excludes_low: bool,
    },
    /// Dividing by such a small number overflows `f32`.
    #[error("temperature is {0}: use 0 for the most probable token, or at least 0.001")]
    ColderThanUseful(f32),
    /// A bias is NaN or plus infinity.
    #[error(
        "logit_bias of token {token} is {bias}: use a finite number, or minus infinity to forbid the token"
    )]
    Bias {
        /// The token.
        token: u32,
        /// Its bias.
        bias: f32,
    },
    /// More alternatives are requested than the limit.
    #[error("{0} alternatives were requested: at most {ALTERNATIVES_MAX} are possible per token")]
    TooManyAlternatives(usize),
}
