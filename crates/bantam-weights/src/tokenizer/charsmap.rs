//! SentencePiece's table of what becomes of characters: a trie whose values are places in a list of texts.
//!
//! | Bytes | Content |
//! |---|---|
//! | 4 | the trie's length in bytes, little-endian |
//! | … | the trie: units of 4 bytes, a double array |
//! | … | texts, each ended by a NUL |

use unicode_segmentation::UnicodeSegmentation;

use super::TokenizerError;

/// The real ones have 240 KB.
const BYTES_MAX: usize = 16 << 20;
/// Longer than any key, and than any text that a character becomes: what keeps a crafted table from being slow, or
/// from making a short text long.
const KEY_BYTES_MAX: usize = 64;
const TEXT_BYTES_MAX: usize = 256;
/// The reference looks for clusters of characters only where they are shorter.
const CLUSTER_BYTES: usize = 6;

/// The table.
#[derive(Debug)]
pub(super) struct Charsmap {
    units: Vec<u32>,
    texts: String,
    /// Whether clusters are looked up as the reference for `tokenizer.json` does, rather than as SentencePiece.
    by_clusters: bool,
}

impl Charsmap {
    /// Reads a table; every later look is checked against its ends.
    pub(super) fn read(bytes: &[u8], by_clusters: bool) -> Result<Self, TokenizerError> {
        let damaged = |what| TokenizerError::Charsmap { what };
        if bytes.len() > BYTES_MAX {
            return Err(TokenizerError::TooLong { found: bytes.len(), at_most: BYTES_MAX });
        }
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or(damaged("it has no length"))?;
        let length = u32::from_le_bytes(*length) as usize;
        let (trie, texts) = rest.split_at_checked(length).ok_or(damaged("its trie is longer than it"))?;
        let (units, odd) = trie.as_chunks::<4>();
        if units.is_empty() || !odd.is_empty() {
            return Err(damaged("its trie is no list of units"));
        }
        let texts = String::from_utf8(texts.to_vec()).map_err(|_| damaged("its texts are not UTF-8"))?;
        if texts.split('\0').any(|text| text.len() > TEXT_BYTES_MAX) {
            return Err(damaged("it makes a long text of a character"));
        }
        Ok(Self { units: units.iter().map(|unit| u32::from_le_bytes(*unit)).collect(), texts, by_clusters })
    }

    /// The text with all that the table knows replaced.
    pub(super) fn apply(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        if !self.by_clusters {
            let mut rest = text;
            while let Some(first) = rest.chars().next() {
                let found = self.prefixes(rest).last();
                let (length, to) = found.unwrap_or_else(|| (first.len_utf8(), &rest[..first.len_utf8()]));
                out.push_str(to);
                rest = rest.get(length..).unwrap_or_default();
            }
            return out;
        }
        let first_of = |text: &str| self.prefixes(text).next().map(|(_, to)| to);
        for cluster in text.graphemes(true) {
            if let Some(to) = first_of(cluster).filter(|_| cluster.len() < CLUSTER_BYTES) {
                out.push_str(to);
                continue;
            }
            for (at, character) in cluster.char_indices() {
                match first_of(&cluster[at..at + character.len_utf8()]) {
                    Some(to) => out.push_str(to),
                    None => out.push(character),
                }
            }
        }
        out
    }

    /// What the trie has for the beginnings of a text, the shortest first: their lengths, whole characters only,
    /// and what they become.
    fn prefixes<'s, 't>(&'s self, text: &'t str) -> impl Iterator<Item = (usize, &'s str)> + use<'s, 't> {
        let mut node = self.units.first().map_or(0, |unit| offset(*unit));
        let mut bytes = text.bytes().enumerate().take(KEY_BYTES_MAX);
        std::iter::from_fn(move || {
            loop {
                let (at, byte) = bytes.next().filter(|(_, byte)| *byte != 0)?;
                let place = node ^ usize::from(byte);
                let unit = self.units.get(place).filter(|unit| label(**unit) == u32::from(byte))?;
                node = place ^ offset(*unit);
                let has_value = *unit >> 8 & 1 == 1;
                if has_value && text.is_char_boundary(at + 1) {
                    let start = (self.units.get(node)? & 0x7fff_ffff) as usize;
                    let to = self.texts.get(start..)?;
                    return Some((at + 1, to.split('\0').next().unwrap_or_default()));
                }
            }
        })
    }
}

