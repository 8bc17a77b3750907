//! Values written as TOML on one line.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use bantam_types::{Label, TaskKind, Template, Tier, UsdPerMillion};

use crate::origin::Found;

/// A value that a setting may have.
pub(crate) trait TomlText {
    /// Returns the value in TOML.
    fn toml_text(&self) -> String;
}

/// Returns `text` as a TOML string on one line.
pub(crate) fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            control if control.is_control() => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{:04X}", u32::from(control));
            }
            plain => out.push(plain),
        }
    }
    out.push('"');
    out
}

/// Returns one segment of a key's path, quoted where TOML wants quotes.
pub(crate) fn key(segment: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !segment.is_empty() && segment.bytes().all(bare) { segment.to_owned() } else { string(segment) }
}

impl TomlText for String {
    fn toml_text(&self) -> String {
        string(self)
    }
}

impl TomlText for f64 {
    fn toml_text(&self) -> String {
        format!("{self:?}")
    }
}

impl TomlText for PathBuf {
    fn toml_text(&self) -> String {
        string(&self.to_string_lossy())
    }
}

impl TomlText for UsdPerMillion {
    /// Writes dollars exactly, from the integer.
    fn toml_text(&self) -> String {
        let digits = format!("{:06}", self.micros() % 1_000_000);
        let fraction = digits.trim_end_matches('0');
        format!("{}.{}", self.micros() / 1_000_000, if fraction.is_empty() { "0" } else { fraction })
    }
}

impl<T: TomlText> TomlText for Found<T> {
    fn toml_text(&self) -> String {
        self.value.toml_text()
    }
}

impl<T: TomlText> TomlText for Vec<T> {
    fn toml_text(&self) -> String {
        format!("[{}]", self.iter().map(T::toml_text).collect::<Vec<_>>().join(", "))
    }
}

/// Writes types whose `Display` is TOML already.
macro_rules! plain {
    ($($type:ty),*) => {$(
        impl TomlText for $type {
            fn toml_text(&self) -> String {
                self.to_string()
            }
        }
    )*};
}
plain!(bool, u32, u64, usize);

/// Writes types whose `Display` is the text of a TOML string.
macro_rules! quoted {
    ($($type:ty),*) => {$(
        impl TomlText for $type {
            fn toml_text(&self) -> String {
                string(&self.to_string())
            }
        }
    )*};
}
quoted!(SocketAddr, Label, Tier, TaskKind, Template);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_stays_on_one_line_and_reads_back() {
        let text = "a\"b\\c\n\t\u{1b}\u{7f}\u{85} ü";
        let written = string(text);
        assert!(!written.contains('\n'));
        let read = toml::de::DeValue::parse(&written).unwrap();
        assert_eq!(read.get_ref().as_str(), Some(text));
    }

    #[test]
    fn quotes_a_key_only_where_toml_wants_it() {
        assert_eq!(key("gpt-5_x"), "gpt-5_x");
        assert_eq!(key("llama3.2:3b"), "\"llama3.2:3b\"");
        assert_eq!(key(""), "\"\"");
    }

    #[test]
    fn writes_a_price_exactly() {
        assert_eq!(UsdPerMillion::from_micros(1_250_000).toml_text(), "1.25");
        assert_eq!(UsdPerMillion::from_micros(75).toml_text(), "0.000075");
        assert_eq!(UsdPerMillion::from_micros(10_000_000).toml_text(), "10.0");
    }
}
