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
    /// The counts contradict each other or the answer, or some cannot be read.
    Contradictory,
    /// The answer took something that providers charge for and whose price cannot be stated here.
    Unmodelled,
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
            CountState::Partial | CountState::Contradictory | CountState::Unmodelled => self,
        }
    }

    /// Returns the same counts, known to be wrong.
    #[must_use]
    pub const fn contradictory(self) -> Self {
        Self { counts: CountState::Contradictory, ..self }
    }

    /// Returns the counts to go by when a stream tells `later` after these: the later ones, unless they are less. Counts of
    /// a stream are totals up to where they are told, and some upstreams repeat them without the details.
    #[must_use]
    pub fn followed_by(self, later: Self) -> Self {
        let ends = self.counts == CountState::Partial && later.counts != CountState::Partial;
        if ends || later.fullness() >= self.fullness() { later } else { self }
    }

    fn fullness(&self) -> (u128, u128) {
        let TokenUsage { input, cached_input, cache_write, cache_write_long, output } = self.tokens;
        let sum = |counts: &[u64]| counts.iter().copied().map(u128::from).sum();
        let details = [cached_input, cache_write, cache_write_long, self.audio_input, self.audio_output];
        (sum(&[input, output]), sum(&details) + u128::from(self.web_searches))
    }

    /// Returns whether the parts are more than what they are parts of, or what is known to be contradictory.
    pub fn is_contradictory(&self) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_counts_replace_earlier_ones_unless_they_say_less() {
        let plain = AnswerUsage::from(TokenUsage::new(9, 0, 2));
        let detailed = AnswerUsage::from(TokenUsage { cache_write: 5, ..plain.tokens });
        let more = AnswerUsage::from(TokenUsage::new(9, 0, 3));
        for (earlier, later, expected) in [
            (plain, more, more),
            (more, plain, more),
            (plain, detailed, detailed),
            (detailed, plain, detailed),
            (detailed, more, more),
            (more.partial(), plain, plain),
            (plain, more.partial(), more.partial()),
        ] {
            assert_eq!(earlier.followed_by(later), expected);
        }
    }
}
