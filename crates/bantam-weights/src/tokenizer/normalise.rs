//! What is done to a text before it is cut into pieces.

use std::borrow::Cow;
use std::sync::LazyLock;

use unicode_normalization::char::is_combining_mark;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick, is_nfkc_quick};

use super::charsmap::Charsmap;
use super::split::SPACE_MARK;

/// One change of a text.
#[derive(Debug)]
pub(super) enum Change {
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
    Lowercase,
    DropMarks,
    /// Drops white space at the ends.
    Strip {
        left: bool,
        right: bool,
    },
    /// Puts a text before one that is not empty.
    Prepend(Box<str>),
    /// Puts a text in the place of another, which is not empty.
    Replace {
        from: Box<str>,
        to: Box<str>,
    },
    /// Puts a mark before each word and drops the spaces.
    MarkWords,
    /// Replaces what SentencePiece's table knows.
    Charsmap(Charsmap),
    /// Puts a text in the place of two spaces or more.
    ReplaceSpaces(Box<str>),
}

/// Applies all changes in order. A text that stays as it is costs no allocation.
pub(super) fn apply<'t>(changes: &[Change], text: &'t str) -> Cow<'t, str> {
    let mut text = Cow::Borrowed(text);
    for change in changes {
        if let Some(changed) = change.of(&text) {
            text = Cow::Owned(changed);
        }
    }
    text
}

impl Change {
    /// The changed text, or nothing where it is the same.
    fn of(&self, text: &str) -> Option<String> {
        match self {
            Self::Nfc if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes => None,
            Self::Nfkc if text.is_ascii() || is_nfkc_quick(text.chars()) == IsNormalized::Yes => None,
            Self::Nfd | Self::Nfkd | Self::DropMarks if text.is_ascii() => None,
            Self::Nfc => Some(between_newer(text, |part, out| out.extend(part.nfc()))),
            Self::Nfkc => Some(between_newer(text, |part, out| out.extend(part.nfkc()))),
            Self::Nfd => Some(between_newer(text, |part, out| out.extend(part.nfd()))),
            Self::Nfkd => Some(between_newer(text, |part, out| out.extend(part.nfkd()))),
            Self::Lowercase => Some(text.chars().flat_map(char::to_lowercase).collect()),
            Self::DropMarks => {
                Some(text.chars().filter(|character| !is_combining_mark(*character)).collect())
            }
            Self::Strip { left, right } => {
                let text = if *left { text.trim_start() } else { text };
                Some(if *right { text.trim_end() } else { text }.to_owned())
            }
            Self::Prepend(_) if text.is_empty() => None,
            Self::Prepend(prefix) => Some(format!("{prefix}{text}")),
            Self::Replace { from, to } => text.contains(&**from).then(|| text.replace(&**from, to)),
            Self::MarkWords => {
                let words = text.split(' ').filter(|word| !word.is_empty());
                Some(words.flat_map(|word| std::iter::once(SPACE_MARK).chain(word.chars())).collect())
            }
            Self::Charsmap(table) => Some(table.apply(text)),
            Self::ReplaceSpaces(to) => text.contains("  ").then(|| replace_spaces(text, to)),
        }
    }
}

/// Characters whose normal forms are newer than the reference (PyPI `tokenizers` 0.23.3), sorted. To it they are
/// plain letters, and a model's ids must not change when a library learns a newer Unicode version.
static NEWER: LazyLock<Vec<(char, char)>> = LazyLock::new(|| {
    let code = |text: &str| u32::from_str_radix(text, 16).ok().and_then(char::from_u32);
    let range = |text: &str| {
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        code(from).zip(code(to))
    };
    include_str!("newer.txt").split_whitespace().filter_map(range).collect()
});

fn is_newer(character: char) -> bool {
    let place = NEWER.partition_point(|(_, to)| *to < character);
    character >= '\u{558}' && NEWER.get(place).is_some_and(|(from, _)| *from <= character)
}

/// Normalises what stands between newer characters, and leaves those as they are.
fn between_newer(text: &str, normalise: impl Fn(&str, &mut String)) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((at, newer)) = rest.char_indices().find(|(_, character)| is_newer(*character)) {
        normalise(&rest[..at], &mut out);
        out.push(newer);
        rest = &rest[at + newer.len_utf8()..];
    }
    normalise(rest, &mut out);
    out
}

fn replace_spaces(text: &str, to: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("  ") {
        replaced.push_str(&rest[..at]);
        replaced.push_str(to);
        rest = rest[at..].trim_start_matches(' ');
    }
    replaced.push_str(rest);
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_those_of_their_names() {
        let check = |change: Change, text: &str, expected: &str| {
            assert_eq!(apply(&[change], text), expected);
        };
        check(Change::Nfc, "e\u{301} plain", "é plain");
        check(Change::Nfd, "é", "e\u{301}");
        check(Change::Nfkc, "ﬁ①", "fi1");
        check(Change::Nfkd, "ﬁé", "fie\u{301}");
        check(Change::Lowercase, "ΑΣ İ", "ασ i\u{307}");
        check(Change::DropMarks, "e\u{301}", "e");
        check(Change::Strip { left: true, right: false }, "\u{a0} a ", "a ");
        check(Change::Strip { left: false, right: true }, " a ", " a");
        check(Change::Prepend("▁".into()), "a", "▁a");
        check(Change::Prepend("▁".into()), "", "");
        check(Change::Replace { from: " ".into(), to: "▁".into() }, "a b", "a▁b");
        check(Change::MarkWords, "  a b  c ", "▁a▁b▁c");
        check(Change::ReplaceSpaces("▁".into()), "a b  c   d", "a b▁c▁d");
    }

    #[test]
    fn characters_newer_than_the_reference_stay_as_they_are() {
        // With another version the list must be made again: normalise "q\u{345}" + c + "\u{334}" for every c in
        // all four forms here and there, and list each c where one differs.
        assert_eq!(unicode_normalization::UNICODE_VERSION, (18, 0, 0));
        assert!(NEWER.is_sorted() && NEWER.len() == include_str!("newer.txt").split_whitespace().count());
        assert_eq!(apply(&[Change::Nfc], "e\u{301}\u{1cda}\u{5c9}e\u{301}"), "é\u{1cda}\u{5c9}é");
        assert_eq!(apply(&[Change::Nfkc], "\u{32ff}①"), "\u{32ff}1");
    }

    #[test]
    fn a_text_that_stays_is_not_copied() {
        let changes = [Change::Nfc, Change::Nfkc, Change::Replace { from: "▁".into(), to: " ".into() }];
        assert!(matches!(apply(&changes, "plain text"), Cow::Borrowed(_)));
    }
}
