//! How BERT's normalizer treats each code point, frozen in `unicode.txt` as in the reference.
//!
//! Encoders, their heads and certificates were made with one Unicode version, so a model's ids must not change when a
//! library or compiler adopts a newer one.

use std::ops::RangeInclusive;
use std::sync::LazyLock;

/// Removed by `clean_text`.
pub(super) const REMOVED: u16 = 1;
/// Separates words.
pub(super) const SPACE: u16 = 1 << 1;
/// A word by itself.
pub(super) const PUNCTUATION: u16 = 1 << 2;
/// Chinese, by the reference's ranges.
pub(super) const CHINESE: u16 = 1 << 3;
/// Removed with the accents.
pub(super) const MARK: u16 = 1 << 4;
/// A mark that ends canonical reordering.
pub(super) const STARTER: u16 = 1 << 5;
/// Not a mark, but reordered canonically.
pub(super) const COMBINING: u16 = 1 << 6;
/// Changes when accents are stripped.
pub(super) const STRIPPED: u16 = 1 << 7;
/// Changes in lower case.
pub(super) const LOWER: u16 = 1 << 8;
/// A Hangul syllable, which is decomposed arithmetically.
pub(super) const HANGUL: u16 = 1 << 9;

const TABLE: &str = include_str!("unicode.txt");
const PAGE: usize = 256;
const PAGES: usize = 0x11_0000 / PAGE;

/// Parsed once and shared by all tokenizers.
pub(super) static CHARACTERS: LazyLock<Characters> = LazyLock::new(|| Characters::parse(TABLE));

/// Classes by code point in two levels, and the few mappings.
#[derive(Debug)]
pub(super) struct Characters {
    page_of: Vec<u16>,
    pages: Vec<[u16; PAGE]>,
    combining: Vec<(char, u8)>,
    stripped: Vec<(char, Box<str>)>,
    lower: Vec<(char, Box<str>)>,
}

impl Characters {
    /// Returns the bits of a character.
    #[inline]
    pub(super) fn class(&self, character: char) -> u16 {
        let code = character as usize;
        let page = usize::from(self.page_of[code / PAGE]);
        self.pages[page][code % PAGE]
    }

    /// Returns the canonical combining class of a [`COMBINING`] character.
    pub(super) fn combining_class(&self, character: char) -> u8 {
        let found = self.combining.binary_search_by_key(&character, |(character, _)| *character);
        found.map_or(0, |at| self.combining[at].1)
    }

    /// Returns a [`STRIPPED`] character, decomposed and without its marks.
    pub(super) fn stripped(&self, character: char) -> &str {
        mapped(&self.stripped, character)
    }

    /// Returns a [`LOWER`] character in lower case.
    pub(super) fn lower(&self, character: char) -> &str {
        mapped(&self.lower, character)
    }

    /// Reads the table. It is part of the program, so unreadable lines are skipped; tests compare the result with the
    /// reference.
    fn parse(table: &str) -> Self {
        let mut classes = vec![0u16; PAGE * PAGES];
        let mut mark = |range: RangeInclusive<u32>, bit: u16| {
            for code in range {
                if let Some(class) = classes.get_mut(code as usize) {
                    *class |= bit;
                }
            }
        };
        mark(0xac00..=0xd7a3, HANGUL);
        let (mut combining, mut stripped, mut lower) = (Vec::new(), Vec::new(), Vec::new());
        let mut section = "";
        for line in table.lines().filter(|line| !line.starts_with('#')) {
            if let Some(name) = line.strip_prefix('@') {
                section = name;
                continue;
            }
            match section {
                "stripped" => add_mapping(line, &mut stripped, |code| mark(code..=code, STRIPPED)),
                "lower" => add_mapping(line, &mut lower, |code| mark(code..=code, LOWER)),
                _ => {
                    for range in line.split(' ').filter_map(parse_range) {
                        if let Some(class) = section.strip_prefix("combining ") {
                            let class: u8 = class.parse().unwrap_or_default();
                            let characters = range.clone().filter_map(char::from_u32);
                            combining.extend(characters.map(|character| (character, class)));
                        }
                        mark(range, bit_of(section));
                    }
                }
            }
        }
        combining.sort_unstable();
        let (page_of, pages) = in_pages(&classes);
        Self { page_of, pages, combining, stripped, lower }
    }
}

