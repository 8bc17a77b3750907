//! Generates one answer token by token, combining sampler, constraint and stop conditions.

mod closer;
mod stop;

use std::sync::Arc;

use closer::{Closer, TooLong};
use stop::StopFilter;

use crate::constraint::{Constraint, ConstraintError};
use crate::sampler::{
    SampleError, SampledToken, Sampler, SamplingConfig, SamplingConfigError, TokenProbability,
};
use crate::tokens::TokenTable;

/// Most stop strings per answer.
const STOPS_MAX: usize = 64;
/// Longest stop string, in bytes.
const STOP_BYTES_MAX: usize = 1_024;

/// How to generate an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerationConfig {
    /// How to choose tokens.
    pub sampling: SamplingConfig,
    /// Strings that end the answer. They are not part of it, and may begin and end inside tokens.
    pub stops: Vec<String>,
    /// Most tokens of the answer, including forced ones; at least 1.
    pub tokens_max: usize,
}

/// Why a configuration is not usable.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GenerationConfigError {
    /// A sampling parameter is out of range.
    #[error(transparent)]
    Sampling(#[from] SamplingConfigError),
    /// `tokens_max` is 0.
    #[error("tokens_max is 0: allow at least one token")]
    NoTokens,
    /// No answer that the constraint allows fits into `tokens_max`.
    #[error(
        "the shortest answer that the constraint allows has {shortest} tokens, and tokens_max is {tokens_max}"
    )]
    NoRoom {
        /// Tokens of the shortest answer that was found.
        shortest: usize,
        /// The limit.
        tokens_max: usize,
    },
    /// A stop string is empty or longer than 1,024 bytes.
    #[error("stop string {0} is {1} bytes long; the allowed length is 1 to {STOP_BYTES_MAX}")]
    Stop(usize, usize),
    /// There are more than 64 stop strings.
    #[error("there are {0} stop strings, over the limit of {STOPS_MAX}: remove some")]
    TooManyStops(usize),
}

/// Why an answer cannot continue.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GenerateError {
    /// No token can be chosen.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// The constraint cannot continue.
    #[error(transparent)]
    Constraint(#[from] ConstraintError),
    /// The answer has already ended.
    #[error("the answer has already ended: start another generation")]
    IsOver,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model wrote an end-of-sequence token.
    EndOfSequence,
    /// The text contains the stop string with this index.
    Stop(usize),
    /// The constraint allows nothing more.
    Complete,
    /// The model did not end the answer within `tokens_max`, or the grammar's limits on work. JSON was ended in time, its strings closed and its required
    /// values filled in, and so were answers of other grammars whose endings are known. The rest is cut off.
    Length,
}

/// A token of the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct StepToken {
    /// The token's id.
    pub token: u32,
    /// The natural logarithm of its probability under the model's own logits; `None` for a forced token, for which
    /// the model was not run.
    pub log_probability: Option<f32>,
    /// The model's most probable tokens at this position, as many as configured; empty for a forced token.
    pub alternatives: Vec<TokenProbability>,
}

/// The result of one row of logits.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The tokens to append, in order, without the end-of-sequence token. Empty only at the end, and possibly from
    /// [`Generation::begin`].
    pub tokens: Vec<StepToken>,
    /// Text that can be streamed: whole characters that can no longer become part of a stop string. Invalid UTF-8
    /// comes as U+FFFD.
    pub text: String,
    /// Why the answer ended, if it did.
    pub is_over: Option<Finish>,
}

/// An answer being generated.
#[derive(Debug)]
pub struct Generation {
    table: Arc<TokenTable>,
    sampler: Sampler,
    constraint: Option<Constraint>,
    closer: Option<Closer>,
    stop_filter: StopFilter,
    tokens_left: usize,
    is_over: bool,
}

impl Generation {
    /// Returns a new answer. Only `repetition_penalty` uses the prompt's tokens.
    pub fn new(
        table: Arc<TokenTable>,
        config: GenerationConfig,
        prompt: &[u32],
        constraint: Option<Constraint>,
    ) -> Result<Self, GenerationConfigError> {
        if config.tokens_max == 0 {
            return Err(GenerationConfigError::NoTokens);
        }
        if config.stops.len() > STOPS_MAX {
            return Err(GenerationConfigError::TooManyStops(config.stops.len()));
        }
        for (index, stop) in config.stops.iter().enumerate() {
            if stop.is_empty() || stop.len() > STOP_BYTES_MAX {
                return Err(GenerationConfigError::Stop(index, stop.len()));
            }
        }
        let tokens_max = config.tokens_max;
        let closer = match &constraint {
            Some(constraint) => Closer::new(constraint, &table, tokens_max)
                .map_err(|TooLong(shortest)| GenerationConfigError::NoRoom { shortest, tokens_max })?,
            None => None,
        };
        Ok(Self {
            table,
            closer,
            sampler: Sampler::new(config.sampling, prompt)?,
            constraint,
            stop_filter: StopFilter::new(config.stops),
            tokens_left: config.tokens_max,
            is_over: false,
        })
    }

