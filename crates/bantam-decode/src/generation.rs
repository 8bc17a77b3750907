//! One answer, token by token: sampler, constraint and stop conditions together.

mod closing;
mod stop;

use std::sync::Arc;

use closing::Closing;
use stop::Stream;

use crate::constraint::{Constraint, ConstraintError};
use crate::sampler::{SampleError, Sampler, SamplingConfig, SamplingConfigError, TokenProbability};
use crate::tokens::TokenTable;

/// The most stop strings that an answer may have.
const STOPS_MAX: usize = 64;
/// The most bytes that a stop string may have.
const STOP_BYTES_MAX: usize = 1_024;

/// How one answer is made.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerationConfig {
    /// How its tokens are chosen.
    pub sampling: SamplingConfig,
    /// Strings that end the answer; they are no part of it, and may begin and end within tokens.
    pub stops: Vec<String>,
    /// The most tokens it may have, forced ones too; at least 1.
    pub tokens_max: usize,
}

/// What no answer can be made with.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GenerationConfigError {
    /// The sampling is out of range.
    #[error(transparent)]
    Sampling(#[from] SamplingConfigError),
    /// The answer may have no tokens.
    #[error("tokens_max is 0: allow at least one token")]
    NoTokens,
    /// A stop string is empty or has more than 1,024 bytes.
    #[error("stop string {0} has {1} bytes, but one has 1 to {STOP_BYTES_MAX}")]
    Stop(usize, usize),
    /// There are more than 64 stop strings.
    #[error("there are {0} stop strings, more than {STOPS_MAX}: leave some out")]
    TooManyStops(usize),
}

/// Why an answer cannot go on.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GenerateError {
    /// No token can be chosen.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// The constraint cannot go on.
    #[error(transparent)]
    Constraint(#[from] ConstraintError),
    /// The answer was over already.
    #[error("the answer is over: start another generation")]
    IsOver,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model wrote an end-of-sequence token.
    EndOfSequence,
    /// The text came to the stop string with this place.
    Stop(usize),
    /// The constraint allows nothing more.
    Complete,
    /// It has as many tokens as it may have. Under a constraint it is then a beginning only; but JSON was ended within
    /// them, strings closed and required values given, wherever a way to its end was found.
    Length,
}

/// A token of the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct StepToken {
    /// The token's id.
    pub token: u32,
    /// The natural logarithm of its probability under the model's own logits; `None` for a forced token, which
    /// the model was not asked about.
    pub log_probability: Option<f32>,
    /// The model's most probable tokens there, as many as the configuration asks for; none for a forced token.
    pub alternatives: Vec<TokenProbability>,
}

/// What one row of logits led to.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The tokens to append, in order; the end-of-sequence token is none of them. Empty at an end only, and from
    /// [`Generation::begin`].
    pub tokens: Vec<StepToken>,
    /// Text that may be streamed: whole characters that cannot become part of a stop string any more. Bytes that
    /// are no UTF-8 come as U+FFFD.
    pub text: String,
    /// Why the answer is over, if it is.
    pub is_over: Option<Finish>,
}

/// One answer in the making.
#[derive(Debug)]
pub struct Generation {
    table: Arc<TokenTable>,
    sampler: Sampler,
    constraint: Option<Constraint>,
    closing: Option<Closing>,
    stream: Stream,
    tokens_left: usize,
    is_over: bool,
}

impl Generation {
    /// Returns an answer that has not begun. The prompt's tokens matter to `repetition_penalty` alone.
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
        for (place, stop) in config.stops.iter().enumerate() {
            if stop.is_empty() || stop.len() > STOP_BYTES_MAX {
                return Err(GenerationConfigError::Stop(place, stop.len()));
            }
        }
        let is_json = constraint.as_ref().filter(|constraint| constraint.is_json());
        let closing = is_json.and_then(|constraint| Closing::new(constraint, &table, config.tokens_max));
        Ok(Self {
            table,
            closing,
            sampler: Sampler::new(config.sampling, prompt)?,
            constraint,
            stream: Stream::new(config.stops),
            tokens_left: config.tokens_max,
            is_over: false,
        })
    }

    /// Returns the tokens that the constraint forces before the model is asked at all, so that they can be run
    /// with the prompt. It need not be called: then the first masks allow one token each.
    pub fn begin(&mut self) -> Result<Step, GenerateError> {
        if self.is_over {
            return Err(GenerateError::IsOver);
        }
        let mut step = Step { tokens: Vec::new(), text: String::new(), is_over: None };
        self.force(&mut step)?;
        if let Some(closing) = &mut self.closing {
            closing.begin(step.tokens.iter().map(|token| token.token));
        }
        self.end(&mut step);
        Ok(step)
    }

    /// Chooses the next token from the logits after the last one, and appends what it forces.
    pub fn next(&mut self, logits: &[f32]) -> Result<Step, GenerateError> {
        if self.is_over {
            return Err(GenerateError::IsOver);
        }
        let mask = self.constraint.as_mut().map(Constraint::mask).transpose()?;
        let sampled = self.sampler.choose(logits, mask.as_ref())?;
        let token = sampled.chosen.token;
        let mut step = Step { tokens: Vec::new(), text: String::new(), is_over: None };
        if let Some(way) = self.way_instead_of(token)? {
            self.close(way, &mut step);
            return Ok(step);
        }
        if self.table.is_end(token) {
            step.is_over = Some(Finish::EndOfSequence);
        } else {
            if let Some(constraint) = &mut self.constraint {
                constraint.accept(token)?;
            }
            let log_probability = Some(sampled.chosen.log_probability);
            self.append(StepToken { token, log_probability, alternatives: sampled.alternatives }, &mut step);
            self.force(&mut step)?;
        }
        self.end(&mut step);
        Ok(step)
    }

    /// The tokens that end the answer in time, where it would not end after `token`.
    fn way_instead_of(&mut self, token: u32) -> Result<Option<Vec<u32>>, GenerateError> {
        let (Some(closing), Some(constraint)) = (&mut self.closing, &self.constraint) else {
            return Ok(None);
        };
        Ok(closing.instead_of(token, self.tokens_left, constraint, &self.table)?)
    }

    /// Appends the tokens that end the answer. They are none that the model chose.
    fn close(&mut self, way: Vec<u32>, step: &mut Step) {
        for token in way {
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
        if step.is_over.is_some() {
            return Ok(());
        }
        let Some(constraint) = &mut self.constraint else { return Ok(()) };
        let tokens = constraint.forced()?;
        let is_finished = constraint.is_finished();
        for token in tokens {
            self.append(StepToken { token, log_probability: None, alternatives: Vec::new() }, step);
            if step.is_over.is_some() {
                return Ok(());
            }
        }
        if is_finished {
            step.is_over = Some(Finish::Complete);
        }
        Ok(())
    }

    fn append(&mut self, token: StepToken, step: &mut Step) {
        self.sampler.record(token.token);
        self.tokens_left -= 1;
        if let Some(closing) = &mut self.closing {
            closing.read(self.table.text(token.token));
        }
        let stop = self.stream.push(self.table.text(token.token), &mut step.text);
        step.tokens.push(token);
        step.is_over = stop.map(Finish::Stop);
        let is_finished = self.constraint.as_ref().is_some_and(Constraint::is_finished);
        if step.is_over.is_none() && self.tokens_left == 0 {
            step.is_over = Some(if is_finished { Finish::Complete } else { Finish::Length });
        }
    }

    fn end(&mut self, step: &mut Step) {
        if step.is_over.is_some() {
            self.is_over = true;
            self.stream.finish(&mut step.text);
        }
    }
}

#[cfg(test)]
mod tests;
