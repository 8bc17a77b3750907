//! Reading which label a model's answer names, as people would read it, and never guessing.

use std::borrow::Cow;

use serde_json::Value;

/// What models put around a label, beside white space.
const WRAPPING: &str = "\"'`*_.:,;!?()[]<>-\u{2022}\u{201c}\u{201d}\u{201e}\u{2018}\u{2019}\u{201a}\u{ab}\u{bb}\u{300c}\u{300d}\u{3002}";

/// Returns which of `labels` an answer names, or `None`.
///
/// Models think aloud first, add quotes, full stops and code fences, change the case, and wrap the label in JSON although
/// nobody asked for it: all of that is ignored. In an object the label stands under `key`, or under the only key that
/// there is. A text that holds several labels, or a label and other words, names none, and so does one that could mean two
/// labels.
pub fn match_label(text: &str, labels: &[impl AsRef<str>], key: Option<&str>) -> Option<usize> {
    let text = behind_thinking(text).trim();
    let exact = labels.iter().position(|label| label.as_ref() == text);
    if exact.is_some() {
        return exact;
    }
    let inner = within_fence(text).unwrap_or(text);
    match serde_json::from_str::<Value>(inner) {
        Ok(value @ (Value::Object(_) | Value::Array(_) | Value::String(_))) => {
            match_bare(&scalar(&value, key)?, labels)
        }
        _ => match_bare(inner, labels),
    }
}

/// Returns what follows the thoughts that some models write in front of their answer.
fn behind_thinking(text: &str) -> &str {
    match text.trim_start().strip_prefix("<think>").and_then(|thought| thought.rsplit_once("</think>")) {
        Some((_, answer)) => answer,
        None => text,
    }
}

/// Returns what stands in a code fence that is all of the text.
fn within_fence(text: &str) -> Option<&str> {
    let fenced = text.strip_prefix("```")?.strip_suffix("```")?;
    if fenced.contains("```") {
        return None;
    }
    match fenced.split_once('\n') {
        // The rest of the first line names a language.
        Some((_, body)) if !body.trim().is_empty() => Some(body.trim()),
        _ => Some(
            fenced
                .strip_prefix("json")
                .filter(|rest| rest.trim_start().starts_with(['{', '[']))
                .unwrap_or(fenced)
                .trim(),
        ),
    }
}

/// Returns the one value that some JSON comes down to.
fn scalar<'v>(value: &'v Value, key: Option<&str>) -> Option<Cow<'v, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Bool(_) | Value::Number(_) => Some(Cow::Owned(value.to_string())),
        Value::Null => None,
        Value::Array(items) => match &**items {
            [only] => scalar(only, key),
            _ => None,
        },
        Value::Object(members) => {
            let named = key.and_then(|key| members.get(key));
            let mut values = members.values();
            let only = || values.next().filter(|_| members.len() == 1);
            scalar(named.or_else(only)?, key)
        }
    }
}

/// Returns which label the text is, when it is nothing else: as it stands, or in other case, or with other separators. What
/// fits two labels equally well fits none.
fn match_bare(text: &str, labels: &[impl AsRef<str>]) -> Option<usize> {
    let forms: [fn(&str) -> String; 4] = [
        |text| text.trim().to_owned(),
        |text| text.trim().to_lowercase(),
        |text| bare(text).to_lowercase(),
        |text| bare(text).to_lowercase().replace(['-', '_', ' '], ""),
    ];
    for form in forms {
        let said = form(text);
        if said.is_empty() {
            return None;
        }
        let fits = |label: &str| form(label) == said;
        let mut found = labels.iter().enumerate().filter(|(_, label)| fits(label.as_ref()));
        match (found.next(), found.next()) {
            (Some((index, _)), None) => return Some(index),
            (Some(_), Some(_)) => return None,
            (None, _) => {}
        }
    }
    None
}

fn bare(text: &str) -> &str {
    text.trim_matches(|symbol: char| symbol.is_whitespace() || WRAPPING.contains(symbol))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [&str; 6] = ["card_lost", "Card_Lost", "refund", "\u{dc}berweisung", "c++", "7"];

    fn check(text: &str, expected: Option<usize>) {
        assert_eq!(match_label(text, &LABELS, Some("intent")), expected, "{text:?}");
    }

    #[test]
    fn finds_a_wrapped_label() {
        for text in [
            "refund",
            " \"Refund.\"\n",
            "`REFUND`",
            "**refund**",
            "__Refund__!",
            "\u{201c}refund\u{201d}",
            "- refund",
            "(refund)",
            "```refund```",
            "```\nrefund\n```",
            "```text\nRefund.\n```",
            "```\n\"refund\"\n```",
            "<think>a card? no, a refund</think>\n\nrefund",
            "\"refund\"",
            "[\"refund\"]",
            "{\"intent\": \"refund\"}",
            "{\"intent\": \"refund\", \"confidence\": 0.9}",
            "{\"intent\": [\"refund\"]}",
            "{\"label\": \"Refund.\"}",
            "{\"answer\": {\"label\": \"refund\"}}",
            "```json\n{\"intent\": \"refund\"}\n```",
            "```json{\"intent\": \"refund\"}```",
            "```\n{\"class\": \"refund\"}\n```",
        ] {
            check(text, Some(2));
        }
        check("card_lost", Some(0));
        check("Card_Lost", Some(1));
        check("\u{fc}berweisung.", Some(3));
        check("C++", Some(4));
        check("{\"intent\": 7}", Some(5));
        check("7", Some(5));
    }

    #[test]
    fn never_guesses() {
        for text in [
            "",
            "...",
            "```\n```",
            "CARD_LOST",
            "card lost",
            "refund or card_lost",
            "the label is refund",
            "refund, card_lost",
            "refunds",
            "[\"refund\", \"card_lost\"]",
            "{}",
            "{\"intent\": null, \"other\": \"refund\"}",
            "{\"label\": \"refund\", \"reason\": \"card_lost\"}",
            "{\"intent\": {\"a\": \"refund\", \"b\": \"refund\"}}",
            "```\nrefund\n```\n```\ncard_lost\n```",
            "<think>refund",
            "null",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn separators_are_read_alike_where_that_is_one_label() {
        let check = |text: &str, labels: &[&str], expected| {
            assert_eq!(match_label(text, labels, None), expected, "{text:?} of {labels:?}");
        };
        check("Card lost", &["card_lost", "refund"], Some(0));
        check("card-lost", &["card_lost", "card lost"], None);
        check("true", &["true", "false"], Some(0));
        check("{\"fraud\": true}", &["true", "false"], Some(0));
        check("What?", &["what?", "who?"], Some(0));
        check("{\"a\": \"refund\", \"b\": 1}", &["refund"], None);
    }
}
