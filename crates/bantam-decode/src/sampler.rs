//! Chooses a token from a row of logits.
//!
//! The steps run in the order of Hugging Face's `generate`, which is also vLLM's except for the position of `min_p`:
//!
//! 1. add `logit_bias`;
//! 2. apply `repetition_penalty` over prompt and answer, then `frequency_penalty` and `presence_penalty` over the
//!    answer;
//! 3. remove the tokens that the constraint's mask does not allow;
//! 4. at temperature 0, take the largest logit, or the lowest token id of several that are equally large;
//! 5. otherwise divide the logits by the temperature;
//! 6. apply `top_k`, then `top_p` over what `top_k` left, then `min_p`;
//! 7. draw one token in proportion to what is left.
//!
//! Reported log-probabilities are the model's own, before any of these steps.

mod config;
mod filter;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

pub use config::{ALTERNATIVES_MAX, SamplingConfig, SamplingConfigError};
use filter::Candidate;

use crate::constraint::TokenMask;
use crate::random::Random;
use crate::softmax::{RowError, log_sum};

/// A token and the log-probability that the model gave it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenProbability {
    /// The token's id.
    pub token: u32,
    /// The natural logarithm of its probability under the model's own logits, at temperature 1.
    pub log_probability: f32,
}

/// A chosen token.
#[derive(Clone, Debug, PartialEq)]
pub struct SampledToken {
    /// The token with the model's own log-probability.
    pub chosen: TokenProbability,
    /// The model's most probable tokens, in descending order, as many as configured. They come from the model's own
    /// logits, so the chosen token need not be among them.
    pub alternatives: Vec<TokenProbability>,
}

/// Why no token was chosen.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SampleError {
    /// The row is not a distribution.
    #[error(transparent)]
    Row(#[from] RowError),
    /// Bias and constraint together leave no token.
    #[error(
        "no token is left: logit_bias forbids every token that the constraint allows; remove one of the two"
    )]
    NothingLeft,
    /// A bias names a token outside the vocabulary.
    #[error("logit_bias names token {token}, but the model has only {vocabulary} tokens")]
    UnknownToken {
        /// The token.
        token: u32,
        /// Number of logits in the row.
        vocabulary: usize,
    },
}

/// Chooses tokens, and tracks earlier tokens for the penalties.
#[derive(Clone, Debug)]
pub struct Sampler {
    config: SamplingConfig,
    random: Random,
    /// How often each token occurs in the answer.
    counts: BTreeMap<u32, u32>,
    prompt: BTreeSet<u32>,
    scratch: Vec<f32>,
    candidates: Vec<Candidate>,
    /// The allowed tokens of one row.
    runs: Vec<Range<usize>>,
    weights: Vec<f32>,
}

impl Sampler {
    /// Returns a sampler, or an error naming the first parameter that is out of range. Only `repetition_penalty` uses
    /// the prompt's tokens.
    pub fn new(config: SamplingConfig, prompt: &[u32]) -> Result<Self, SamplingConfigError> {
        config.check()?;
        let prompt = if config.repetition_penalty == 1.0 { &[] } else { prompt };
        Ok(Self {
            random: Random::new(config.seed),
            config,
            counts: BTreeMap::new(),
            prompt: prompt.iter().copied().collect(),
            scratch: Vec::new(),
            candidates: Vec::new(),
            runs: Vec::new(),
            weights: Vec::new(),
        })
    }

    /// Records a token that was appended to the answer, whether chosen or forced.
    pub fn record(&mut self, token: u32) {
        *self.counts.entry(token).or_default() += 1;
    }

    /// Chooses one token of a row, among those that `mask` allows. Does not record the token.
    ///
    /// Each call draws one random number unless the temperature is 0, whatever the row; forced tokens draw none.
    pub fn choose(&mut self, logits: &[f32], mask: Option<&TokenMask>) -> Result<SampledToken, SampleError> {
        let row = log_sum(logits)?;
        let report = |token: u32, logit: f32| TokenProbability {
            token,
            log_probability: row.log_probability(logit) as f32,
        };
        let is_changed = self.adjust(logits)?;
        let argmax = row.argmax as u32;
        // If the largest logit of all belongs to an allowed token, it is also the largest of the allowed ones.
        let is_argmax =
            self.config.temperature == 0.0 && !is_changed && mask.is_none_or(|mask| mask.allows(argmax));
        let chosen = if is_argmax { Some(argmax) } else { self.choose_allowed(logits, mask, is_changed) };
        let chosen = chosen.ok_or(SampleError::NothingLeft)?;
        let mut alternatives = Vec::new();
        if self.config.alternatives > 0 {
            self.candidates.clear();
            let all = 0..logits.len();
            filter::gather(&mut self.candidates, logits, &[all], self.config.alternatives, Some);
            filter::sort(&mut self.candidates);
            alternatives =
                self.candidates.iter().map(|candidate| report(candidate.token, candidate.logit)).collect();
        }
        let logit = logits.get(chosen as usize).copied().unwrap_or(f32::NEG_INFINITY);
        Ok(SampledToken { chosen: report(chosen, logit), alternatives })
    }

    /// Chooses among the allowed tokens, by the adjusted logits if there are any.
    fn choose_allowed(&mut self, logits: &[f32], mask: Option<&TokenMask>, is_changed: bool) -> Option<u32> {
        let Self { config, random, scratch, candidates, runs, weights, .. } = self;
        let logits = if is_changed { &scratch[..] } else { logits };
        runs.clear();
        match mask {
            None => runs.push(0..logits.len()),
            Some(mask) => runs.extend(mask.runs(logits.len())),
        }
        let temperature = config.temperature;
        if temperature == 0.0 {
            return filter::largest(logits, runs);
        }
        let unit = random.unit();
        if config.top_k == 0 && config.top_p == 1.0 {
            return filter::draw_any(logits, runs, temperature, config.min_p, unit, weights);
        }
        let keep = |logit| (logit > f32::NEG_INFINITY).then_some(logit / temperature);
        candidates.clear();
        filter::gather(candidates, logits, runs, config.top_k, keep);
        filter::draw(candidates, config.top_p, config.min_p, unit)
    }

    /// Writes adjusted logits to `scratch`. Returns whether anything was adjusted.
    fn adjust(&mut self, logits: &[f32]) -> Result<bool, SampleError> {
        let config = &self.config;
        let repeats = config.repetition_penalty != 1.0;
        let counts_matter = repeats || config.presence_penalty != 0.0 || config.frequency_penalty != 0.0;
        if config.logit_bias.is_empty()
            && !(counts_matter && !(self.counts.is_empty() && self.prompt.is_empty()))
        {
            return Ok(false);
        }
        self.scratch.clear();
        self.scratch.extend_from_slice(logits);
        for (token, bias) in &config.logit_bias {
            let unknown = SampleError::UnknownToken { token: *token, vocabulary: logits.len() };
            *self.scratch.get_mut(*token as usize).ok_or(unknown)? += bias;
        }
        if repeats {
            let of_answer = self.counts.keys().filter(|token| !self.prompt.contains(*token));
            for token in self.prompt.iter().chain(of_answer) {
                if let Some(logit) = self.scratch.get_mut(*token as usize) {
                    let penalty = config.repetition_penalty;
                    *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
                }
            }
        }
        for (token, count) in &self.counts {
            if let Some(logit) = self.scratch.get_mut(*token as usize) {
                *logit -= *count as f32 * config.frequency_penalty + config.presence_penalty;
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
