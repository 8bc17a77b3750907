//! What a changed file lost against the one in force, where that may be a file which is still being written.
//!
//! A program that writes a file in place shows its readers the beginning first, and a beginning of TOML that ends
//! between two lines is TOML. So a running gateway compares what it is given with what it serves. A file that lost its
//! end, or anything that protects data, is not taken over by itself; whoever meant it says so.

use std::collections::BTreeSet;
use std::fmt;

use crate::origin::Origin;
use crate::{Config, DictionaryTerm};

/// Something that the configuration in force has and a changed one has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Every setting: the file is empty, or holds nothing but comments.
    Everything,
    /// Perhaps the end of the last value: the file ends within a line, after a number or a date.
    EndOfLine,
    /// A section, such as `tasks.intent`.
    Section(String),
    /// A key of a section that is there, such as `tasks.intent.minimum_label`.
    Key(String),
    /// Terms of the privacy dictionary.
    Terms {
        /// How many.
        count: usize,
    },
    /// The labels of terms of the privacy dictionary, which are lower than before.
    TermLabels {
        /// Of how many terms.
        count: usize,
    },
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let terms = |count| if count == 1 { "term" } else { "terms" };
        match self {
            Self::Everything => f.write_str("every setting"),
            Self::EndOfLine => f.write_str("the line break after its last value, which may be cut off"),
            Self::Section(section) => write!(f, "[{section}]"),
            Self::Key(key) => write!(f, "`{key}`"),
            Self::Terms { count } => write!(f, "{count} {} of the privacy dictionary", terms(*count)),
            Self::TermLabels { count } => {
                write!(f, "the label of {count} {} of the privacy dictionary", terms(*count))
            }
        }
    }
}

impl Config {
    /// Returns what `changed`, read from `text`, lost against this configuration in a way that a half-written file
    /// would, or that lets more data leave; nothing where it is safe to take over.
    ///
    /// Sections and keys that are removed from the middle are no loss, as long as the file still ends as it did.
    pub fn losses(&self, changed: &Self, text: &str) -> Vec<Loss> {
        let (before, after) = (Outline::of(self), Outline::of(changed));
        if after.keys.is_empty() {
            return vec![Loss::Everything];
        }
        let mut losses = Vec::new();
        losses.extend(ends_within_value(text).then_some(Loss::EndOfLine));
        losses.extend(lost_terms(&self.privacy.dictionary, &changed.privacy.dictionary));
        let mut keys: BTreeSet<&str> = before.lost_keys(&after, "privacy").collect();
        // What is written last is what is missing from the end.
        keys.extend(after.last_section().into_iter().flat_map(|section| before.lost_keys(&after, section)));
        let tail: Vec<&str> =
            before.last_section().into_iter().flat_map(|section| before.lost_keys(&after, section)).collect();
        if !tail.is_empty() {
            keys.extend(tail);
            let lost = before.sections().into_iter().filter(|section| !after.has_section(section));
            losses.extend(lost.map(|section| Loss::Section(section.to_owned())));
        }
        // The dictionary's terms are counted; a section says all of its keys.
        let is_told = |key: &str| key == DICTIONARY || !after.has_section(section_of(key));
        losses.extend(keys.into_iter().filter(|key| !is_told(key)).map(|key| Loss::Key(key.to_owned())));
        losses
    }
}

const DICTIONARY: &str = "privacy.dictionary";
/// Sections that hold a section for each name.
const NAMED: [&str; 3] = ["models", "tasks", "upstreams"];

/// The settings that stand in the file, each with its line.
struct Outline<'c> {
    keys: Vec<(&'c str, usize)>,
}

impl<'c> Outline<'c> {
    fn of(config: &'c Config) -> Self {
        let in_file = config.settings().iter().filter_map(|setting| match setting.origin {
            Origin::File { line } => Some((setting.key.as_str(), line)),
            _ => None,
        });
        Self { keys: in_file.collect() }
    }

