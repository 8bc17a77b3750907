//! Amounts of bytes, written with a unit.

use crate::document::Node;
use crate::log::Problem;
use crate::toml_text::{self, TomlText};
use crate::value;

/// Bytes, written with a unit.
#[derive(Debug)]
pub(crate) struct Amount(pub(crate) u64);

/// Units of bytes; those of powers of two are preferred where numbers are written.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Reads an amount of `what`, such as memory.
pub(crate) fn bytes(node: &Node, what: &str) -> Result<Amount, Problem> {
    let written = value::text(node)?;
    let refuse = || {
        Problem::new(format!("is not an amount of {what}: {}", value::quote(&written)))
            .hint("write a number and a unit, as in \"8 GiB\" or \"512 MiB\"")
    };
    let (number, unit) = split(&written).ok_or_else(refuse)?;
    let (_, unit) = UNITS.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(refuse)?;
    let bytes = number * unit as f64;
    // More than any machine has is a slip of the pen.
    if (1.0..=(1_u64 << 50) as f64).contains(&bytes) { Ok(Amount(bytes as u64)) } else { Err(refuse()) }
}

/// Splits a number, which is not negative, from its unit.
pub(crate) fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|symbol: char| symbol != '.' && symbol != '_' && !symbol.is_ascii_digit())?;
    let number: f64 = text.get(..end)?.replace('_', "").parse().ok()?;
    number.is_finite().then_some((number, text.get(end..)?.trim()))
}

impl TomlText for Amount {
    fn toml_text(&self) -> String {
        let whole = UNITS.into_iter().find(|(_, unit)| self.0.is_multiple_of(*unit));
        let (name, unit) = whole.unwrap_or(("B", 1));
        toml_text::string(&format!("{} {name}", self.0 / unit))
    }
}

#[cfg(test)]
mod tests {
    use crate::document::Value;
    use crate::origin::Place;

    use super::*;

    fn node(text: &str) -> Node {
        Node { value: Value::String(text.to_owned()), place: Place::Default, key_place: Place::Default }
    }

    #[test]
    fn an_amount_is_read_with_its_unit_and_written_as_it_reads_back() {
        for (text, expected) in
            [("8 GiB", 8 << 30), ("1.5GiB", 3 << 29), ("500 mb", 500_000_000), ("1_024 B", 1_024)]
        {
            let Ok(found) = bytes(&node(text), "memory") else { panic!("{text}") };
            assert_eq!(found.0, expected, "{text}");
            let written = found.toml_text();
            let again = bytes(&node(written.trim_matches('"')), "memory");
            assert_eq!(again.map(|amount| amount.0).ok(), Some(expected), "{written}");
        }
        for bad in ["", "8", "GiB", "-1 GiB", "8 pints", "0 B", "9999999 TiB", "1.2.3 GiB"] {
            assert!(bytes(&node(bad), "memory").is_err(), "{bad}");
        }
    }
}
