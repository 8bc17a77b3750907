//! Anthropic's `usage` object.

use bantam_types::{AnswerUsage, TokenUsage};
use serde_json::Value;

use crate::dialect::lenient::count;

/// The counts of one object, or of all that a stream has sent: later ones replace earlier ones, for each counts from the
/// beginning.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    input: Option<u64>,
    cache_read: Option<u64>,
    cache_creation: Option<u64>,
    output: Option<u64>,
}

impl Counts {
    /// Takes over what `usage` tells. A count that cannot be read is unknown from then on; one that is missing or null stays
    /// what it was.
    pub(super) fn learn(&mut self, usage: &Value) {
        for (name, known) in [
            ("input_tokens", &mut self.input),
            ("cache_read_input_tokens", &mut self.cache_read),
            ("cache_creation_input_tokens", &mut self.cache_creation),
            ("output_tokens", &mut self.output),
        ] {
            if let Some(value) = usage.get(name).filter(|value| !value.is_null()) {
                *known = count(Some(value));
            }
        }
    }

    /// Returns the tokens, where they are known: cached ones are counted beside `input_tokens` there and within the input
    /// here. Counts that are all zero are unknown.
    pub(super) fn usage(self) -> Option<AnswerUsage> {
        let (input, output) = (self.input?, self.output?);
        let cached = self.cache_read.unwrap_or(0);
        let input = input.saturating_add(cached).saturating_add(self.cache_creation.unwrap_or(0));
        (input > 0 || output > 0).then(|| TokenUsage::new(input, cached, output).into())
    }
}

/// Reads the counts of a whole answer.
pub(super) fn read(usage: &Value) -> Option<AnswerUsage> {
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
