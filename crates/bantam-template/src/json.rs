//! JSON formatted like Python's `json.dumps`, the form models were trained on.

use std::fmt::Write;

use serde_json::Value;

/// How to lay out JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Spaces per level; `None` puts everything on one line.
    pub(crate) indent: Option<usize>,
    /// Whether to escape non-ASCII characters.
    pub(crate) ascii: bool,
    /// Whether to sort keys.
    pub(crate) sorted: bool,
    /// The text between members and after keys, if not Python's defaults.
    pub(crate) separators: Option<(String, String)>,
}

/// Returns the text of `value`, with Python's default separators `", "` and `": "` unless `layout` says otherwise.
pub(crate) fn dump(value: &Value, layout: &Layout) -> String {
    let between = if layout.indent.is_some() { "," } else { ", " };
    let (between, after_key) =
        layout.separators.clone().unwrap_or_else(|| (between.to_owned(), ": ".to_owned()));
    let mut writer = Writer { text: String::new(), layout, between: &between, after_key: &after_key };
    writer.value(value, 0);
    writer.text
}

struct Writer<'l> {
    text: String,
    layout: &'l Layout,
    between: &'l str,
    after_key: &'l str,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, depth: usize) {
        match value {
            Value::Null => self.text.push_str("null"),
            Value::Bool(value) => self.text.push_str(if *value { "true" } else { "false" }),
            Value::Number(number) => self.number(number),
            Value::String(text) => self.string(text),
            Value::Array(items) => {
                self.group(('[', ']'), items.len(), depth, |writer, index, depth| {
                    writer.value(&items[index], depth);
                });
            }
            Value::Object(members) => {
                let mut members: Vec<(&String, &Value)> = members.iter().collect();
                if self.layout.sorted {
                    members.sort_by_key(|(key, _)| *key);
                }
                self.group(('{', '}'), members.len(), depth, |writer, index, depth| {
                    let (key, value) = members[index];
                    writer.string(key);
                    writer.text.push_str(writer.after_key);
                    writer.value(value, depth);
                });
            }
        }
    }

    fn group(
        &mut self,
        (open, close): (char, char),
        count: usize,
        depth: usize,
        member: impl Fn(&mut Self, usize, usize),
    ) {
        self.text.push(open);
        for index in 0..count {
            if index > 0 {
                self.text.push_str(self.between);
            }
            self.line(depth + 1);
            member(self, index, depth + 1);
        }
        if count > 0 {
            self.line(depth);
        }
        self.text.push(close);
    }

    fn line(&mut self, depth: usize) {
        if let Some(indent) = self.layout.indent {
            self.text.push('\n');
            self.text.extend(std::iter::repeat_n(' ', indent * depth));
        }
    }

    /// Writes floats like Python's `repr`: `1.0`, `1e-05`, `1e+16`.
    fn number(&mut self, number: &serde_json::Number) {
        let Some(float) = number.as_f64().filter(|_| number.is_f64()) else {
            self.text.push_str(&number.to_string());
            return;
        };
        let scientific = format!("{float:e}");
        let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        if float != 0.0 && !(-4..16).contains(&exponent) {
            let sign = if exponent < 0 { '-' } else { '+' };
            // Writing to a `String` cannot fail.
            let _ = write!(self.text, "{digits}e{sign}{:02}", exponent.abs());
        } else {
            let plain = format!("{float}");
            let whole = !plain.contains('.');
            self.text.push_str(&plain);
            self.text.push_str(if whole { ".0" } else { "" });
        }
    }

    fn string(&mut self, text: &str) {
        self.text.push('"');
        for character in text.chars() {
            match character {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                '\u{8}' => self.text.push_str("\\b"),
                '\u{c}' => self.text.push_str("\\f"),
                _ if character < ' ' || (self.layout.ascii && character > '~') => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        let _ = write!(self.text, "\\u{unit:04x}");
                    }
                }
                _ => self.text.push(character),
            }
        }
        self.text.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dumped(json: &str, layout: &Layout) -> String {
        dump(&serde_json::from_str(json).unwrap(), layout)
    }

    // The expected texts are the output of Python's json.dumps(ensure_ascii=False).
    #[test]
    fn numbers_and_separators_match_python() {
        let text =
            dumped(r#"{"b":[1,2.5,1e-7,1e16,1e15,-0.00001,0.0,100.0],"a":{},"c":[]}"#, &Layout::default());
        assert_eq!(
            text,
            r#"{"b": [1, 2.5, 1e-07, 1e+16, 1000000000000000.0, -1e-05, 0.0, 100.0], "a": {}, "c": []}"#
        );
    }

    #[test]
    fn indented_json_has_no_trailing_spaces() {
        let layout = Layout { indent: Some(2), sorted: true, ..Layout::default() };
        assert_eq!(
            dumped(r#"{"b":[1,2],"a":{}}"#, &layout),
            "{\n  \"a\": {},\n  \"b\": [\n    1,\n    2\n  ]\n}"
        );
    }

    #[test]
    fn only_the_ascii_layout_escapes_non_ascii_characters() {
        let text = serde_json::json!("é<&>\u{1}\n😀");
        assert_eq!(dump(&text, &Layout::default()), "\"é<&>\\u0001\\n😀\"");
        let layout = Layout { ascii: true, ..Layout::default() };
        assert_eq!(dumped("\"é😀\"", &layout), r#""\u00e9\ud83d\ude00""#);
    }
}
