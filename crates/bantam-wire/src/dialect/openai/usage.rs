//! OpenAI's `usage` object, read and written.

use bantam_types::{AnswerUsage, CountState, ServiceTier, TokenUsage};
use serde_json::Value;
use serde_json::value::RawValue;

use super::write::push_integer;
use crate::call::CallKind;
use crate::dialect::lenient::{self, Told, is_zero};

/// Reads the service tier that an answer names beside its choices.
pub(super) fn read_tier(json: Option<&RawValue>) -> Option<ServiceTier> {
    lenient::service_tier(&serde_json::from_str(json?.get()).ok()?)
}

/// Reads the object. Counts that are missing, unreadable or all zero are unknown: an answer is rather not priced than
/// priced too low.
pub(super) fn read(
    kind: CallKind,
    json: Option<&RawValue>,
    service_tier: Option<ServiceTier>,
) -> Option<AnswerUsage> {
    read_value(kind, &serde_json::from_str(json?.get()).ok()?, service_tier)
}

/// See [`read`].
pub(in crate::dialect) fn read_value(
    kind: CallKind,
    usage: &Value,
    service_tier: Option<ServiceTier>,
) -> Option<AnswerUsage> {
    let counts = Counts::of(usage);
    let (input, output, agree) = counts.input_and_output(kind)?;
    let service_tier = service_tier.or_else(|| lenient::service_tier(&usage["service_tier"]));
    let usage = AnswerUsage {
        tokens: TokenUsage {
            input,
            // What cannot be read is not known to be cheaper.
            cached_input: counts.cached.or_zero(),
            cache_write: counts.cache_write.or_zero(),
            cache_write_long: counts.cache_write_long.or_zero(),
            output,
        },
        audio_input: counts.audio_input.or_zero(),
        audio_output: counts.audio_output.or_zero(),
        web_searches: counts.web_searches.or_zero(),
        service_tier,
        counts: CountState::Complete,
    };
    let parts = [
        counts.cache_write,
        counts.cache_write_long,
        counts.audio_input,
        counts.audio_output,
        counts.web_searches,
    ];
    let is_wrong = !agree || input == 0 || usage.is_contradictory() || parts.contains(&Told::Unreadable);
    match counts.image_output {
        _ if is_zero(&usage) => None,
        _ if is_wrong => Some(usage.contradictory()),
        Told::Nothing | Told::Count(0) => Some(usage),
        // Images cost many times what text does.
        Told::Count(_) | Told::Unreadable => Some(AnswerUsage { counts: CountState::Unmodelled, ..usage }),
    }
}

/// What an object tells, under any of the names that upstreams have for it.
struct Counts {
    prompt: Told,
    completion: Told,
    total: Told,
    reasoning: Told,
    cached: Told,
    /// Tokens of the prompt that did not come from the cache.
    misses: Told,
    cache_write: Told,
    cache_write_long: Told,
    audio_input: Told,
    audio_output: Told,
    image_output: Told,
    web_searches: Told,
}

impl Counts {
    fn of(usage: &Value) -> Self {
        let top = |name: &str| Told::of(usage.get(name));
        let of_prompt = |name: &str| Told::of(usage["prompt_tokens_details"].get(name));
        let of_completion = |name: &str| Told::of(usage["completion_tokens_details"].get(name));
        let writes = &usage["prompt_tokens_details"]["cache_creation_token_details"];
        let long = Told::of(writes.get("ephemeral_1h_input_tokens"));
        let all = of_prompt("cache_write_tokens")
            .or(of_prompt("cache_creation_tokens"))
            .or(top("cache_creation_input_tokens"))
            .or(top("cache_write_tokens"));
        let short = match (all, long) {
            (Told::Count(all), Told::Count(long)) => {
                all.checked_sub(long).map_or(Told::Unreadable, Told::Count)
            }
            (Told::Nothing, _) => Told::of(writes.get("ephemeral_5m_input_tokens")),
            (all, _) => all,
        };
        Self {
            prompt: top("prompt_tokens"),
            completion: top("completion_tokens"),
            total: top("total_tokens"),
            reasoning: of_completion("reasoning_tokens").or(top("reasoning_tokens")),
            cached: of_prompt("cached_tokens")
                .or(top("prompt_cache_hit_tokens"))
                .or(top("cache_read_input_tokens"))
                .or(top("cached_tokens")),
            misses: top("prompt_cache_miss_tokens"),
            cache_write: short,
            cache_write_long: long,
            audio_input: of_prompt("audio_tokens"),
            audio_output: of_completion("audio_tokens"),
            image_output: of_completion("image_tokens"),
            web_searches: Told::of(usage["server_tool_use"].get("web_search_requests"))
                .or(top("num_search_queries"))
                .or(top("num_sources_used")),
        }
    }

