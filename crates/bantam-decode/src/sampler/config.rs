//! How tokens are chosen, and what is refused.

use std::collections::BTreeMap;

/// The largest number of alternatives that can be asked for with a token.
pub const ALTERNATIVES_MAX: usize = 64;

/// How a token is chosen. There is no default: the caller resolves what a request leaves open.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingConfig {
    /// What logits are divided by, 0 to 100; 0 takes the most probable token and draws nothing.
    pub temperature: f32,
    /// How many of the most probable tokens stay; 0 for all.
    pub top_k: usize,
    /// The fewest most probable tokens stay whose probabilities reach this sum, above 0 to 1; 1 for all.
    pub top_p: f32,
    /// Tokens stay whose probability is this share of the largest, 0 to 1; 0 for all.
    pub min_p: f32,
    /// Positive logits of tokens in prompt or answer are divided by this, negative ones multiplied; above 0 to
    /// 10, 1 for none (Keskar and others, *CTRL*, 2019).
    pub repetition_penalty: f32,
    /// Taken from the logits of tokens that the answer has, -10 to 10; 0 for none.
    pub presence_penalty: f32,
    /// Taken from the logits of tokens once for each time that the answer has them, -10 to 10; 0 for none.
    pub frequency_penalty: f32,
    /// Added to the logits of these tokens; minus infinity forbids one, plus infinity is refused.
    pub logit_bias: BTreeMap<u32, f32>,
    /// The same seed draws the same tokens from the same logits, on every platform.
    pub seed: u64,
    /// How many of the most probable tokens are told with each token, at most [`ALTERNATIVES_MAX`].
    pub alternatives: usize,
}

impl SamplingConfig {
    /// Returns a configuration that takes the most probable token, and changes no logit.
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

    /// Returns the first field that is out of its range.
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

/// What a sampler cannot be made of.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SamplingConfigError {
    /// A number is not in its range, or is NaN.
    #[error("{field} is {number}, but goes from {}{low} to {high}", if *excludes_low { "above " } else { "" })]
    OutOfRange {
        /// The field of [`SamplingConfig`].
        field: &'static str,
        /// What it was.
        number: f32,
        /// The least it may be.
        low: f32,
        /// The most it may be.
        high: f32,
        /// Whether the least is itself refused.
        excludes_low: bool,
    },
    /// Dividing by so little overflows `f32`.
    #[error("temperature is {0}: use 0 for the most probable token, or 0.001 and more")]
    ColderThanUseful(f32),
    /// A bias is NaN or plus infinity.
    #[error(
        "logit_bias of token {token} is {bias}: use a finite number, or minus infinity to forbid the token"
    )]
    Bias {
        /// The token.
        token: u32,
        /// What its bias was.
        bias: f32,
    },
    /// More alternatives are asked for than are told.
    #[error("{0} alternatives are asked for: at most {ALTERNATIVES_MAX} are told with a token")]
    TooManyAlternatives(usize),
}
