//! Reading what stands beside an answer: a field that cannot be read costs that field, never the answer.

use bantam_types::{AnswerUsage, ServiceTier};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// Words for an end that is none: the model, or the machine below it, broke off.
const BROKEN_OFF: &[&str] =
    &["error", "failed", "abort", "aborted", "cancelled", "canceled", "insufficient_system_resource"];

/// Deserialises a field that is as good as missing where it has another type.
pub(super) fn side<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let raw = Option::<&'de RawValue>::deserialize(deserializer)?;
    Ok(raw.and_then(|raw| serde_json::from_str(raw.get()).ok()))
}

/// Reads a count as upstreams write it: a whole number, also with a fraction of zero or as text.
pub(super) fn count(value: Option<&Value>) -> Option<u64> {
    match value? {
        Value::Number(number) => number.as_u64().or_else(|| {
            let float = number.as_f64()?;
            let is_count = float >= 0.0 && float.fract() == 0.0 && float < 9_007_199_254_740_992.0;
            is_count.then_some(float as u64)
        }),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// What is told of one count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing: the member is missing or null.
    #[default]
    Nothing,
    /// The count.
    Count(u64),
    /// Something that is no count.
    Unreadable,
}

impl Told {
    /// Reads a count.
    pub(super) fn of(value: Option<&Value>) -> Self {
        match value {
            None | Some(Value::Null) => Self::Nothing,
            value => count(value).map_or(Self::Unreadable, Self::Count),
        }
    }

    /// Takes over what a later object tells, where it tells anything.
    pub(super) fn learn(&mut self, value: Option<&Value>) {
        *self = Self::of(value).or(*self);
    }

    /// Returns what is told here, or else what is told there.
    pub(super) const fn or(self, other: Self) -> Self {
        match self {
            Self::Nothing => other,
            Self::Count(_) | Self::Unreadable => self,
        }
    }

    /// Returns the count, where it is known.
    pub(super) const fn known(self) -> Option<u64> {
        match self {
            Self::Count(count) => Some(count),
            Self::Nothing | Self::Unreadable => None,
        }
    }

    /// Returns the count, or zero where it is not known.
    pub(super) fn or_zero(self) -> u64 {
        self.known().unwrap_or(0)
    }
}

/// Reads the service tier that an answer names. `auto` names none: it is what may be asked for.
pub(super) fn service_tier(word: &Value) -> Option<ServiceTier> {
    let word = word.as_str()?.trim().to_ascii_lowercase();
    Some(match &*word {
        "" | "auto" => return None,
        "default" | "standard" | "on_demand" => ServiceTier::Standard,
        "batch" => ServiceTier::Batch,
        "flex" => ServiceTier::Flex,
        "priority" => ServiceTier::Priority,
        _ => ServiceTier::Other,
    })
}

/// Returns whether nothing was counted at all, which says that nobody counted.
pub(super) fn is_zero(usage: &AnswerUsage) -> bool {
    usage.tokens.input == 0 && usage.tokens.output == 0
}

/// Returns whether an `error` member tells of an error. Some upstreams send an empty one beside a good answer.
pub(super) fn is_error(error: Option<&RawValue>) -> bool {
    error.is_some_and(|json| !matches!(json.get(), "null" | "false" | "\"\"" | "{}" | "[]" | "0"))
}

/// Returns whether this word for the end of an answer says that the answer was broken off.
pub(super) fn is_broken_off(word: &str) -> bool {
    BROKEN_OFF.iter().any(|known| known.eq_ignore_ascii_case(word))
}

/// Returns whether a value is more than a placeholder.
pub(super) fn is_filled(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    }
}

/// Returns whether any member of an object but its role is filled.
pub(super) fn says_something(message: &Value) -> bool {
    let members = message.as_object();
    members.into_iter().flatten().any(|(name, value)| name != "role" && is_filled(value))
}

/// Returns the text of a content: all of a string, or the text parts of a list. What the model thinks is nothing that it
/// says.
pub(super) fn content_text(content: &Value) -> Option<String> {
    match content {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => {
            let mut texts = parts.iter().filter_map(|part| match part {
                Value::String(text) => Some(text.as_str()),
                _ if matches!(part["type"].as_str(), Some("text" | "output_text") | None) => {
                    part["text"].as_str()
                }
                _ => None,
            });
            let first = texts.next()?.to_owned();
            Some(texts.fold(first, |text, more| text + more))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_are_whole_numbers_however_they_are_written() {
        for (value, expected) in [
            (json!(12), Some(12)),
            (json!(12.0), Some(12)),
            (json!("12"), Some(12)),
            (json!(0), Some(0)),
            (json!(-1), None),
            (json!(-1.0), None),
            (json!(12.5), None),
            (json!(1e300), None),
            (json!("many"), None),
            (json!(null), None),
            (json!(true), None),
            (json!({}), None),
        ] {
            assert_eq!(count(Some(&value)), expected, "{value}");
        }
        assert_eq!(count(None), None);
    }

    #[test]
    fn only_what_the_model_says_is_text() {
        for (content, expected) in [
            (json!("a"), Some("a")),
            (
                json!([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "a"}]),
                Some("a"),
            ),
            (json!([{"type": "reasoning", "text": "hm"}, {"text": "a"}, "b", 7]), Some("ab")),
            (json!([{"type": "image_url"}]), None),
            (json!([]), None),
            (json!(null), None),
            (json!(7), None),
        ] {
            assert_eq!(content_text(&content).as_deref(), expected, "{content}");
        }
    }
}
