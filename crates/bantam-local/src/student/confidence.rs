//! How sure a language model was of what it wrote, by the probabilities of its own tokens.

/// Returns the log-probabilities of the tokens that are part of a value of the JSON `text`; forced tokens have none.
/// `pieces` are the bytes of the tokens, in order, with their log-probabilities.
///
/// The closing quote of a string belongs to its value: writing it is deciding that the value ends here. Where the
/// tokens' bytes are not those of the text, every token counts.
pub(super) fn of_values<'t>(text: &str, pieces: impl Iterator<Item = (&'t [u8], Option<f32>)>) -> Vec<f32> {
    let pieces: Vec<_> = pieces.collect();
    let values = value_bytes(text);
    let is_aligned = pieces.iter().map(|(bytes, _)| bytes.len()).sum::<usize>() == text.len();
    let mut at = 0;
    let mut counted = Vec::new();
    for (bytes, log_probability) in pieces {
        let range = at..at + bytes.len();
        at = range.end;
        let counts = !is_aligned || values.get(range).is_none_or(|flags| flags.contains(&true));
        counted.extend(log_probability.filter(|_| counts));
    }
    counted
}

/// Returns the log-probabilities of all tokens.
pub(super) fn of_all<'t>(pieces: impl Iterator<Item = (&'t [u8], Option<f32>)>) -> Vec<f32> {
    pieces.filter_map(|(_, log_probability)| log_probability).collect()
}

/// Returns the probability of all tokens together, the product of theirs; 1 without any.
pub(super) fn whole(counted: &[f32]) -> f32 {
    counted.iter().sum::<f32>().exp()
}

/// Returns the smallest probability of a token; 1 without any. A text is right when it is the same, so one name that was
/// copied wrong makes it wrong, however sure the words around it are.
pub(super) fn least(counted: &[f32]) -> f32 {
    counted.iter().copied().fold(0.0, f32::min).exp()
}

/// Returns the tenth percentile of the tokens' probabilities (nearest rank), then their geometric mean; 1 without any.
pub(super) fn tenth_and_mean(counted: &[f32]) -> (f32, f32) {
    let mut sorted = counted.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let tenth = sorted.get(sorted.len().div_ceil(10).saturating_sub(1)).copied().unwrap_or(0.0);
    let mean = counted.iter().sum::<f32>() / counted.len().max(1) as f32;
    (tenth.exp(), mean.exp())
}

/// Returns for each byte of a JSON text whether it is part of a value: of a string with its closing quote, of a number or
/// of a word, not of a member's name or of punctuation.
fn value_bytes(text: &str) -> Vec<bool> {
    /// What a string is at some point of the text.
    #[derive(Clone, Copy, PartialEq)]
    enum StringRole {
        Name,
        Value,
    }
    let mut flags = Vec::with_capacity(text.len());
    let mut roles = Vec::new();
    let mut role = StringRole::Value;
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        if in_string {
            flags.push(role == StringRole::Value);
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        let mut is_value = false;
        match byte {
            b'"' => in_string = true,
            b'{' => {
                roles.push(StringRole::Name);
                role = StringRole::Name;
            }
            b'[' => {
                roles.push(StringRole::Value);
                role = StringRole::Value;
            }
            b'}' | b']' => {
                roles.pop();
                role = StringRole::Value;
            }
            b':' => role = StringRole::Value,
            b',' => role = roles.last().copied().unwrap_or(StringRole::Value),
            _ => is_value = !byte.is_ascii_whitespace(),
        }
        flags.push(is_value);
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let shown: String = text
            .chars()
            .zip(value_bytes(text))
            .map(|(char, is_value)| if is_value { char } else { '.' })
            .collect();
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn values_are_told_from_names_and_punctuation() {
        check(r#"{"a": "xy", "b": [1, -2.5e3], "c": null}"#, r#".......xy"........1..-2.5e3........null."#);
        check(r#"{"a":{"b":"\"}"},"c":true}"#, r#"...........\"}"......true."#);
        check(r#"["a", {"b": [] }, "c"]"#, r#"..a"...............c"."#);
        check(r#""x""#, r#".x""#);
        check("12", "12");
    }

    #[test]
    fn of_json_the_tokens_of_its_values_count() {
        let text = r#"{"a": "xy", "n": 12}"#;
        let pieces: [(&[u8], Option<f32>); 7] = [
            (b"{\"a\": \"", None),
            (b"x", Some(-0.1)),
            (b"y\"", Some(-0.7)),
            (b", \"", Some(-9.0)),
            (b"n\": ", None),
            (b"12", Some(-0.3)),
            (b"}", Some(-8.0)),
        ];
        assert_eq!(of_values(text, pieces.into_iter()), [-0.1, -0.7, -0.3]);
        // Bytes that are not the text's own: nothing is left out.
        assert_eq!(of_values("{}", pieces.into_iter()), [-0.1, -0.7, -9.0, -0.3, -8.0]);
        assert!(of_values("{}", std::iter::once((&b"{}"[..], None))).is_empty());
        assert_eq!(of_all(pieces.into_iter()), [-0.1, -0.7, -9.0, -0.3, -8.0]);
    }

    #[test]
    fn what_counts_is_seen_as_a_whole_by_its_least_its_tenth_and_its_mean() {
        let counted: Vec<f32> = (1..=20).map(|index| -0.1 * index as f32).collect();
        assert!((whole(&counted) - (-21.0_f32).exp()).abs() < 1e-12);
        assert_eq!(least(&counted), (-2.0_f32).exp());
        let (tenth, mean) = tenth_and_mean(&counted);
        assert_eq!(tenth, (-0.1 * 19.0_f32).exp());
        assert!((mean - (-1.05_f32).exp()).abs() < 1e-6);
        assert_eq!((whole(&[]), least(&[]), tenth_and_mean(&[])), (1.0, 1.0, (1.0, 1.0)));
        assert_eq!(tenth_and_mean(&[-0.5]), ((-0.5_f32).exp(), (-0.5_f32).exp()));
    }
}