fn bit_of(section: &str) -> u16 {
    match section {
        "removed" => REMOVED,
        "space" => SPACE,
        "cjk" => CHINESE,
        "punctuation" => PUNCTUATION,
        "mark" => MARK,
        "starter" => STARTER,
        _ => COMBINING,
    }
}

fn parse_range(text: &str) -> Option<RangeInclusive<u32>> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    Some(u32::from_str_radix(from, 16).ok()?..=u32::from_str_radix(to, 16).ok()?)
}

/// Reads a line with a code point and its replacement; the table has them sorted.
fn add_mapping(line: &str, mapping: &mut Vec<(char, Box<str>)>, mut mark: impl FnMut(u32)) {
    let mut codes = line.split(' ').filter_map(|code| u32::from_str_radix(code, 16).ok());
    let Some((code, from)) = codes.next().and_then(|code| Some((code, char::from_u32(code)?))) else {
        return;
    };
    let to: String = codes.filter_map(char::from_u32).collect();
    mapping.push((from, to.into()));
    mark(code);
}

/// Stores equal pages once.
fn in_pages(classes: &[u16]) -> (Vec<u16>, Vec<[u16; PAGE]>) {
    let (mut page_of, mut pages) = (Vec::with_capacity(PAGES), Vec::<[u16; PAGE]>::new());
    for page in classes.as_chunks::<PAGE>().0 {
        let index = pages.iter().position(|known| known == page).unwrap_or(pages.len());
        if index == pages.len() {
            pages.push(*page);
        }
        page_of.push(index as u16);
    }
    (page_of, pages)
}

fn mapped(mapping: &[(char, Box<str>)], character: char) -> &str {
    let found = mapping.binary_search_by_key(&character, |(character, _)| *character);
    found.map_or("", |at| &mapping[at].1)
}

/// Returns the two or three letters of a Hangul syllable.
pub(super) fn hangul(syllable: char) -> [Option<char>; 3] {
    let index = (syllable as u32).wrapping_sub(0xac00);
    let last = index % 28;
    [
        char::from_u32(0x1100 + index / 588),
        char::from_u32(0x1161 + index % 588 / 28),
        char::from_u32(0x11a7 + last).filter(|_| last != 0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_the_table_is_skipped() {
        let lines = |section: &str| {
            let rest = TABLE.split_once(&format!("@{section}\n")).unwrap().1;
            rest.lines().take_while(|line| !line.starts_with('@')).count()
        };
        assert_eq!(CHARACTERS.stripped.len(), lines("stripped"));
        assert_eq!(CHARACTERS.lower.len(), lines("lower"));
        assert!(CHARACTERS.stripped.is_sorted() && CHARACTERS.lower.is_sorted());
        for line in
            TABLE.lines().skip_while(|line| *line != "@removed").take_while(|line| *line != "@stripped")
        {
            assert!(
                line.starts_with('@') || line.split(' ').all(|range| parse_range(range).is_some()),
                "{line}"
            );
        }
    }

    #[test]
    fn known_characters_have_their_classes_and_mappings() {
        let class = |character| CHARACTERS.class(character);
        assert_eq!(class('a'), 0);
        assert_eq!(class('A'), LOWER);
        assert_eq!(class('é'), STRIPPED);
        assert_eq!(class('É'), STRIPPED | LOWER);
        assert_eq!(class('\u{301}'), MARK);
        assert_eq!(class('\u{fffd}'), REMOVED);
        assert_eq!(class('漢'), CHINESE);
        assert_eq!(class('한'), HANGUL);
        assert_eq!(class('\u{302e}'), COMBINING);
        assert_eq!(CHARACTERS.combining_class('\u{302e}'), 222);
        assert_eq!(CHARACTERS.stripped('É'), "E");
        assert_eq!(CHARACTERS.lower('É'), "é");
        assert_eq!(hangul('한'), [Some('ᄒ'), Some('ᅡ'), Some('ᆫ')]);
        assert_eq!(hangul('가'), [Some('ᄀ'), Some('ᅡ'), None]);
    }
}
