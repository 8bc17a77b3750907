//! Tasks: narrow jobs that recur.

use serde::{Deserialize, Serialize};

/// The kind of answer a task expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskKind {
    /// One of a fixed list of labels.
    Classify,
    /// JSON that follows a schema, with values taken from the text.
    Extract,
    /// The same text in other words.
    Rewrite,
    /// A shorter text.
    Summarize,
    /// Any text.
    Generate,
    /// A vector.
    Embed,
}

impl TaskKind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Classify, Self::Extract, Self::Rewrite, Self::Summarize, Self::Generate, Self::Embed];

    /// Returns the kind's name as used in configuration and the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Classify => "classify",
            Self::Extract => "extract",
            Self::Rewrite => "rewrite",
            Self::Summarize => "summarize",
            Self::Generate => "generate",
            Self::Embed => "embed",
        }
    }
}

impl std::fmt::Display for TaskKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A task's name: 1 to 64 characters of `a-z`, `0-9`, `-`, `_` and `.`, starting with a letter or digit.
///
/// Cheap to clone. The rule makes names usable unescaped as file names, header values, URL segments
/// and metric labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct TaskName(std::sync::Arc<str>);

/// The text is not a valid task name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a valid task name: use 1 to 64 characters of a-z, 0-9, `-`, `_`, `.`, starting with a letter or digit"
)]
pub struct ParseTaskNameError(pub String);

impl TaskName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for TaskName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TaskName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl std::str::FromStr for TaskName {
    type Err = ParseTaskNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
        let starts_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if starts_well && text.len() <= 64 && text.bytes().all(good) {
            Ok(Self(text.into()))
        } else {
            Err(ParseTaskNameError(text.chars().take(80).collect()))
        }
    }
}

/// The fingerprint of a prompt template: the parts of a prompt that stay the same across requests.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Template(pub u64);

impl std::fmt::Display for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Template({self})")
    }
}

impl std::str::FromStr for Template {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_name_cannot_escape_a_folder_or_break_a_header() {
        for bad in ["", "../x", "a/b", "A", "-a", ".hidden", "a b", "a\n", "ü", &"x".repeat(65)] {
            assert!(bad.parse::<TaskName>().is_err(), "{bad:?}");
        }
        for good in ["intent", "support-desk.v2", "0_9"] {
            assert_eq!(good.parse::<TaskName>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn a_template_round_trips_through_text() {
        let template = Template(0x00ab_cdef_0123_4567);
        assert_eq!(template.to_string().parse::<Template>().unwrap(), template);
    }
}
