//! `[local]`: what language models that run in this process may use, and how long they stay.

use std::time::Duration;

use crate::amount;
use crate::document::Node;
use crate::log::Problem;
use crate::section::Section;
use crate::toml_text::{self, TomlText};
use crate::value;

/// How long a model stays in memory after its last request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepAlive {
    /// For this long.
    For(Duration),
    /// Until its memory is needed.
    Always,
}

/// What models of this process share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// Bytes of memory that they may take, all together; `None` means four fifths of what is free at the start.
    pub memory_bytes: Option<u64>,
    /// How long a model stays after its last request, unless it says otherwise.
    pub keep_alive: KeepAlive,
}

/// Reads `[local]`.
pub(crate) fn read(root: &mut Section<'_>) -> Local {
    let mut section = root.table("local");
    let memory = section.optional("memory", |node| amount::bytes(node, "memory"));
    let keep_alive = section.or("keep_alive", KeepAlive::For(Duration::from_secs(300)), keep_alive);
    section.finish();
    Local { memory_bytes: memory.map(|memory| memory.value.0), keep_alive: keep_alive.value }
}

/// Reads how long a model stays.
pub(crate) fn keep_alive(node: &Node) -> Result<KeepAlive, Problem> {
    let written = value::text(node)?;
    if written.trim() == "always" {
        return Ok(KeepAlive::Always);
    }
    let refuse = || {
        Problem::new(format!("is not a length of time: {}", value::quote(&written)))
            .hint("write a number and a unit (\"30s\", \"5m\", \"2h\"), or \"always\"")
    };
    let (number, unit) = amount::split(&written).ok_or_else(refuse)?;
    let seconds = match unit {
        "s" => number,
        "m" => 60.0 * number,
        "h" => 3_600.0 * number,
        "d" => 86_400.0 * number,
        _ => return Err(refuse()),
    };
    // A year is as good as always.
    if seconds > 31_536_000.0 {
        return Err(refuse());
    }
    Ok(KeepAlive::For(Duration::from_millis((seconds * 1e3) as u64)))
}

impl TomlText for KeepAlive {
    fn toml_text(&self) -> String {
        let Self::For(time) = self else { return toml_text::string("always") };
        let ms = time.as_millis();
        let text = match ms {
            0 => "0s".to_owned(),
            _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
            _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
            _ => format!("{}s", ms as f64 / 1e3),
        };
        toml_text::string(&text)
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
    fn a_length_of_time_is_read_with_its_unit_and_written_as_it_reads_back() {
        let seconds = |seconds: u64| KeepAlive::For(Duration::from_secs(seconds));
        for (text, expected) in [
            ("5m", seconds(300)),
            ("90 s", seconds(90)),
            ("0s", seconds(0)),
            ("2h", seconds(7_200)),
            ("0.5s", KeepAlive::For(Duration::from_millis(500))),
            ("always", KeepAlive::Always),
        ] {
            let Ok(found) = keep_alive(&node(text)) else { panic!("{text}") };
            assert_eq!(found, expected, "{text}");
            let written = found.toml_text();
            assert_eq!(keep_alive(&node(written.trim_matches('"'))).ok(), Some(expected), "{written}");
        }
        for bad in ["", "5", "m", "-5m", "5 minutes", "400d", "never"] {
            assert!(keep_alive(&node(bad)).is_err(), "{bad}");
        }
    }
}
