//! Hash tables that find the feature of an n-gram's fingerprint.

use super::model::logarithms;
use super::vocabulary::Vocabulary;

const FEATURE_BITS: u32 = 24;
const FEATURE_MASK: u64 = (1 << FEATURE_BITS) - 1;
/// The most slots that one search may probe; a table of well-mixed keys, at most half full, never comes near.
const PROBES_MAX: usize = 512;

/// Two open-addressing tables, built when a student is trained or loaded.
///
/// A slot has eight bytes: 40 bits of the fingerprint, and the feature plus one. Including the bits that choose the
/// slot, about 57 of 64 bits are compared; an unknown n-gram is mistaken for a known one once in 10¹⁴ look-ups.
#[derive(Debug, Clone)]
pub(crate) struct FeatureLookup {
    words: Table,
    chars: Table,
    /// `1 + ln(count)`, indexed by count.
    pub(crate) logarithms: Vec<f32>,
}

impl FeatureLookup {
    /// Returns `None` if keys repeat or cluster as well-mixed keys never do: training did not make the vocabulary.
    pub(crate) fn new(vocabulary: &Vocabulary) -> Option<Self> {
        let (words, chars) = vocabulary.keys.split_at_checked(vocabulary.words)?;
        Some(Self {
            words: Table::new(words, 0)?,
            chars: Table::new(chars, vocabulary.words)?,
            logarithms: logarithms(),
        })
    }

    #[inline]
    pub(crate) fn word(&self, key: u64) -> Option<u32> {
        self.words.get(key)
    }

    #[inline]
    pub(crate) fn char(&self, key: u64) -> Option<u32> {
        self.chars.get(key)
    }
}

/// One table: maps a fingerprint to its index in `keys`, plus `first`.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    slots: Vec<u64>,
}

impl Table {
    /// Returns `None` if keys repeat or cluster.
    pub(crate) fn new(keys: &[u64], first: usize) -> Option<Self> {
        if first + keys.len() >= FEATURE_MASK as usize {
            return None;
        }
        let mut slots = vec![0u64; (keys.len() * 2).next_power_of_two().max(2)];
        let mask = slots.len() - 1;
        for (position, key) in keys.iter().enumerate() {
            let mut slot = *key as usize & mask;
            let mut probes = 0;
            while slots[slot] != 0 {
                let resident = (slots[slot] & FEATURE_MASK) as usize - 1 - first;
                if keys[resident] == *key || probes == PROBES_MAX {
                    return None;
                }
                slot = (slot + 1) & mask;
                probes += 1;
            }
            slots[slot] = (key & !FEATURE_MASK) | (first + position + 1) as u64;
        }
        Some(Self { slots })
    }

    #[inline]
    pub(crate) fn get(&self, key: u64) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut slot = key as usize & mask;
        loop {
            let found = self.slots[slot];
            if found == 0 {
                return None;
            }
            if found & !FEATURE_MASK == key & !FEATURE_MASK {
                return Some((found & FEATURE_MASK) as u32 - 1);
            }
            slot = (slot + 1) & mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> u64 {
        (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn finds_exactly_the_known_keys() {
        let vocabulary = Vocabulary { keys: (0..1000).map(key).collect(), words: 300 };
        let lookup = FeatureLookup::new(&vocabulary).unwrap();
        for number in 0..1000 {
            let (word, char) = (lookup.word(key(number)), lookup.char(key(number)));
            let expected = Some(number as u32);
            assert_eq!((word, char), if number < 300 { (expected, None) } else { (None, expected) });
        }
        assert!(
            (1000..5000)
                .all(|number| lookup.word(key(number)).is_none() && lookup.char(key(number)).is_none())
        );
    }

    #[test]
    fn rejects_keys_that_repeat_or_cluster() {
        let check =
            |keys: Vec<u64>, words| assert!(FeatureLookup::new(&Vocabulary { keys, words }).is_none());
        check(vec![key(1), key(1)], 0);
        check((0..2000).map(|number| number << 40 | 5).collect(), 0);
        check(vec![key(1)], 2);
    }

    #[test]
    fn an_empty_vocabulary_finds_nothing() {
        let lookup = FeatureLookup::new(&Vocabulary::default()).unwrap();
        assert_eq!((lookup.word(1), lookup.char(1)), (None, None));
    }
}