    /// Returns the section that the last setting of the file belongs to.
    fn last_section(&self) -> Option<&'c str> {
        self.keys.iter().max_by_key(|(_, line)| *line).map(|(key, _)| section_of(key))
    }

    fn sections(&self) -> BTreeSet<&'c str> {
        self.keys.iter().map(|(key, _)| section_of(key)).collect()
    }

    fn has_section(&self, section: &str) -> bool {
        self.keys.iter().any(|(key, _)| section_of(key) == section)
    }

    /// Returns the keys of a section that another outline has not.
    fn lost_keys<'o>(&'o self, other: &'o Self, section: &'o str) -> impl Iterator<Item = &'c str> + 'o {
        let own = self.keys.iter().map(|(key, _)| *key).filter(move |key| section_of(key) == section);
        own.filter(|key| !other.keys.iter().any(|(has, _)| has == key))
    }
}

/// Returns the section that a key stands in: `models."a.b"` of `models."a.b".tier`, `server` of `server.bind`.
fn section_of(key: &str) -> &str {
    let dots = dots(key);
    let is_named = dots.first().is_some_and(|end| NAMED.contains(&&key[..*end]));
    let end = dots.get(usize::from(is_named)).or(dots.first());
    end.map_or(key, |end| &key[..*end])
}

/// Returns where the dots between a key's segments are; dots in quoted segments do not count.
fn dots(key: &str) -> Vec<usize> {
    let mut is_quoted = false;
    let mut is_escaped = false;
    let mut dots = Vec::new();
    for (at, byte) in key.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b'.' if !is_quoted => dots.push(at),
            _ => {}
        }
    }
    dots
}

/// Returns the losses of the dictionary: terms that are gone, and labels that are lower.
fn lost_terms(before: &[DictionaryTerm], after: &[DictionaryTerm]) -> Vec<Loss> {
    let label = |term: &DictionaryTerm| {
        let same = |other: &&DictionaryTerm| other.term.to_lowercase() == term.term.to_lowercase();
        after.iter().find(same).map(|other| other.label)
    };
    let gone = before.iter().filter(|term| label(term).is_none()).count();
    let lowered = before.iter().filter(|term| label(term).is_some_and(|label| label < term.label)).count();
    let terms = (gone > 0).then_some(Loss::Terms { count: gone });
    let labels = (lowered > 0).then_some(Loss::TermLabels { count: lowered });
    terms.into_iter().chain(labels).collect()
}

/// Returns whether a file, which is valid, ends within a value: more digits could follow.
fn ends_within_value(text: &str) -> bool {
    let Some((_, value)) = text.lines().next_back().and_then(|line| line.split_once('=')) else {
        return false;
    };
    let is_open = value.ends_with(|last: char| last.is_ascii_alphanumeric() || last == '_');
    let is_word = matches!(value.trim(), "true" | "false");
    !text.ends_with('\n') && is_open && !is_word && !value.contains(['#', '"', '\'', '[', '{'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toml_text;

    #[test]
    fn a_key_stands_in_the_section_of_its_heading() {
        let check = |key: &str, expected: &str| assert_eq!(section_of(key), expected, "{key}");
        check("server.bind", "server");
        check("privacy.dictionary", "privacy");
        check("models.large.price.input", "models.large");
        check("models.\"a.b\".tier", "models.\"a.b\"");
        check(
            &format!("models.{}.tier", toml_text::key("a\".b")),
            &format!("models.{}", toml_text::key("a\".b")),
        );
        check("tasks.intent.kind", "tasks.intent");
    }

    #[test]
    fn only_a_number_or_a_date_at_the_very_end_may_be_cut() {
        for text in ["a = 1", "[x]\na = 0.5", "d = 2026-11-01"] {
            assert!(ends_within_value(text), "{text}");
        }
        for text in ["", "a = 1\n", "a = true", "a = \"x\"", "a = [1]", "[x]", "a = 1 # one", "# a = 1"] {
            assert!(!ends_within_value(text) || text.starts_with('#'), "{text}");
        }
    }
}
