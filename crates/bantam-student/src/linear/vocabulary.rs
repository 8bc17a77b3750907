//! The n-grams that a student knows, and how their counts become feature values.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::matrix::Sparse;
use super::ngram::NormalisedText;

/// Hashes a fingerprint to itself, because it is well mixed already.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct FingerprintHasher(u64);

impl Hasher for FingerprintHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

pub(crate) type FingerprintMap<V> = HashMap<u64, V, BuildHasherDefault<FingerprintHasher>>;

/// The n-grams kept: words before characters, frequent before rare within each block.
///
/// This order puts the weights that most texts touch next to each other in memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Vocabulary {
    pub(crate) keys: Vec<u64>,
    /// The number of word n-grams, which come first.
    pub(crate) words: usize,
}

/// The n-gram counts of the training texts.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    offsets: Vec<usize>,
    entries: Vec<(u32, u32)>,
}

/// In how many rows an n-gram occurs.
#[derive(Debug, Default, Clone, Copy)]
struct Frequency {
    rows: u32,
    last_row: u32,
}

/// Collects the n-grams that occur in at least `rows_min` of `texts`: the `features_max` most frequent ones.
pub(crate) fn collect<'a>(
    texts: impl Iterator<Item = &'a str>,
    rows_min: u32,
    features_max: usize,
) -> Vocabulary {
    let mut frequencies: [FingerprintMap<Frequency>; 2] = Default::default();
    let mut normal = NormalisedText::default();
    for (row, text) in texts.enumerate() {
        normal.set(text);
        let row = row as u32 + 1;
        normal.for_each_word_gram(|key| count_row(&mut frequencies[0], key, row));
        normal.for_each_char_gram(|key| count_row(&mut frequencies[1], key, row));
    }
    let mut kept: Vec<(u32, usize, u64)> = Vec::new();
    for (block, frequencies) in frequencies.iter().enumerate() {
        let frequent = frequencies.iter().filter(|(_, frequency)| frequency.rows >= rows_min);
        kept.extend(frequent.map(|(key, frequency)| (frequency.rows, block, *key)));
    }
    kept.sort_unstable_by_key(|&(rows, block, key)| (std::cmp::Reverse(rows), block, key));
    kept.truncate(features_max);
    kept.sort_unstable_by_key(|&(rows, block, key)| (block, std::cmp::Reverse(rows), key));
    let words = kept.iter().filter(|(_, block, _)| *block == 0).count();
    Vocabulary { keys: kept.into_iter().map(|(_, _, key)| key).collect(), words }
}

fn count_row(frequencies: &mut FingerprintMap<Frequency>, key: u64, row: u32) {
    let frequency = frequencies.entry(key).or_default();
    if frequency.last_row != row {
        *frequency = Frequency { rows: frequency.rows + 1, last_row: row };
    }
}

/// Counts the vocabulary's n-grams in every text.
pub(crate) fn count<'a>(vocabulary: &Vocabulary, texts: impl Iterator<Item = &'a str>) -> Counts {
    let (words, chars) = vocabulary.keys.split_at(vocabulary.words);
    let index = |keys: &[u64], first: usize| -> FingerprintMap<u32> {
        keys.iter().enumerate().map(|(position, key)| (*key, (first + position) as u32)).collect()
    };
    let (words, chars) = (index(words, 0), index(chars, vocabulary.words));
    let mut counts = Counts { offsets: vec![0], ..Counts::default() };
    let mut normal = NormalisedText::default();
    let mut found: Vec<u32> = Vec::new();
    for text in texts {
        normal.set(text);
        found.clear();
        normal.for_each_word_gram(|key| found.extend(words.get(&key)));
        normal.for_each_char_gram(|key| found.extend(chars.get(&key)));
        found.sort_unstable();
        counts.entries.extend(found.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as u32)));
        counts.offsets.push(counts.entries.len());
    }
    counts
}

