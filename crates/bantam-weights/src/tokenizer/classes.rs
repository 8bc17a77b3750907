//! The class of each code point for the patterns that split text, frozen in `categories.txt` as in the reference.

use std::sync::LazyLock;

/// The class of a code point; each has exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum CharClass {
    /// Any other.
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

/// Section names in the table, in the order of the classes.
const NAMES: [(&str, CharClass); 10] = [
    ("upper", CharClass::Upper),
    ("lower", CharClass::Lower),
    ("title", CharClass::Title),
    ("modifier", CharClass::Modifier),
    ("letter", CharClass::Letter),
    ("mark", CharClass::Mark),
    ("number", CharClass::Number),
    ("punctuation", CharClass::Punctuation),
    ("symbol", CharClass::Symbol),
    ("space", CharClass::Space),
];

impl CharClass {
    /// Returns the class of a character.
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

static CLASSES: LazyLock<CharClasses> = LazyLock::new(|| CharClasses::parse(TABLE));

/// Classes by code point in two levels; equal pages are stored once.
struct CharClasses {
    page_of: Vec<u8>,
    pages: Vec<[CharClass; PAGE]>,
}

impl CharClasses {
    /// Reads the table. It is part of the program, so unreadable lines are skipped; a test counts the others.
    fn parse(table: &str) -> Self {
        let mut classes = vec![CharClass::Other; 0x11_0000];
        let mut current = CharClass::Other;
        for line in table.lines().filter(|line| !line.starts_with('#')) {
            if let Some(name) = line.strip_prefix('@') {
                current =
                    NAMES.iter().find(|known| known.0 == name).map_or(CharClass::Other, |known| known.1);
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
            let index = pages.iter().position(|known| known == page).unwrap_or(pages.len());
            if index == pages.len() {
                pages.push(*page);
            }
            // The table has about 160 distinct pages; a test checks the limit.
            page_of.push(u8::try_from(index).unwrap_or_default());
        }
        Self { page_of, pages }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_table_is_read() {
        let count = |class| ('\0'..=char::MAX).filter(|&character| CharClass::of(character) == class).count();
        assert!(CLASSES.pages.len() <= 256);
        let named = TABLE.lines().filter(|line| line.starts_with('@')).count();
        assert_eq!(named, NAMES.len());
        assert_eq!(count(CharClass::Space), 25);
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
        let found =
            ['A', 'z', 'ǅ', 'ʰ', '漢', '\u{301}', '½', '—', '+', '\u{a0}', '\u{200d}'].map(CharClass::of);
        use CharClass::*;
        let expected =
            [Upper, Lower, Title, Modifier, Letter, Mark, Number, Punctuation, Symbol, Space, Other];
        assert_eq!(found, expected);
    }
}
