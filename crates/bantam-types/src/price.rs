//! What a model charges, and what an answer cost.

use serde::{Deserialize, Serialize};

use crate::words::words;
use crate::{AnswerUsage, CountState, ServiceTier, Usd, UsdPerMillion};

/// What tokens cost. A rate that is `None` is not known: tokens of that kind have no price, which is not free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rates {
    /// Input tokens of text that came from no cache and went into none.
    pub input: UsdPerMillion,
    /// Input tokens from the provider's cache.
    pub cached_input: UsdPerMillion,
    /// Input tokens written to the provider's cache for minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<UsdPerMillion>,
    /// Input tokens written to the provider's cache for an hour or longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_long: Option<UsdPerMillion>,
    /// Input tokens that stand for sound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_input: Option<UsdPerMillion>,
    /// Output tokens, including reasoning.
    pub output: UsdPerMillion,
    /// Output tokens that stand for sound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_output: Option<UsdPerMillion>,
}

impl Rates {
    /// Returns rates at which everything costs nothing.
    pub const fn free() -> Self {
        let zero = UsdPerMillion::from_micros(0);
        Self {
            input: zero,
            cached_input: zero,
            cache_write: Some(zero),
            cache_write_long: Some(zero),
            audio_input: Some(zero),
            output: zero,
            audio_output: Some(zero),
        }
    }

    fn cost(&self, usage: AnswerUsage) -> Result<Usd, Unpriced> {
        let tokens = usage.tokens;
        let from_or_to_cache = tokens.cached_input + tokens.cache_write + tokens.cache_write_long;
        if usage.audio_input > 0 && from_or_to_cache > 0 && self.audio_input != Some(self.input) {
            return Err(Unpriced::CachedAudio);
        }
        let text_input = tokens.input - from_or_to_cache - usage.audio_input;
        let text_output = tokens.output - usage.audio_output;
        let sums = [
            self.input.cost(text_input),
            self.cached_input.cost(tokens.cached_input),
            priced(self.cache_write, tokens.cache_write, Unpriced::CacheWrite)?,
            priced(self.cache_write_long, tokens.cache_write_long, Unpriced::CacheWriteLong)?,
            priced(self.audio_input, usage.audio_input, Unpriced::AudioInput)?,
            self.output.cost(text_output),
            priced(self.audio_output, usage.audio_output, Unpriced::AudioOutput)?,
        ];
        Ok(sums.into_iter().sum())
    }
}

fn priced(rate: Option<UsdPerMillion>, tokens: u64, otherwise: Unpriced) -> Result<Usd, Unpriced> {
    match rate {
        Some(rate) => Ok(rate.cost(tokens)),
        None if tokens == 0 => Ok(Usd::ZERO),
        None => Err(otherwise),
    }
}

/// Rates that hold for all tokens of a long prompt and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LongPromptRates {
    /// They hold for prompts of more input tokens than this, cached ones included.
    pub above: u64,
    /// The rates.
    pub rates: Rates,
}

/// What tokens cost in one service of a provider, by the length of the prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServiceRates {
    /// For prompts that are not long.
    pub base: Rates,
    /// For longer prompts, in the order of their length.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub long_prompts: Vec<LongPromptRates>,
}

impl ServiceRates {
    /// Returns the rates for a prompt of `input` tokens. Providers charge all tokens of a request at these, not only those
    /// above the limit.
    pub fn at(&self, input: u64) -> &Rates {
        let long = self.long_prompts.iter().filter(|long| input > long.above).max_by_key(|long| long.above);
        long.map_or(&self.base, |long| &long.rates)
    }
}

impl From<Rates> for ServiceRates {
    fn from(base: Rates) -> Self {
        Self { base, long_prompts: Vec::new() }
    }
}

