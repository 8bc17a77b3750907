//! The tokens that merging starts from.

use std::collections::HashMap;

use super::alphabet;
use super::split::SPACE_MARK;

/// No token.
pub(super) const NONE: u32 = u32::MAX;

/// Ids by the names that a file has for tokens which text may give.
pub(super) type Names<'a> = HashMap<&'a str, u32>;

/// The token of each byte, [`NONE`] where there is none.
pub(super) type ByteTable = Box<[u32; 256]>;

/// The tokens that merging starts from.
#[derive(Debug)]
pub(super) enum Start {
    /// One for each byte.
    Bytes(ByteTable),
    /// One for each character.
    Characters(Characters),
}

/// The tokens of single characters.
#[derive(Debug)]
pub(super) struct Characters {
    /// Of ASCII, [`NONE`] where there is none.
    ascii: Box<[u32; 128]>,
    /// Of the others, sorted.
    others: Vec<(char, u32)>,
    /// The characters that have no token and stand in one; their ids begin after the vocabulary's.
    pub(super) borrowed: Vec<char>,
    /// Whether no token has a [`SPACE_MARK`] after another character: then texts are merged word by word.
    pub(super) is_cut: bool,
}

impl Start {
    /// From bytes, written in the alphabet of byte-level tokenizers.
    pub(super) fn of_bytes(names: &Names<'_>) -> Self {
        let mut table = no_bytes();
        for (name, id) in names {
            if let Some([byte]) = alphabet::bytes_of(name).as_deref() {
                table[usize::from(*byte)] = *id;
            }
        }
        Self::Bytes(table)
    }
}

impl Characters {
    /// Those that are tokens.
    pub(super) fn of(names: &Names<'_>) -> Self {
        let mut ascii = Box::new([NONE; 128]);
        let mut others = Vec::new();
        for (name, id) in names {
            let mut characters = name.chars();
            if let (Some(character), None) = (characters.next(), characters.next()) {
                match ascii.get_mut(character as usize) {
                    Some(slot) => *slot = *id,
                    None => others.push((character, *id)),
                }
            }
        }
        others.sort_unstable();
        let is_cut = names.keys().all(|name| !name.trim_start_matches(SPACE_MARK).contains(SPACE_MARK));
        Self { ascii, others, borrowed: Vec::new(), is_cut }
    }

    /// Gives ids from a first one on to the characters that only stand in other tokens.
    pub(super) fn borrow(&mut self, names: &Names<'_>, first: usize) {
        let mut all: Vec<char> = names.keys().flat_map(|name| name.chars()).collect();
        all.sort_unstable();
        all.dedup();
        all.retain(|&character| self.find(character) == NONE);
        for character in all {
            // Both are few: ids by their limit, characters by Unicode's.
            let id = (first + self.borrowed.len()) as u32;
            self.borrowed.push(character);
            if let Some(slot) = self.ascii.get_mut(character as usize) {
                *slot = id;
            }
        }
        let others = self.borrowed.iter().zip(first as u32..).filter(|(character, _)| !character.is_ascii());
        self.others.extend(others.map(|(character, id)| (*character, id)));
        self.others.sort_unstable();
    }

    /// The id of a character, or [`NONE`].
    #[inline]
    pub(super) fn find(&self, character: char) -> u32 {
        match self.ascii.get(character as usize) {
            Some(&id) => id,
            None => {
                let found = self.others.binary_search_by_key(&character, |(known, _)| *known);
                found.map_or(NONE, |at| self.others[at].1)
            }
        }
    }
}

/// The table of the tokens that are written as bytes, such as `<0x0A>`.
pub(super) fn byte_table<'a>(tokens: impl IntoIterator<Item = (&'a str, u32)>) -> ByteTable {
    let mut table = no_bytes();
    for (name, id) in tokens {
        if let Some(byte) = byte_name(name) {
            table[usize::from(byte)] = id;
        }
    }
    table
}

fn no_bytes() -> ByteTable {
    Box::new([NONE; 256])
}

/// The byte that a token like `<0x0A>` stands for.
pub(super) fn byte_name(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 2)
}
