//! What an answer took: tokens, and what else providers charge for.

use serde::{Deserialize, Serialize};

use crate::words::words;

/// Tokens read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TokenUsage {
    /// All input tokens, whatever they cost: also those read from and written to a cache.
    pub input: u64,
    /// Input tokens that the provider served from its cache; a part of `input`.
    pub cached_input: u64,
    /// Input tokens that the provider wrote to its cache, to be kept for minutes; a part of `input`.
    pub cache_write: u64,
    /// Input tokens that the provider wrote to its cache, to be kept for an hour or longer; a part of `input`.
    pub cache_write_long: u64,
    /// Output tokens, including reasoning.
    pub output: u64,
}

impl TokenUsage {
    /// Returns the tokens of an answer that wrote nothing to a cache.
    pub const fn new(input: u64, cached_input: u64, output: u64) -> Self {
        Self { input, cached_input, cache_write: 0, cache_write_long: 0, output }
    }

    /// Returns the field-by-field sum.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            cached_input: self.cached_input.saturating_add(other.cached_input),
            cache_write: self.cache_write.saturating_add(other.cache_write),
            cache_write_long: self.cache_write_long.saturating_add(other.cache_write_long),
            output: self.output.saturating_add(other.output),
        }
    }
}

words! {
    /// The service in which a provider processed a request, as its answer names it. Each has rates of its own.
    ServiceTier:
    Standard = "standard", "The ordinary service.";
    Batch = "batch", "Processed with many others, within hours.";
    Flex = "flex", "Processed when there is room, for less.";
    Priority = "priority", "Processed before others, for more.";
    Other = "other", "A service whose rates no price states.";
}

/// How far the counts of an answer can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CountState {
    /// Everything was counted.
    #[default]
    Complete,
    /// The answer ended before everything was counted: there are at least these tokens.
    Partial,
    /// The counts contradict each other, or some cannot be read.
    Contradictory,
}

/// What one answer took, as its backend counted it: everything that a provider may charge for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AnswerUsage {
    /// Its tokens.
    pub tokens: TokenUsage,
    /// Input tokens that stand for sound; a part of the input.
    pub audio_input: u64,
    /// Output tokens that stand for sound; a part of the output.
    pub audio_output: u64,
    /// Searches of the web that the provider made.
    pub web_searches: u64,
    /// The service that the answer names; `None` where it names none, which is the ordinary one.
    pub service_tier: Option<ServiceTier>,
    /// How far all of this can be trusted.
    pub counts: CountState,
}

impl AnswerUsage {
    /// Returns the same counts, known not to be all.
    #[must_use]
    pub const fn partial(self) -> Self {
        match self.counts {
            CountState::Complete => Self { counts: CountState::Partial, ..self },
            CountState::Partial | CountState::Contradictory => self,
        }
    }

    /// Returns whether the parts are more than what they are parts of, or what is known to be contradictory.
    pub(crate) fn is_contradictory(&self) -> bool {
        let TokenUsage { input, cached_input, cache_write, cache_write_long, output } = self.tokens;
        let parts = [cached_input, cache_write, cache_write_long, self.audio_input];
        let parts = parts.into_iter().map(u128::from).sum::<u128>();
        self.counts == CountState::Contradictory || parts > input.into() || self.audio_output > output
    }
}

impl From<TokenUsage> for AnswerUsage {
    fn from(tokens: TokenUsage) -> Self {
        Self { tokens, ..Self::default() }
    }
}