/// The prices of a model, and when they were looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Price {
    /// What tokens cost in the ordinary service.
    pub standard: ServiceRates,
    /// What they cost in batches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<ServiceRates>,
    /// What they cost in the service that waits for room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flex: Option<ServiceRates>,
    /// What they cost in the service that goes before others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<ServiceRates>,
    /// What each request costs beside its tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_fee: Option<Usd>,
    /// What each search of the web costs beside its tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_search_fee: Option<Usd>,
    /// The day the price was looked up, `YYYY-MM-DD`.
    pub as_of: String,
}

impl Price {
    /// Returns the price that consists of these rates alone.
    pub fn flat(rates: Rates, as_of: impl Into<String>) -> Self {
        Self { standard: rates.into(), as_of: as_of.into(), ..Self::default() }
    }

    /// Returns the price at which everything costs nothing, and why.
    pub fn free(why: impl Into<String>) -> Self {
        let rates = || Some(Rates::free().into());
        Self {
            batch: rates(),
            flex: rates(),
            priority: rates(),
            web_search_fee: Some(Usd::ZERO),
            ..Self::flat(Rates::free(), why)
        }
    }

    /// Returns whether everything costs nothing, whatever it is.
    pub fn is_free(&self) -> bool {
        let fees = [self.request_fee, self.web_search_fee];
        let services =
            [Some(&self.standard), self.batch.as_ref(), self.flex.as_ref(), self.priority.as_ref()];
        let is_free = |rates: Option<&ServiceRates>| {
            rates.is_some_and(|rates| rates.base == Rates::free() && rates.long_prompts.is_empty())
        };
        fees.into_iter().flatten().all(|fee| fee == Usd::ZERO)
            && self.web_search_fee.is_some()
            && services.into_iter().all(is_free)
    }

    /// Returns the exact cost of an answer.
    ///
    /// # Errors
    /// Why nobody can say: the counts are not all there or contradict each other, or the price does not state what
    /// something costs that the answer took.
    pub fn cost(&self, usage: impl Into<AnswerUsage>) -> Result<Usd, Unpriced> {
        let usage = usage.into();
        if self.is_free() {
            return Ok(Usd::ZERO);
        }
        match usage.counts {
            _ if usage.is_contradictory() => return Err(Unpriced::CountsContradict),
            CountState::Partial => return Err(Unpriced::CountedInPart),
            CountState::Unmodelled => return Err(Unpriced::NotModelled),
            CountState::Complete | CountState::Contradictory => {}
        }
        let rates = self.service(usage.service_tier)?.at(usage.tokens.input);
        let searches = match self.web_search_fee {
            Some(fee) => times(fee, usage.web_searches),
            None if usage.web_searches == 0 => Usd::ZERO,
            None => return Err(Unpriced::WebSearch),
        };
        let fees = self.request_fee.unwrap_or_default().saturating_add(searches);
        Ok(rates.cost(usage)?.saturating_add(fees))
    }

    fn service(&self, tier: Option<ServiceTier>) -> Result<&ServiceRates, Unpriced> {
        match tier.unwrap_or(ServiceTier::Standard) {
            ServiceTier::Standard => Ok(&self.standard),
            ServiceTier::Batch => self.batch.as_ref().ok_or(Unpriced::Batch),
            ServiceTier::Flex => self.flex.as_ref().ok_or(Unpriced::Flex),
            ServiceTier::Priority => self.priority.as_ref().ok_or(Unpriced::Priority),
            ServiceTier::Other => Err(Unpriced::OtherService),
        }
    }
}

fn times(fee: Usd, count: u64) -> Usd {
    let picodollars = i128::from(fee.picodollars()) * i128::from(count);
    Usd::from_picodollars(i64::try_from(picodollars).unwrap_or(i64::MAX))
}

