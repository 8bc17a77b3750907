//! Normalisation of a text before it is split into pieces.

use std::borrow::Cow;
use std::sync::LazyLock;

use unicode_normalization::char::is_combining_mark;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick, is_nfkc_quick};

use super::charsmap::Charsmap;
use super::split::SPACE_MARK;

/// A normaliser.
#[derive(Debug)]
pub(super) enum Normaliser {
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
    Lowercase,
    DropMarks,
    /// Removes white space at the ends.
    Strip {
        left: bool,
        right: bool,
    },
    /// Puts a string before a non-empty text.
    Prepend(Box<str>),
    /// Replaces every occurrence of a non-empty string.
    Replace {
        from: Box<str>,
        to: Box<str>,
    },
    /// Puts a marker before each word and removes the spaces.
    MarkWords,
    /// Applies SentencePiece's character map.
    Charsmap(Charsmap),
    /// Replaces each run of two or more spaces.
    ReplaceSpaces(Box<str>),
}

/// Applies all normalisers in order. An unchanged text is not copied.
pub(super) fn apply<'t>(normalisers: &[Normaliser], text: &'t str) -> Cow<'t, str> {
    let mut text = Cow::Borrowed(text);
    for normaliser in normalisers {
        if let Some(changed) = normaliser.of(&text) {
            text = Cow::Owned(changed);
        }
    }
    text
}

impl Normaliser {
    /// Returns the changed text, or `None` if it is unchanged.
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

/// Characters whose normal forms are newer than the reference (PyPI `tokenizers` 0.23.3), sorted. The reference
/// treats them as plain letters, and a model's ids must not change when a library adopts a newer Unicode version.
static NEWER_THAN_REFERENCE: LazyLock<Vec<(char, char)>> = LazyLock::new(|| {
    let code = |text: &str| u32::from_str_radix(text, 16).ok().and_then(char::from_u32);
    let range = |text: &str| {
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        code(from).zip(code(to))
    };
    include_str!("newer.txt").split_whitespace().filter_map(range).collect()
});

fn is_newer_than_reference(character: char) -> bool {
    let index = NEWER_THAN_REFERENCE.partition_point(|(_, to)| *to < character);
    character >= '\u{558}' && NEWER_THAN_REFERENCE.get(index).is_some_and(|(from, _)| *from <= character)
}

/// Normalises the text between newer characters, which stay unchanged.
fn between_newer(text: &str, normalise: impl Fn(&str, &mut String)) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((at, newer)) =
        rest.char_indices().find(|(_, character)| is_newer_than_reference(*character))
    {
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
    fn each_normaliser_does_what_its_name_says() {
        let check = |normaliser: Normaliser, text: &str, expected: &str| {
            assert_eq!(apply(&[normaliser], text), expected);
        };
        check(Normaliser::Nfc, "e\u{301} plain", "é plain");
        check(Normaliser::Nfd, "é", "e\u{301}");
        check(Normaliser::Nfkc, "ﬁ①", "fi1");
        check(Normaliser::Nfkd, "ﬁé", "fie\u{301}");
        check(Normaliser::Lowercase, "ΑΣ İ", "ασ i\u{307}");
        check(Normaliser::DropMarks, "e\u{301}", "e");
        check(Normaliser::Strip { left: true, right: false }, "\u{a0} a ", "a ");
        check(Normaliser::Strip { left: false, right: true }, " a ", " a");
        check(Normaliser::Prepend("▁".into()), "a", "▁a");
        check(Normaliser::Prepend("▁".into()), "", "");
        check(Normaliser::Replace { from: " ".into(), to: "▁".into() }, "a b", "a▁b");
        check(Normaliser::MarkWords, "  a b  c ", "▁a▁b▁c");
        check(Normaliser::ReplaceSpaces("▁".into()), "a b  c   d", "a b▁c▁d");
    }

    #[test]
    fn characters_newer_than_the_reference_stay_unchanged() {
        // For another version, recreate the list: normalise "q\u{345}" + c + "\u{334}" for every c in all four forms
        // with this library and with the reference, and list each c for which one differs.
        assert_eq!(unicode_normalization::UNICODE_VERSION, (18, 0, 0));
        assert!(
            NEWER_THAN_REFERENCE.is_sorted()
                && NEWER_THAN_REFERENCE.len() == include_str!("newer.txt").split_whitespace().count()
        );
        assert_eq!(apply(&[Normaliser::Nfc], "e\u{301}\u{1cda}\u{5c9}e\u{301}"), "é\u{1cda}\u{5c9}é");
        assert_eq!(apply(&[Normaliser::Nfkc], "\u{32ff}①"), "\u{32ff}1");
    }

    #[test]
    fn an_unchanged_text_is_not_copied() {
        let normalisers =
            [Normaliser::Nfc, Normaliser::Nfkc, Normaliser::Replace { from: "▁".into(), to: " ".into() }];
        assert!(matches!(apply(&normalisers, "plain text"), Cow::Borrowed(_)));
    }
}