    /// Returns the tokens that the constraint forces before the first logits, so that they can be run together with
    /// the prompt. Calling it is optional: without it, the first masks allow one token each.
    pub fn begin(&mut self) -> Result<Step, GenerateError> {
        if self.is_over {
            return Err(GenerateError::IsOver);
        }
        let mut step = Step { tokens: Vec::new(), text: String::new(), is_over: None };
        if let Err(error) = self.force(&mut step) {
            return self.rescued(error, step);
        }
        if let Some(closer) = &mut self.closer {
            closer.begin(step.tokens.iter().map(|token| token.token));
        }
        self.end(&mut step);
        Ok(step)
    }

    /// Chooses the next token from the logits after the last one, and appends it and the tokens that it forces.
    pub fn next(&mut self, logits: &[f32]) -> Result<Step, GenerateError> {
        if self.is_over {
            return Err(GenerateError::IsOver);
        }
        let mut step = Step { tokens: Vec::new(), text: String::new(), is_over: None };
        let (sampled, ending) = match self.choose(logits) {
            Ok(chosen) => chosen,
            Err(error) => return self.rescued(error, step),
        };
        if let Some(ending) = ending {
            self.close(ending, &mut step);
            return Ok(step);
        }
        let token = sampled.chosen.token;
        if self.table.is_end(token) {
            step.is_over = Some(Finish::EndOfSequence);
        } else {
            if let Some(constraint) = &mut self.constraint {
                constraint.accept(token)?;
            }
            let log_probability = Some(sampled.chosen.log_probability);
            self.append(StepToken { token, log_probability, alternatives: sampled.alternatives }, &mut step);
            if let Err(error) = self.force(&mut step) {
                return self.rescued(error, step);
            }
        }
        self.end(&mut step);
        Ok(step)
    }

    /// Chooses a token, and tokens that end the answer in time if it could not end in time after that token.
    fn choose(&mut self, logits: &[f32]) -> Result<(SampledToken, Option<Vec<u32>>), GenerateError> {
        let mask = self.constraint.as_mut().map(Constraint::mask).transpose()?;
        let sampled = self.sampler.choose(logits, mask.as_ref())?;
        let (Some(closer), Some(constraint)) = (&mut self.closer, &self.constraint) else {
            return Ok((sampled, None));
        };
        let ending = closer.instead_of(sampled.chosen.token, self.tokens_left, constraint, &self.table)?;
        Ok((sampled, ending))
    }

    /// Ends the answer without the constraint, if that met a limit on its work and an ending is known.
    fn rescued(&mut self, error: GenerateError, mut step: Step) -> Result<Step, GenerateError> {
        let is_stuck = matches!(error, GenerateError::Constraint(ConstraintError::Stuck(_)));
        let closer = self.closer.as_mut().filter(|_| is_stuck);
        let ending = closer.and_then(|closer| closer.rescue(self.tokens_left, &self.table)).ok_or(error)?;
        self.close(ending, &mut step);
        Ok(step)
    }

    /// Appends the tokens that end the answer. The model did not choose them.
    fn close(&mut self, ending: Vec<u32>, step: &mut Step) {
        for token in ending {
            self.append(StepToken { token, log_probability: None, alternatives: Vec::new() }, step);
            if step.is_over.is_some() {
                break;
            }
        }
        if !matches!(step.is_over, Some(Finish::Stop(_))) {
            step.is_over = Some(Finish::Length);
        }
        self.end(step);
    }

    fn force(&mut self, step: &mut Step) -> Result<(), GenerateError> {
        if matches!(step.is_over, Some(Finish::Stop(_))) {
            return Ok(());
        }
        let Some(constraint) = &mut self.constraint else { return Ok(()) };
        let tokens = if self.tokens_left > 0 { constraint.forced()? } else { Vec::new() };
        let is_finished = constraint.is_finished();
        for token in tokens {
            // The constraint is ahead of the answer until the last of them.
            if step.is_over.is_some() {
                return Ok(());
            }
            self.append(StepToken { token, log_probability: None, alternatives: Vec::new() }, step);
        }
        // The last token within the limit may be the one that completes the answer.
        if is_finished && matches!(step.is_over, None | Some(Finish::Length)) {
            step.is_over = Some(Finish::Complete);
        }
        Ok(())
    }

    /// Appends a token. At the limit the answer counts as cut off until [`Self::force`] finds it complete.
    fn append(&mut self, token: StepToken, step: &mut Step) {
        self.sampler.record(token.token);
        self.tokens_left -= 1;
        if let Some(closer) = &mut self.closer {
            closer.read(self.table.text(token.token));
        }
        let stop = self.stop_filter.push(self.table.text(token.token), &mut step.text);
        step.tokens.push(token);
        step.is_over = stop.map(Finish::Stop);
        if step.is_over.is_none() && self.tokens_left == 0 {
            step.is_over = Some(Finish::Length);
        }
    }

    fn end(&mut self, step: &mut Step) {
        if step.is_over.is_some() {
            self.is_over = true;
            self.stop_filter.finish(&mut step.text);
        }
    }
}

#[cfg(test)]
mod tests;