/// How counts become feature values: TF-IDF, each block normalised to length one and multiplied by its weight.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Weighting {
    /// Inverse document frequency per feature; 0 leaves a feature out.
    pub(crate) rarity: Vec<f32>,
    /// Factors on the block of words and on the block of characters.
    pub(crate) block_weights: [f32; 2],
}

impl Weighting {
    /// Learns document frequencies from the given rows, smoothed as in scikit-learn.
    pub(crate) fn learn(
        counts: &Counts,
        features: usize,
        rows: impl ExactSizeIterator<Item = usize>,
        rows_min: u32,
        block_weights: [f32; 2],
    ) -> Self {
        let total = rows.len() as f32;
        let mut frequencies = vec![0u32; features];
        for row in rows {
            for &(feature, _) in counts.row(row) {
                frequencies[feature as usize] += 1;
            }
        }
        let rarity = |frequency: u32| ((1.0 + total) / (1.0 + frequency as f32)).ln() + 1.0;
        Self {
            rarity: frequencies
                .iter()
                .map(|&rows| if rows < rows_min { 0.0 } else { rarity(rows) })
                .collect(),
            block_weights,
        }
    }

    /// Returns the design matrix of the given rows.
    pub(crate) fn design(&self, counts: &Counts, words: usize, rows: impl Iterator<Item = usize>) -> Sparse {
        let mut sparse = Sparse { offsets: vec![0], entries: Vec::new(), columns: self.rarity.len() };
        for row in rows {
            let start = sparse.entries.len();
            let mut squares = [0.0; 2];
            for &(feature, count) in counts.row(row) {
                let rarity = self.rarity[feature as usize];
                let block = usize::from(feature as usize >= words);
                if rarity > 0.0 {
                    let value = (1.0 + (count as f32).ln()) * rarity;
                    squares[block] += value * value;
                    sparse.entries.push((feature, value));
                }
            }
            let factors = self.factors(squares);
            for (feature, value) in &mut sparse.entries[start..] {
                *value *= factors[usize::from(*feature as usize >= words)];
            }
            sparse.offsets.push(sparse.entries.len());
        }
        sparse
    }

    /// Returns the factor that scales each block to its length.
    pub(crate) fn factors(&self, squares: [f32; 2]) -> [f32; 2] {
        let factor = |block: usize| {
            if squares[block] > 0.0 { self.block_weights[block] / squares[block].sqrt() } else { 0.0 }
        };
        [factor(0), factor(1)]
    }
}

impl Counts {
    fn row(&self, row: usize) -> &[(u32, u32)] {
        &self.entries[self.offsets[row]..self.offsets[row + 1]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_rare_ngrams_and_orders_the_rest_by_block_and_frequency() {
        let texts = ["red fox", "red dog", "blue"];
        let vocabulary = collect(texts.into_iter(), 2, 1000);
        assert_eq!(vocabulary.words, 1, "only `red` is in two rows");
        assert!(vocabulary.keys.len() > 1);
        assert_eq!(collect(texts.into_iter(), 2, 3).keys.len(), 3);
        assert!(collect(texts.into_iter(), 4, 3).keys.is_empty());
    }

    #[test]
    fn each_block_has_the_length_of_its_weight() {
        let texts = ["red fox red", "red fox"];
        let vocabulary = collect(texts.into_iter(), 2, 1000);
        let counts = count(&vocabulary, texts.into_iter());
        let weighting = Weighting::learn(&counts, vocabulary.keys.len(), 0..2, 2, [1.0, 0.5]);
        let design = weighting.design(&counts, vocabulary.words, 1..2);
        let length = |words: bool| -> f32 {
            let block =
                design.row(0).iter().filter(|(feature, _)| ((*feature as usize) < vocabulary.words) == words);
            block.map(|(_, value)| value * value).sum::<f32>().sqrt()
        };
        assert!((length(true) - 1.0).abs() < 1e-5);
        assert!((length(false) - 0.5).abs() < 1e-5);
    }
}
