//! Keeps message text that looks like a control token as plain text.
//!
//! Templates write control tokens as text, and the rendered text is scanned for them. Message text must never become
//! a control token, so look-alikes are wrapped in two characters that no text contains (Unicode noncharacters,
//! removed from messages first), pass through the template, and come out as separate pieces.

use serde_json::Value;

const OPEN: char = '\u{FDD0}';
const CLOSE: char = '\u{FDD1}';

/// A part of the rendered text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The text.
    pub text: String,
    /// Whether this is message text that only looks like a control token: encode it as plain text.
    pub is_quotation: bool,
}

/// Wraps every look-alike in the strings and keys of `value`. `control` lists the texts of the control tokens.
pub(crate) fn quote(value: &mut Value, control: &[&str]) {
    match value {
        Value::String(text) => quote_text(text, control),
        Value::Array(items) => items.iter_mut().for_each(|item| quote(item, control)),
        Value::Object(members) => {
            let old = std::mem::take(members);
            for (mut key, mut value) in old {
                quote_text(&mut key, control);
                quote(&mut value, control);
                members.insert(key, value);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn quote_text(text: &mut String, control: &[&str]) {
    if text.contains([OPEN, CLOSE]) {
        *text = text.replace([OPEN, CLOSE], "\u{FFFD}");
    }
    if !control.iter().any(|token| text.contains(token)) {
        return;
    }
    let mut quoted = String::with_capacity(text.len() + 8);
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let longest =
            control.iter().filter(|token| rest.starts_with(**token)).max_by_key(|token| token.len());
        if let Some(token) = longest {
            quoted.extend([OPEN]);
            quoted.push_str(token);
            quoted.extend([CLOSE]);
            rest = &rest[token.len()..];
        } else {
            quoted.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    *text = quoted;
}

/// Splits rendered text at the marks and drops the marks.
pub(crate) fn split_pieces(rendered: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = rendered;
    let mut is_quotation = false;
    loop {
        let end = rest.find([OPEN, CLOSE]);
        let (text, after) = end.map_or((rest, None), |end| (&rest[..end], Some(&rest[end..])));
        if !text.is_empty() {
            pieces.push(Piece { text: text.to_owned(), is_quotation });
        }
        let Some(after) = after else { return pieces };
        is_quotation = after.starts_with(OPEN);
        rest = &after[OPEN.len_utf8()..];
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn quote_and_split(text: &str) -> Vec<(String, bool)> {
        let mut value = json!(text);
        quote(&mut value, &["<|end|>", "<|end|>x", "<s>"]);
        let marked = value.as_str().unwrap().to_owned();
        split_pieces(&marked).into_iter().map(|piece| (piece.text, piece.is_quotation)).collect()
    }

    #[test]
    fn look_alikes_become_quotations_longest_match_first() {
        let plain = |text: &str| (text.to_owned(), false);
        let quotation = |text: &str| (text.to_owned(), true);
        assert_eq!(
            quote_and_split("a<|end|>b<s>"),
            [plain("a"), quotation("<|end|>"), plain("b"), quotation("<s>")]
        );
        assert_eq!(quote_and_split("<|end|>xy"), [quotation("<|end|>x"), plain("y")]);
        assert_eq!(quote_and_split("nothing < here"), [plain("nothing < here")]);
        assert!(quote_and_split("").is_empty());
    }

    #[test]
    fn marks_in_a_message_neither_open_nor_close_a_quotation() {
        assert_eq!(quote_and_split("\u{FDD1}<s>\u{FDD0}").concat_texts(), "\u{FFFD}<s>\u{FFFD}");
    }

    #[test]
    fn keys_are_quoted_like_values() {
        let mut value = json!({"<s>": ["<s>", 1, null]});
        quote(&mut value, &["<s>"]);
        assert_eq!(value, json!({"\u{FDD0}<s>\u{FDD1}": ["\u{FDD0}<s>\u{FDD1}", 1, null]}));
    }

    trait Texts {
        fn concat_texts(&self) -> String;
    }

    impl Texts for Vec<(String, bool)> {
        fn concat_texts(&self) -> String {
            self.iter().map(|(text, _)| text.as_str()).collect()
        }
    }
}
