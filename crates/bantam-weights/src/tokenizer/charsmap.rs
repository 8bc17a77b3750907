//! SentencePiece's character map: a trie whose values are offsets into a list of replacement strings.
//!
//! | Bytes | Content |
//! |---|---|
//! | 4 | the trie's length in bytes, little-endian |
//! | … | the trie: units of 4 bytes, a double array |
//! | … | strings, each ended by a NUL |

use unicode_segmentation::UnicodeSegmentation;

use super::TokenizerError;

/// Real tables have 240 KB.
const BYTES_MAX: usize = 16 << 20;
/// Larger than any real key and replacement. The limits keep a crafted table from being slow, or from expanding a
/// short text to a long one.
const KEY_BYTES_MAX: usize = 64;
const TEXT_BYTES_MAX: usize = 256;
/// The reference looks up only shorter clusters.
const CLUSTER_BYTES: usize = 6;

/// The character map.
#[derive(Debug)]
pub(super) struct Charsmap {
    units: Vec<u32>,
    texts: String,
    /// Whether whole clusters are looked up, like the reference for `tokenizer.json`, unlike SentencePiece.
    by_clusters: bool,
}

impl Charsmap {
    /// Reads a map; every later access is bounds-checked.
    pub(super) fn read(bytes: &[u8], by_clusters: bool) -> Result<Self, TokenizerError> {
        let damaged = |what| TokenizerError::Charsmap { what };
        if bytes.len() > BYTES_MAX {
            return Err(TokenizerError::TooLong { found: bytes.len(), at_most: BYTES_MAX });
        }
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or(damaged("it has no length"))?;
        let length = u32::from_le_bytes(*length) as usize;
        let (trie, texts) =
            rest.split_at_checked(length).ok_or(damaged("its trie is longer than the map"))?;
        let (units, odd) = trie.as_chunks::<4>();
        if units.is_empty() || !odd.is_empty() {
            return Err(damaged("its trie is not a list of 4-byte units"));
        }
        let texts = String::from_utf8(texts.to_vec()).map_err(|_| damaged("its strings are not UTF-8"))?;
        if texts.split('\0').any(|text| text.len() > TEXT_BYTES_MAX) {
            return Err(damaged("a replacement is too long"));
        }
        Ok(Self { units: units.iter().map(|unit| u32::from_le_bytes(*unit)).collect(), texts, by_clusters })
    }

    /// Returns the text with all replacements of the map.
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

    /// Returns the matches at the start of a text, the shortest first: their lengths, of whole characters only, and
    /// their replacements.
    fn prefixes<'s, 't>(&'s self, text: &'t str) -> impl Iterator<Item = (usize, &'s str)> + use<'s, 't> {
        let mut node = self.units.first().map_or(0, |unit| offset(*unit));
        let mut bytes = text.bytes().enumerate().take(KEY_BYTES_MAX);
        std::iter::from_fn(move || {
            loop {
                let (at, byte) = bytes.next().filter(|(_, byte)| *byte != 0)?;
                let index = node ^ usize::from(byte);
                let unit = self.units.get(index).filter(|unit| label(**unit) == u32::from(byte))?;
                node = index ^ offset(*unit);
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

#[cfg(test)]
mod tests {
    use data_encoding::BASE64;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn clusters_and_the_longest_keys_are_replaced() {
        let file = include_str!("../../tests/goldens/tokenizers/charsmap.json");
        let file: serde_json::Value = serde_json::from_str(file).unwrap();
        let table = file["normalizer"]["normalizers"][0]["precompiled_charsmap"].as_str().unwrap();
        let apply = |by_clusters, text: &str| {
            Charsmap::read(&BASE64.decode(table.as_bytes()).unwrap(), by_clusters).unwrap().apply(text)
        };
        for by_clusters in [false, true] {
            assert_eq!(apply(by_clusters, "ﬁ①e\u{301}\u{a0}plain\u{1}"), "fi1é plain");
        }
        // Longer than a cluster can be, so each character is looked up separately.
        assert_eq!(apply(true, "e\u{301}\u{301}\u{301}"), "e´´´");
        assert_eq!(apply(false, "e\u{301}\u{301}\u{301}"), "é´´");
    }

    #[test]
    fn damaged_maps_are_refused() {
        let check = |bytes: &[u8], what: &str| {
            let message = Charsmap::read(bytes, true).unwrap_err().to_string();
            assert_eq!(message, format!("the character map (precompiled_charsmap) is damaged: {what}"));
        };
        check(&[1], "it has no length");
        check(&[4, 0, 0, 0, 1], "its trie is longer than the map");
        check(&[0, 0, 0, 0], "its trie is not a list of 4-byte units");
        check(&[4, 0, 0, 0, 1, 2, 3, 4, 0xff], "its strings are not UTF-8");
        let long = [&[4, 0, 0, 0, 1, 2, 3, 4][..], &[b'a'; 257]].concat();
        check(&long, "a replacement is too long");
    }

    proptest! {
        #[test]
        fn random_maps_cause_no_panic_and_bounded_output(
            units in proptest::collection::vec(any::<u32>(), 1..600), texts in ".{0,40}", text: String, by_clusters: bool,
        ) {
            let trie: Vec<u8> = units.iter().flat_map(|unit| (unit & 0xffff).to_le_bytes()).collect();
            let table = [&(trie.len() as u32).to_le_bytes()[..], &trie, texts.as_bytes()].concat();
            let changed = Charsmap::read(&table, by_clusters).unwrap().apply(&text);
            prop_assert!(changed.len() <= text.len() * (texts.len() + 4));
        }
    }
}
