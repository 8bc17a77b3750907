//! Converts one node to one type, or says what is wrong with it.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;

use crate::document::{Node, Value};
use crate::log::Problem;
use crate::nearest::nearest;

/// Returns a word from the configuration for a message: short, and safe for a terminal.
pub(crate) fn quote(word: &str) -> String {
    let short: String = word.chars().take(60).collect();
    let rest = if short.len() < word.len() { "..." } else { "" };
    format!("`{}{rest}`", short.escape_debug())
}

/// Returns a path for a message: whole, and safe for a terminal.
pub(crate) fn quote_path(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}

/// Reads text.
pub(crate) fn text(node: &Node) -> Result<String, Problem> {
    match &node.value {
        Value::String(text) | Value::Loose(text) => Ok(text.clone()),
        other => Err(wrong_type("a string", other)),
    }
}

/// Reads text that holds more than blanks and at most `bytes_max` bytes.
pub(crate) fn filled_text(bytes_max: usize) -> impl Fn(&Node) -> Result<String, Problem> {
    move |node| filled(&text(node)?, bytes_max)
}

/// Returns `text` when it holds more than blanks and at most `bytes_max` bytes.
pub(crate) fn filled(text: &str, bytes_max: usize) -> Result<String, Problem> {
    if text.trim().is_empty() {
        return Err(Problem::new("is empty").hint("write a value, or remove the key"));
    }
    if text.len() > bytes_max {
        return Err(Problem::new(format!("is longer than {bytes_max} bytes")));
    }
    Ok(text.to_owned())
}

/// Reads `true` or `false`.
pub(crate) fn boolean(node: &Node) -> Result<bool, Problem> {
    match &node.value {
        Value::Boolean(truth) => Ok(*truth),
        Value::Loose(text) => text.trim().parse().map_err(|_| wrong_type("`true` or `false`", &node.value)),
        other => Err(wrong_type("`true` or `false`", other)),
    }
}

/// Reads a whole number in a range.
pub(crate) fn whole<T>(range: RangeInclusive<T>) -> impl Fn(&Node) -> Result<T, Problem>
where
    T: Display + PartialOrd + TryFrom<i128>,
{
    move |node| {
        let number = match &node.value {
            Value::Integer(number) => *number,
            Value::Loose(text) => match text.trim().replace('_', "").parse() {
                Ok(number) => Some(number),
                Err(_) => return Err(wrong_type("a whole number", &node.value)),
            },
            other => return Err(wrong_type("a whole number", other)),
        };
        let fitting =
            number.and_then(|number| T::try_from(number).ok()).filter(|number| range.contains(number));
        fitting.ok_or_else(|| {
            let shown = number.map_or_else(|| "a huge number".to_owned(), |number| number.to_string());
            let allowed = format!("allowed: {} to {}", range.start(), range.end());
            Problem::new(format!("is out of range: {shown}")).hint(allowed)
        })
    }
}

/// Reads a number in a range.
pub(crate) fn number(range: RangeInclusive<f64>) -> impl Fn(&Node) -> Result<f64, Problem> {
    move |node| {
        let number = any_number(node)?;
        if range.contains(&number) {
            return Ok(number);
        }
        let allowed = format!("allowed: {} to {}", range.start(), range.end());
        Err(Problem::new(format!("is out of range: {number}")).hint(allowed))
    }
}

/// Reads a number.
#[expect(clippy::cast_precision_loss, reason = "a whole number beyond 2^53 is out of every range here")]
pub(crate) fn any_number(node: &Node) -> Result<f64, Problem> {
    match &node.value {
        Value::Float(number) => Ok(*number),
        Value::Integer(number) => Ok(number.map_or(f64::INFINITY, |number| number as f64)),
        Value::Loose(text) => {
            text.trim().replace('_', "").parse().map_err(|_| wrong_type("a number", &node.value))
        }
        other => Err(wrong_type("a number", other)),
    }
}

/// Reads one of the `allowed` words.
pub(crate) fn word<T>(allowed: &'static [&'static str]) -> impl Fn(&Node) -> Result<T, Problem>
where
    T: Named,
{
    move |node| {
        let written = text(node)?;
        T::from_name(&written).ok_or_else(|| {
            let meant = nearest(&written, allowed.iter().copied());
            let hint = match meant {
                Some(word) => format!("did you mean \"{word}\"?"),
                None => format!("allowed: {}", allowed.join(", ")),
            };
            Problem::new(format!("cannot be {}", quote(&written))).hint(hint)
        })
    }
}

/// A type whose values have fixed names in the configuration.
pub(crate) trait Named: Sized {
    /// Returns the value with this name.
    fn from_name(name: &str) -> Option<Self>;
}

impl Named for bantam_types::Label {
    fn from_name(name: &str) -> Option<Self> {
        Self::from_str(name).ok()
    }
}

impl Named for bantam_types::Tier {
    fn from_name(name: &str) -> Option<Self> {
        Self::from_str(name).ok()
    }
}

impl Named for bantam_types::TaskKind {
    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Reads an IP address with a port.
pub(crate) fn socket_address(node: &Node) -> Result<SocketAddr, Problem> {
    let written = text(node)?;
    written.parse().map_err(|_| {
        let hint = match written.strip_prefix("localhost:") {
            Some(port) => format!("write \"127.0.0.1:{port}\""),
            None => "write an IP address and a port: \"127.0.0.1:5454\", \"[::1]:5454\"".to_owned(),
        };
        Problem::new(format!("is not an address to listen on: {}", quote(&written))).hint(hint)
    })
}

/// Returns the problem of a value that has another type than it needs.
pub(crate) fn wrong_type(wanted: &str, found: &Value) -> Problem {
    let loose = matches!(found, Value::Loose(_));
    let found = if loose { "other text" } else { found.type_name() };
    Problem::new(format!("must be {wanted}, not {found}"))
}