fn label(unit: u32) -> u32 {
    unit & 0x8000_00ff
}

fn offset(unit: u32) -> usize {
    ((unit >> 10) << ((unit & (1 << 9)) >> 6)) as usize
}

/// The bytes that a text in base64 stands for.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let value = |byte: u8| {
        Some(u32::from(match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        }))
    };
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for group in text.trim_end_matches('=').as_bytes().chunks(4) {
        let mut bits = 0;
        for &byte in group {
            bits = bits << 6 | value(byte)?;
        }
        bits <<= 6 * (4 - group.len());
        let all = bits.to_be_bytes();
        bytes.extend_from_slice(all.get(1..group.len())?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn base64_is_read() {
        assert_eq!(from_base64("").unwrap(), b"");
        assert_eq!(from_base64("YQ==").unwrap(), b"a");
        assert_eq!(from_base64("YWI=").unwrap(), b"ab");
        assert_eq!(from_base64("YWJj/+8=").unwrap(), b"abc\xff\xef");
        assert_eq!(from_base64("Y*"), None);
        assert_eq!(from_base64("Y"), Some(Vec::new()));
    }

    #[test]
    fn clusters_and_longest_keys_are_replaced() {
        let file = include_str!("../../tests/goldens/tokenizers/charsmap.json");
        let file: serde_json::Value = serde_json::from_str(file).unwrap();
        let table = file["normalizer"]["normalizers"][0]["precompiled_charsmap"].as_str().unwrap();
        let apply = |by_clusters, text: &str| {
            Charsmap::read(&from_base64(table).unwrap(), by_clusters).unwrap().apply(text)
        };
        for by_clusters in [false, true] {
            assert_eq!(apply(by_clusters, "ﬁ①e\u{301}\u{a0}plain\u{1}"), "fi1é plain");
        }
        // Longer than a cluster may be: its characters each by itself.
        assert_eq!(apply(true, "e\u{301}\u{301}\u{301}"), "e´´´");
        assert_eq!(apply(false, "e\u{301}\u{301}\u{301}"), "é´´");
    }

    #[test]
    fn damaged_tables_are_refused() {
        let check = |bytes: &[u8], what: &str| {
            let message = Charsmap::read(bytes, true).unwrap_err().to_string();
            assert_eq!(message, format!("the table of characters (precompiled_charsmap) is damaged: {what}"));
        };
        check(&[1], "it has no length");
        check(&[4, 0, 0, 0, 1], "its trie is longer than it");
        check(&[0, 0, 0, 0], "its trie is no list of units");
        check(&[4, 0, 0, 0, 1, 2, 3, 4, 0xff], "its texts are not UTF-8");
        let long = [&[4, 0, 0, 0, 1, 2, 3, 4][..], &[b'a'; 257]].concat();
        check(&long, "it makes a long text of a character");
    }

    proptest! {
        #[test]
        fn tables_of_noise_are_walked_without_harm(
            units in proptest::collection::vec(any::<u32>(), 1..600), texts in ".{0,40}", text: String, by_clusters: bool,
        ) {
            let trie: Vec<u8> = units.iter().flat_map(|unit| (unit & 0xffff).to_le_bytes()).collect();
            let table = [&(trie.len() as u32).to_le_bytes()[..], &trie, texts.as_bytes()].concat();
            let changed = Charsmap::read(&table, by_clusters).unwrap().apply(&text);
            prop_assert!(changed.len() <= text.len() * (texts.len() + 4));
        }
    }
}
