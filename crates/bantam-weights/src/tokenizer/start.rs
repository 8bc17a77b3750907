//! The tokens from which merging starts.

use std::collections::HashMap;

use super::alphabet;
use super::split::SPACE_MARK;

/// No token.
pub(super) const NONE: u32 = u32::MAX;

/// Ids by name of the tokens that text can produce.
pub(super) type TokenIds<'a> = HashMap<&'a str, u32>;

/// The token of each byte, or [`NONE`] for a byte without a token.
pub(super) type ByteTable = Box<[u32; 256]>;

/// The tokens from which merging starts.
#[derive(Debug)]
pub(super) enum InitialTokens {
    /// A token per byte.
    Bytes(ByteTable),
    /// A token per character.
    Characters(CharacterTokens),
}

/// The tokens of single characters.
#[derive(Debug)]
pub(super) struct CharacterTokens {
    /// Tokens of ASCII characters; [`NONE`] if there is none.
    ascii: Box<[u32; 128]>,
    /// Tokens of other characters, sorted.
    others: Vec<(char, u32)>,
    /// Characters that occur in tokens but are not tokens; their placeholder ids follow the vocabulary's.
    pub(super) placeholders: Vec<char>,
    /// Whether no token has a [`SPACE_MARK`] after another character, so that texts can be merged word by word.
    pub(super) is_split_at_spaces: bool,
}

impl InitialTokens {
    /// Returns the tokens of bytes, which are written in the alphabet of byte-level tokenizers.
    pub(super) fn of_bytes(names: &TokenIds<'_>) -> Self {
        let mut table = no_bytes();
        for (name, id) in names {
            if let Some([byte]) = alphabet::bytes_of(name).as_deref() {
                table[usize::from(*byte)] = *id;
            }
        }
        Self::Bytes(table)
    }
}

impl CharacterTokens {
    /// Returns the tokens of single characters.
    pub(super) fn of(names: &TokenIds<'_>) -> Self {
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
        let is_split_at_spaces =
            names.keys().all(|name| !name.trim_start_matches(SPACE_MARK).contains(SPACE_MARK));
        Self { ascii, others, placeholders: Vec::new(), is_split_at_spaces }
    }

    /// Gives placeholder ids, starting at `first`, to characters that occur only in longer tokens.
    pub(super) fn add_placeholders(&mut self, names: &TokenIds<'_>, first: usize) {
        let mut all: Vec<char> = names.keys().flat_map(|name| name.chars()).collect();
        all.sort_unstable();
        all.dedup();
        all.retain(|&character| self.find(character) == NONE);
        for character in all {
            // Ids and characters are limited, so their sum fits.
            let id = (first + self.placeholders.len()) as u32;
            self.placeholders.push(character);
            if let Some(slot) = self.ascii.get_mut(character as usize) {
                *slot = id;
            }
        }
        let others =
            self.placeholders.iter().zip(first as u32..).filter(|(character, _)| !character.is_ascii());
        self.others.extend(others.map(|(character, id)| (*character, id)));
        self.others.sort_unstable();
    }

    /// Returns the id of a character, or [`NONE`].
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

/// Returns the table of byte tokens such as `<0x0A>`.
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

/// Returns the byte of a token such as `<0x0A>`.
pub(super) fn byte_name(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 2)
}
