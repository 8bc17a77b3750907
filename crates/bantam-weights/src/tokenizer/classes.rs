//! What a code point is to the patterns that split text, frozen in `categories.txt` as the reference sees it.

use std::sync::LazyLock;

/// What a code point is. Each is one thing only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Class {
    /// None of the others.
    Other,
    /// `\p{Lu}`
    Upper,
    /// `\p{Ll}`
    Lower,
    /// `\p{Lt}`
    Title,
    /// `\p{Lm}`
    Modifier,
    /// `\p{Lo}`
    Letter,
    /// `\p{M}`
    Mark,
    /// `\p{N}`
    Number,
    /// `\p{P}`
    Punctuation,
    /// `\p{S}`
    Symbol,
    /// `\s`
    Space,
}

/// Names in the table, in the order of their classes.
const NAMES: [(&str, Class); 10] = [
    ("upper", Class::Upper),
    ("lower", Class::Lower),
    ("title", Class::Title),
    ("modifier", Class::Modifier),
    ("letter", Class::Letter),
    ("mark", Class::Mark),
    ("number", Class::Number),
    ("punctuation", Class::Punctuation),
    ("symbol", Class::Symbol),
    ("space", Class::Space),
];

impl Class {
    /// The class of a character.
    #[inline]
    pub(super) fn of(character: char) -> Self {
        let code = character as usize;
        let page = usize::from(CLASSES.page_of[code / PAGE]);
        CLASSES.pages[page][code % PAGE]
    }

    /// `\p{L}`
    #[inline]
    pub(super) fn is_letter(self) -> bool {
        matches!(self, Self::Upper | Self::Lower | Self::Title | Self::Modifier | Self::Letter)
    }
}

const TABLE: &str = include_str!("categories.txt");
const PAGE: usize = 256;

static CLASSES: LazyLock<Classes> = LazyLock::new(|| Classes::parse(TABLE));

/// Classes by code point in two stages; equal pages stand once.
struct Classes {
    page_of: Vec<u8>,
    pages: Vec<[Class; PAGE]>,
}

impl Classes {
    /// Reads the table. It is part of the program, so what cannot be read is skipped; a test counts the rest.
    fn parse(table: &str) -> Self {
        let mut classes = vec![Class::Other; 0x11_0000];
        let mut current = Class::Other;
        for line in table.lines().filter(|line| !line.starts_with('#')) {
            if let Some(name) = line.strip_prefix('@') {
                current = NAMES.iter().find(|known| known.0 == name).map_or(Class::Other, |known| known.1);
                continue;
            }
            for range in line.split(' ') {
                let (from, to) = range.split_once('-').unwrap_or((range, range));
                let code = |text| usize::from_str_radix(text, 16).ok();
                let range = code(from).zip(code(to)).and_then(|(from, to)| classes.get_mut(from..=to));
                range.unwrap_or_default().fill(current);
            }
        }
        let (mut page_of, mut pages) = (Vec::with_capacity(classes.len() / PAGE), Vec::new());
        for page in classes.as_chunks::<PAGE>().0 {
            let place = pages.iter().position(|known| known == page).unwrap_or(pages.len());
            if place == pages.len() {
                pages.push(*page);
            }
            // The table has about 160 different pages; a test counts them.
            page_of.push(u8::try_from(place).unwrap_or_default());
        }
        Self { page_of, pages }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        let count = |class| ('\0'..=char::MAX).filter(|&character| Class::of(character) == class).count();
        assert!(CLASSES.pages.len() <= 256);
        let named = TABLE.lines().filter(|line| line.starts_with('@')).count();
        assert_eq!(named, NAMES.len());
        assert_eq!(count(Class::Space), 25);
        for (name, class) in NAMES {
            let line = TABLE.lines().skip_while(|line| *line != format!("@{name}")).nth(1).unwrap();
            let codes = line.split(' ').map(|range| {
                let (from, to) = range.split_once('-').unwrap_or((range, range));
                let code = |text| usize::from_str_radix(text, 16).unwrap();
                code(to) - code(from) + 1
            });
            assert_eq!(count(class), codes.sum::<usize>(), "{name}");
        }
    }

    #[test]
    fn known_characters_have_their_classes() {
        let found = ['A', 'z', 'ǅ', 'ʰ', '漢', '\u{301}', '½', '—', '+', '\u{a0}', '\u{200d}'].map(Class::of);
        use Class::*;
        let expected =
            [Upper, Lower, Title, Modifier, Letter, Mark, Number, Punctuation, Symbol, Space, Other];
        assert_eq!(found, expected);
    }
}
