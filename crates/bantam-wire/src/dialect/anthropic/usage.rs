//! Anthropic's `usage` object.

use bantam_types::{AnswerUsage, CountState, ServiceTier, TokenUsage};
use serde_json::Value;

use crate::dialect::lenient::{Told, is_zero, service_tier};

/// The counts of one object, or of all that a stream has sent: each is a total from the beginning, so later ones replace
/// earlier ones, and one that is missing or null stays what it was.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    input: Told,
    cache_read: Told,
    cache_write: Told,
    cache_write_minutes: Told,
    cache_write_hour: Told,
    output: Told,
    web_searches: Told,
    service_tier: Option<ServiceTier>,
    /// A rate holds that is none of the tier's own: that of a region, or of the fast mode.
    has_other_rate: bool,
}

impl Counts {
    /// Takes over what `usage` tells.
    pub(super) fn learn(&mut self, usage: &Value) {
        self.input.learn(usage.get("input_tokens"));
        self.cache_read.learn(usage.get("cache_read_input_tokens"));
        self.cache_write.learn(usage.get("cache_creation_input_tokens"));
        let writes = &usage["cache_creation"];
        self.cache_write_minutes.learn(writes.get("ephemeral_5m_input_tokens"));
        self.cache_write_hour.learn(writes.get("ephemeral_1h_input_tokens"));
        self.output.learn(usage.get("output_tokens"));
        self.web_searches.learn(usage["server_tool_use"].get("web_search_requests"));
        self.service_tier = service_tier(&usage["service_tier"]).or(self.service_tier);
        let is_regional = usage["inference_geo"] == "us";
        self.has_other_rate |= is_regional || usage["speed"] == "fast";
    }

    /// Returns what was counted, where input and output are known: tokens from and into the cache are counted beside
    /// `input_tokens` there and within the input here. Counts that are all zero are unknown.
    pub(super) fn usage(self) -> Option<AnswerUsage> {
        let (fresh, output) = (self.input.known()?, self.output.known()?);
        let cached_input = self.cache_read.or_zero();
        let writes = self.writes();
        let (cache_write, cache_write_long) = writes.unwrap_or((self.cache_write.or_zero(), 0));
        let input =
            [cached_input, cache_write, cache_write_long].into_iter().fold(fresh, u64::saturating_add);
        let tokens = TokenUsage { input, cached_input, cache_write, cache_write_long, output };
        let service_tier = if self.has_other_rate { Some(ServiceTier::Other) } else { self.service_tier };
        let usage = AnswerUsage {
            web_searches: self.web_searches.or_zero(),
            service_tier,
            ..AnswerUsage::from(tokens)
        };
        let parts = [self.cache_read, self.cache_write, self.web_searches];
        let is_wrong = input == 0 || writes.is_none() || parts.contains(&Told::Unreadable);
        match is_wrong {
            _ if is_zero(&usage) => None,
            true => Some(usage.contradictory()),
            false => Some(usage),
        }
    }

    /// Returns what was counted so far of an answer that goes on, or of one that broke off.
    pub(super) fn usage_so_far(self) -> Option<AnswerUsage> {
        let output = if self.output == Told::Nothing { Told::Count(0) } else { self.output };
        Self { output, ..self }.usage().map(|usage| AnswerUsage { counts: CountState::Partial, ..usage })
    }

    /// Returns the tokens written to the cache for minutes and for an hour; `None` where nobody can say.
    fn writes(self) -> Option<(u64, u64)> {
        let (minutes, hour) = (self.cache_write_minutes, self.cache_write_hour);
        if [minutes, hour, self.cache_write].contains(&Told::Unreadable) {
            return None;
        }
        let told = minutes.or_zero().checked_add(hour.or_zero())?;
        let Some(all) = self.cache_write.known() else { return Some((minutes.or_zero(), hour.or_zero())) };
        // The sum may be told later than its parts, and without them, when the answer went on writing.
        match (all.checked_sub(told)?, minutes.or_zero(), hour.or_zero()) {
            (0, minutes, hour) => Some((minutes, hour)),
            // Those that nobody tells apart are kept for minutes, unless all others are kept for an hour.
            (_, _, 0) => Some((all, 0)),
            (_, 0, _) => Some((0, all)),
            _ => None,
        }
    }
}

/// Reads the counts of a whole answer.
pub(in crate::dialect) fn read(usage: &Value) -> Option<AnswerUsage> {
    let mut counts = Counts::default();
    counts.learn(usage);
    counts.usage()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(usage: Option<AnswerUsage>) -> Option<(u64, u64, u64)> {
        usage.map(|AnswerUsage { tokens, .. }| (tokens.input, tokens.cached_input, tokens.output))
    }

    #[test]
    fn what_is_not_known_is_not_counted_as_nothing() {
        for (usage, expected) in [
            (json!({"input_tokens": 5, "cache_read_input_tokens": 2, "output_tokens": 3}), Some((7, 2, 3))),
            (
                json!({"input_tokens": 5.0, "cache_read_input_tokens": null, "output_tokens": "3"}),
                Some((5, 0, 3)),
            ),
            (
                json!({"input_tokens": 5, "cache_creation_input_tokens": 4, "output_tokens": 0}),
                Some((9, 0, 0)),
            ),
            (json!({"input_tokens": 0, "output_tokens": 0}), None),
            (json!({"input_tokens": -1, "output_tokens": 3}), None),
            (json!({"input_tokens": 5, "output_tokens": null}), None),
            (json!({"output_tokens": 3}), None),
            (json!({}), None),
            (json!(null), None),
            (json!([7]), None),
        ] {
            assert_eq!(told(read(&usage)), expected, "{usage}");
        }
    }

    #[test]
    fn later_counts_of_a_stream_replace_earlier_ones() {
        let mut counts = Counts::default();
        counts.learn(&json!({"input_tokens": 5, "output_tokens": 1}));
        counts.learn(&json!({"input_tokens": null, "output_tokens": 9}));
        assert_eq!(told(counts.usage()), Some((5, 0, 9)));
        counts.learn(&json!({"input_tokens": 6, "cache_read_input_tokens": 2}));
        assert_eq!(told(counts.usage()), Some((8, 2, 9)));
        counts.learn(&json!({"output_tokens": -1}));
        assert_eq!(told(counts.usage()), None);
    }
}