words! {
    /// Why nobody can say what an attempt cost. The words are for programs and stay as they are.
    Unpriced:
    NoPrice = "no_price", "The configuration states no price for the model.";
    NotCounted = "not_counted", "The backend did not say what the answer took.";
    CountedInPart = "counted_in_part", "The answer ended before the backend had counted all that it took.";
    CountsContradict = "counts_contradict",
        "The backend's counts contradict each other or its answer, or some cannot be read.";
    NotModelled = "not_modelled", "The answer took something whose price cannot be stated here, such as images.";
    CacheWrite = "cache_write", "The price does not state what writing to the cache costs (`cache_write`).";
    CacheWriteLong = "cache_write_long",
        "The price does not state what writing to the cache for an hour or longer costs (`cache_write_long`).";
    AudioInput = "audio_input", "The price does not state what audio in the input costs (`audio_input`).";
    AudioOutput = "audio_output", "The price does not state what audio in the output costs (`audio_output`).";
    CachedAudio = "cached_audio", "The backend did not say how much of the input's audio came from the cache.";
    WebSearch = "web_search", "The price does not state what a search of the web costs (`web_search_fee`).";
    Batch = "batch", "The answer came from the provider's batch service, for which the price states no rates (`rates` with `service = \"batch\"`).";
    Flex = "flex", "The answer came from the provider's flex service, for which the price states no rates (`rates` with `service = \"flex\"`).";
    Priority = "priority",
        "The answer came from the provider's priority service, for which the price states no rates (`rates` with `service = \"priority\"`).";
    OtherService = "other_service", "The answer came from a service whose rates cannot be stated, or does not name the one that was asked for.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TokenUsage;

    fn rates(dollars: f64) -> Rates {
        let of = |dollars: f64| UsdPerMillion::from_dollars(dollars).unwrap();
        Rates {
            input: of(dollars),
            cached_input: of(dollars / 10.0),
            output: of(dollars * 4.0),
            ..Rates::default()
        }
    }

    fn check(dollars: f64, usage: TokenUsage, expected: &str) {
        let price = Price::flat(rates(dollars), "2026-11-01");
        assert_eq!(price.cost(usage).unwrap().to_string(), expected);
    }

    #[test]
    fn a_cost_is_exact_to_the_picodollar() {
        check(1.25, TokenUsage::new(1, 0, 0), "0.00000125");
        check(1.25, TokenUsage::new(1000, 400, 10), "0.00085");
        check(0.15, TokenUsage::new(3, 3, 0), "0.000000045");
        check(2.0, TokenUsage::new(1_000_000, 0, 0), "2");
    }

    /// Returns an answer that took 100 input tokens, 10 output tokens, and what `change` says.
    fn usage(change: impl FnOnce(&mut AnswerUsage)) -> AnswerUsage {
        let mut usage = AnswerUsage::from(TokenUsage::new(100, 0, 10));
        change(&mut usage);
        usage
    }

    #[test]
    fn what_the_price_does_not_state_is_not_free() {
        let bare = Price::flat(rates(1.0), "2026-11-01");
        let check = |change: fn(&mut AnswerUsage), expected: Unpriced| {
            assert_eq!(bare.cost(usage(change)), Err(expected));
            assert_eq!(Price::free("local").cost(usage(change)), Ok(Usd::ZERO), "{expected}");
        };
        check(|usage| usage.tokens.cache_write = 1, Unpriced::CacheWrite);
        check(|usage| usage.tokens.cache_write_long = 1, Unpriced::CacheWriteLong);
        check(|usage| usage.audio_input = 1, Unpriced::AudioInput);
        check(|usage| usage.audio_output = 1, Unpriced::AudioOutput);
        check(|usage| usage.web_searches = 1, Unpriced::WebSearch);
        check(|usage| usage.service_tier = Some(ServiceTier::Batch), Unpriced::Batch);
        check(|usage| usage.service_tier = Some(ServiceTier::Flex), Unpriced::Flex);
        check(|usage| usage.service_tier = Some(ServiceTier::Priority), Unpriced::Priority);
        check(|usage| usage.service_tier = Some(ServiceTier::Other), Unpriced::OtherService);
        check(|usage| usage.counts = CountState::Partial, Unpriced::CountedInPart);
        check(|usage| usage.counts = CountState::Contradictory, Unpriced::CountsContradict);
        check(|usage| usage.counts = CountState::Unmodelled, Unpriced::NotModelled);
        check(|usage| usage.tokens.cached_input = 101, Unpriced::CountsContradict);
        check(
            |usage| (usage.tokens.cached_input, usage.tokens.cache_write) = (60, 41),
            Unpriced::CountsContradict,
        );
        check(|usage| usage.tokens.cache_write = u64::MAX, Unpriced::CountsContradict);
        check(|usage| usage.audio_input = 101, Unpriced::CountsContradict);
        check(|usage| usage.audio_output = 11, Unpriced::CountsContradict);
        assert_eq!(
            bare.cost(usage(|usage| usage.service_tier = Some(ServiceTier::Standard))),
            bare.cost(usage(|_| {}))
        );
    }

    #[test]
    fn audio_and_cached_tokens_together_have_a_cost_only_where_audio_costs_what_text_does() {
        let both = usage(|usage| (usage.audio_input, usage.tokens.cached_input) = (10, 10));
        let audio = |dollars: f64| {
            let audio_input = UsdPerMillion::from_dollars(dollars).ok();
            Price::flat(Rates { audio_input, ..rates(1.0) }, "2026-11-01")
        };
        assert_eq!(audio(2.0).cost(both), Err(Unpriced::CachedAudio));
        assert_eq!(audio(1.0).cost(both).unwrap().to_string(), "0.000131");
    }

    #[test]
    fn each_kind_of_token_has_its_rate_and_each_search_its_fee() {
        let of = |dollars: f64| UsdPerMillion::from_dollars(dollars).ok();
        let all = Rates {
            cache_write: of(1.25),
            cache_write_long: of(2.0),
            audio_input: of(5.0),
            audio_output: of(20.0),
            ..rates(1.0)
        };
        let price = Price {
            flex: Some(rates(0.5).into()),
            request_fee: Some(Usd::from_picodollars(7)),
            web_search_fee: Some(Usd::from_picodollars(10_000_000_000)),
            ..Price::flat(all, "2026-11-01")
        };
        let check = |change: fn(&mut AnswerUsage), expected: i64| {
            assert_eq!(price.cost(usage(change)), Ok(Usd::from_picodollars(expected)));
        };
        check(|_| {}, 140_000_007);
        check(|usage| usage.tokens.cached_input = 10, 131_000_007);
        check(|usage| usage.tokens.cache_write = 10, 142_500_007);
        check(|usage| usage.tokens.cache_write_long = 10, 150_000_007);
        check(|usage| usage.audio_input = 10, 180_000_007);
        check(|usage| usage.audio_output = 10, 300_000_007);
        check(|usage| usage.web_searches = 3, 30_140_000_007);
        check(|usage| usage.service_tier = Some(ServiceTier::Flex), 70_000_007);
    }

    #[test]
    fn a_long_prompt_has_other_rates_for_all_its_tokens() {
        let long = |above, dollars| LongPromptRates { above, rates: rates(dollars) };
        let standard = ServiceRates { base: rates(1.0), long_prompts: vec![long(200, 3.0), long(100, 2.0)] };
        let price = Price { standard, ..Price::default() };
        for (input, expected) in [(100, "0.0001"), (101, "0.000202"), (200, "0.0004"), (201, "0.000603")] {
            assert_eq!(price.cost(TokenUsage::new(input, 0, 0)).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn absurd_counts_saturate() {
        let price =
            Price { web_search_fee: Some(Usd::from_picodollars(i64::MAX)), ..Price::flat(rates(1.0), "") };
        let absurd = AnswerUsage { web_searches: u64::MAX, ..TokenUsage::new(u64::MAX, 0, u64::MAX).into() };
        assert_eq!(price.cost(absurd), Ok(Usd::from_picodollars(i64::MAX)));
    }
}