    /// Returns all input and output tokens, and whether the counts agree on them. Some providers count the tokens of
    /// reasoning, or those from a cache, beside the others; the total says so.
    fn input_and_output(&self, kind: CallKind) -> Option<(u64, u64, bool)> {
        let total = self.total.known();
        let (prompt, completion) = match (self.prompt.known(), self.completion) {
            (Some(prompt), Told::Count(completion)) => (prompt, completion),
            // Vectors have no tokens of their own.
            (Some(prompt), _) if kind == CallKind::Embeddings => (prompt, 0),
            (Some(prompt), Told::Nothing) => (prompt, total?.checked_sub(prompt)?),
            _ => return None,
        };
        let reasoning = self.reasoning.or_zero();
        let (cached, writes) = (self.cached.or_zero(), self.writes());
        let Some(total) = total else {
            return Some((prompt, completion, reasoning <= completion && self.misses_agree(prompt)));
        };
        let parts = prompt.saturating_add(completion);
        Some(match total.checked_sub(parts) {
            Some(0) => (prompt, completion, reasoning <= completion && self.misses_agree(prompt)),
            Some(beside) if beside == reasoning => (prompt, completion.saturating_add(beside), true),
            Some(beside) if beside == cached.saturating_add(writes) => {
                (prompt.saturating_add(beside), completion, true)
            }
            // Reasoning that is not told apart.
            Some(beside) if reasoning == 0 => (prompt, completion.saturating_add(beside), true),
            Some(_) | None => (prompt, completion, false),
        })
    }

    fn writes(&self) -> u64 {
        self.cache_write.or_zero().saturating_add(self.cache_write_long.or_zero())
    }

    fn misses_agree(&self, prompt: u64) -> bool {
        match (self.cached.known(), self.misses.known()) {
            (Some(hits), Some(misses)) => hits.saturating_add(misses) == prompt,
            _ => true,
        }
    }
}

/// Appends the object. Vectors have no tokens of their own, and nothing is cached for them.
pub(super) fn push_usage(out: &mut Vec<u8>, kind: CallKind, usage: AnswerUsage) {
    let TokenUsage { input, cached_input, cache_write, cache_write_long, output } = usage.tokens;
    out.extend_from_slice(b"{\"prompt_tokens\":");
    push_integer(out, input);
    if kind != CallKind::Embeddings {
        out.extend_from_slice(b",\"completion_tokens\":");
        push_integer(out, output);
    }
    out.extend_from_slice(b",\"total_tokens\":");
    push_integer(out, input.saturating_add(output));
    if kind != CallKind::Embeddings {
        out.extend_from_slice(b",\"prompt_tokens_details\":{\"cached_tokens\":");
        push_integer(out, cached_input);
        push_count(out, b",\"cache_write_tokens\":", cache_write.saturating_add(cache_write_long));
        push_count(out, b",\"audio_tokens\":", usage.audio_input);
        out.push(b'}');
        if usage.audio_output > 0 {
            out.extend_from_slice(b",\"completion_tokens_details\":{\"audio_tokens\":");
            push_integer(out, usage.audio_output);
            out.push(b'}');
        }
    }
    out.push(b'}');
}

/// Appends a member whose count is seldom more than zero.
fn push_count(out: &mut Vec<u8>, name: &[u8], count: u64) {
    if count > 0 {
        out.extend_from_slice(name);
        push_integer(out, count);
    }
}

