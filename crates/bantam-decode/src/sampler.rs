//! From a row of logits to one token.
//!
//! The steps run in this order, which is that of Hugging Face's `generate`, and of vLLM but for the place of
//! `min_p`:
//!
//! 1. `logit_bias` is added;
//! 2. `repetition_penalty` over prompt and answer, then `frequency_penalty` and `presence_penalty` over the
//!    answer;
//! 3. the constraint's mask removes what may not follow;
//! 4. at temperature 0 the largest logit is taken, the lowest token id where several are the largest;
//! 5. else logits are divided by the temperature;
//! 6. `top_k`, then `top_p` over what `top_k` left, then `min_p`;
//! 7. one token is drawn in proportion to what is left.
//!
//! The log-probabilities that are told are those of step 0: the model's own, before anything here changed them.

mod config;
mod filter;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

pub use config::{ALTERNATIVES_MAX, SamplingConfig, SamplingConfigError};
use filter::Candidate;

use crate::constraint::TokenMask;
use crate::random::Random;
use crate::softmax::{RowError, log_sum};

/// A token with the logarithm of the probability that the model gave it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenProbability {
    /// The token's id.
    pub token: u32,
    /// The natural logarithm of its probability under the model's own logits, at temperature 1.
    pub log_probability: f32,
}

/// A chosen token.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampled {
    /// The token and what the model thought of it.
    pub chosen: TokenProbability,
    /// The model's most probable tokens, the most probable first, as many as the configuration asks for. They
    /// are the model's own, so the chosen token need not be among them.
    pub alternatives: Vec<TokenProbability>,
}

/// Why no token was chosen.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SampleError {
    /// The row is no distribution.
    #[error(transparent)]
    Row(#[from] RowError),
    /// Bias and constraint leave nothing.
    #[error("no token is left: logit_bias forbids all that the constraint allows, so remove one of them")]
    NothingLeft,
    /// A bias names a token that the model does not have.
    #[error("logit_bias names token {token}, but the model has {vocabulary} tokens")]
    UnknownToken {
        /// The token.
        token: u32,
        /// How many the row has.
        vocabulary: usize,
    },
}

/// Chooses tokens, and keeps what penalties need to know of the tokens before.
#[derive(Clone, Debug)]
pub struct Sampler {
    config: SamplingConfig,
    random: Random,
    /// How often the answer has each token.
    counts: BTreeMap<u32, u32>,
    prompt: BTreeSet<u32>,
    scratch: Vec<f32>,
    candidates: Vec<Candidate>,
    /// The tokens that may follow, of one row.
    runs: Vec<Range<usize>>,
    weights: Vec<f32>,
}

impl Sampler {
    /// Returns a sampler, or the field of its configuration that is out of range. The prompt's tokens matter to
    /// `repetition_penalty` alone.
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

    /// Counts a token that was appended to the answer, whoever chose it.
    pub fn record(&mut self, token: u32) {
        *self.counts.entry(token).or_default() += 1;
    }

    /// Chooses one token of a row; `mask` has what a constraint allows. The row is left as it is, and the token
    /// is not recorded.
    ///
    /// Each call draws one random number unless the temperature is 0, whatever the row: tokens that a constraint
    /// forces cost none.
    pub fn choose(&mut self, logits: &[f32], mask: Option<&TokenMask>) -> Result<Sampled, SampleError> {
        let row = log_sum(logits)?;
        let told = |token: u32, logit: f32| TokenProbability {
            token,
            log_probability: row.log_probability(logit) as f32,
        };
        let is_changed = self.adjust(logits)?;
        let argmax = row.argmax as u32;
        // What is the largest of all is the largest of those that may follow, if it may.
        let is_argmax =
            self.config.temperature == 0.0 && !is_changed && mask.is_none_or(|mask| mask.allows(argmax));
        let chosen = if is_argmax { Some(argmax) } else { self.among(logits, mask, is_changed) };
        let chosen = chosen.ok_or(SampleError::NothingLeft)?;
        let mut alternatives = Vec::new();
        if self.config.alternatives > 0 {
            self.candidates.clear();
            let all = 0..logits.len();
            filter::gather(&mut self.candidates, logits, &[all], self.config.alternatives, Some);
            filter::sort(&mut self.candidates);
            alternatives =
                self.candidates.iter().map(|candidate| told(candidate.token, candidate.logit)).collect();
        }
        let logit = logits.get(chosen as usize).copied().unwrap_or(f32::NEG_INFINITY);
        Ok(Sampled { chosen: told(chosen, logit), alternatives })
    }

    /// Chooses among the tokens that may follow, by the changed logits if there are any.
    fn among(&mut self, logits: &[f32], mask: Option<&TokenMask>, is_changed: bool) -> Option<u32> {
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

    /// Writes changed logits into `scratch`, and returns whether there are any.
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