/// Appends the object, or `null`.
pub(super) fn push_usage_or_null(out: &mut Vec<u8>, kind: CallKind, usage: Option<AnswerUsage>) {
    match usage {
        Some(usage) => push_usage(out, kind, usage),
        None => out.extend_from_slice(b"null"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of an object: its tokens, and how far they can be trusted.
    fn told(kind: CallKind, json: &str) -> Option<(u64, u64, u64, CountState)> {
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        read(kind, Some(raw), None).map(|AnswerUsage { tokens, counts, .. }| {
            (tokens.input, tokens.cached_input, tokens.output, counts)
        })
    }

    #[test]
    fn what_is_not_known_is_not_counted_as_nothing() {
        let good = |json: &str, (input, cached, output): (u64, u64, u64)| {
            let expected = Some((input, cached, output, CountState::Complete));
            assert_eq!(told(CallKind::Chat, json), expected, "{json}");
        };
        good(r#"{"prompt_tokens":3,"completion_tokens":2,"prompt_tokens_details":null}"#, (3, 0, 2));
        good(r#"{"prompt_tokens":3.0,"completion_tokens":"2","total_tokens":5}"#, (3, 0, 2));
        good(r#"{"prompt_tokens":3,"completion_tokens":null,"total_tokens":5}"#, (3, 0, 2));
        good(r#"{"prompt_tokens":3,"completion_tokens":2,"total_tokens":-5}"#, (3, 0, 2));
        good(
            r#"{"prompt_tokens":3,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":-9}}"#,
            (3, 0, 1),
        );
        for unknown in [
            "{}",
            "7",
            "[]",
            "\"\"",
            r#"{"prompt_tokens":0,"completion_tokens":0}"#,
            r#"{"prompt_tokens":3}"#,
            r#"{"prompt_tokens":3,"total_tokens":2}"#,
            r#"{"prompt_tokens":-3,"completion_tokens":1}"#,
            r#"{"prompt_tokens":3,"completion_tokens":1.5}"#,
            r#"{"prompt_tokens":3,"completion_tokens":-1,"total_tokens":5}"#,
            r#"{"prompt_tokens":null,"completion_tokens":1}"#,
        ] {
            assert_eq!(told(CallKind::Chat, unknown), None, "{unknown}");
        }
        let vectors = told(CallKind::Embeddings, r#"{"prompt_tokens":3,"total_tokens":3}"#);
        assert_eq!(vectors, Some((3, 0, 0, CountState::Complete)));
    }

    #[test]
    fn the_total_says_what_is_counted_beside_the_rest() {
        let check = |json: &str, expected: (u64, u64, u64)| {
            let json = format!("{{{json}}}");
            let expected = Some((expected.0, expected.1, expected.2, CountState::Complete));
            assert_eq!(told(CallKind::Chat, &json), expected, "{json}");
        };
        // OpenAI: within the completion.
        check(
            r#""prompt_tokens":10,"completion_tokens":20,"total_tokens":30,"completion_tokens_details":{"reasoning_tokens":15}"#,
            (10, 0, 20),
        );
        // xAI: beside it.
        check(
            r#""prompt_tokens":12,"completion_tokens":1,"total_tokens":399,"completion_tokens_details":{"reasoning_tokens":386}"#,
            (12, 0, 387),
        );
        // Gemini: beside it, and not told.
        check(r#""prompt_tokens":10,"completion_tokens":5,"total_tokens":95"#, (10, 0, 85));
        // DeepSeek.
        check(
            r#""prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"prompt_cache_hit_tokens":4,"prompt_cache_miss_tokens":6"#,
            (10, 4, 5),
        );
        // Tokens from the cache beside the prompt.
        check(
            r#""prompt_tokens":2,"completion_tokens":5,"total_tokens":15,"cache_read_input_tokens":8"#,
            (10, 8, 5),
        );
    }

    #[test]
    fn counts_that_contradict_each_other_are_marked() {
        for json in [
            r#""prompt_tokens":10,"completion_tokens":5,"total_tokens":9"#,
            r#""prompt_tokens":10,"completion_tokens":5,"total_tokens":0"#,
            r#""prompt_tokens":0,"completion_tokens":5"#,
            r#""prompt_tokens":10,"completion_tokens":5,"completion_tokens_details":{"reasoning_tokens":6}"#,
            r#""prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"completion_tokens_details":{"reasoning_tokens":6}"#,
            r#""prompt_tokens":10,"completion_tokens":5,"total_tokens":90,"completion_tokens_details":{"reasoning_tokens":6}"#,
            r#""prompt_tokens":10,"completion_tokens":5,"prompt_cache_hit_tokens":4,"prompt_cache_miss_tokens":7"#,
            r#""prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cache_write_tokens":-1}"#,
            r#""prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"audio_tokens":"some"}"#,
        ] {
            let json = format!("{{{json}}}");
            let counts = told(CallKind::Chat, &json).map(|(.., counts)| counts);
            assert_eq!(counts, Some(CountState::Contradictory), "{json}");
        }
        let images =
            r#"{"prompt_tokens":10,"completion_tokens":5,"completion_tokens_details":{"image_tokens":4}}"#;
        assert_eq!(told(CallKind::Chat, images), Some((10, 0, 5, CountState::Unmodelled)));
    }

    #[test]
    fn reads_what_else_is_charged_for_under_every_name() {
        let check = |json: &str, change: fn(&mut AnswerUsage)| {
            let json = format!(r#"{{"prompt_tokens":100,"completion_tokens":20,{json}}}"#);
            let mut expected = AnswerUsage::from(TokenUsage::new(100, 0, 20));
            change(&mut expected);
            let raw: &RawValue = serde_json::from_str(&json).unwrap();
            assert_eq!(read(CallKind::Chat, Some(raw), None), Some(expected), "{json}");
        };
        check(r#""prompt_tokens_details":{"cache_write_tokens":7}"#, |usage| usage.tokens.cache_write = 7);
        check(r#""prompt_tokens_details":{"cache_creation_tokens":7}"#, |usage| usage.tokens.cache_write = 7);
        check(r#""cache_creation_input_tokens":7"#, |usage| usage.tokens.cache_write = 7);
        check(
            r#""prompt_tokens_details":{"cache_creation_tokens":7,"cache_creation_token_details":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":4}}"#,
            |usage| (usage.tokens.cache_write, usage.tokens.cache_write_long) = (3, 4),
        );
        check(r#""cached_tokens":7"#, |usage| usage.tokens.cached_input = 7);
        check(r#""prompt_tokens_details":{"audio_tokens":7}"#, |usage| usage.audio_input = 7);
        check(r#""completion_tokens_details":{"audio_tokens":7}"#, |usage| usage.audio_output = 7);
        check(r#""server_tool_use":{"web_search_requests":2}"#, |usage| usage.web_searches = 2);
        check(r#""num_sources_used":2"#, |usage| usage.web_searches = 2);
        for (word, tier) in [
            ("flex", Some(ServiceTier::Flex)),
            ("default", Some(ServiceTier::Standard)),
            ("Priority", Some(ServiceTier::Priority)),
            ("scale", Some(ServiceTier::Other)),
            ("auto", None),
        ] {
            let raw = serde_json::value::to_raw_value(word).unwrap();
            assert_eq!(read_tier(Some(&raw)), tier, "{word}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let usage = AnswerUsage {
            tokens: TokenUsage {
                input: 100,
                cached_input: 10,
                cache_write: 20,
                cache_write_long: 0,
                output: 30,
            },
            audio_input: 5,
            audio_output: 6,
            ..AnswerUsage::default()
        };
        for usage in [usage, TokenUsage::new(3, 0, 2).into()] {
            let mut out = Vec::new();
            push_usage(&mut out, CallKind::Chat, usage);
            let raw: &RawValue = serde_json::from_slice(&out).unwrap();
            assert_eq!(read(CallKind::Chat, Some(raw), None), Some(usage));
        }
    }
}
