//! Labelled rows of made-up words, which the students are trained on, so that the benchmark needs no data.
//!
//! Every label has its own words, mixed with neutral words and occasionally a word of another label. The
//! resulting accuracy is meaningless; the time per answer depends on the number of labels, words and
//! features, which are those of a support desk.

use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};
use serde_json::json;

/// The shape of one task's rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowShape {
    /// Number of labels.
    pub(crate) labels: usize,
    /// Words in each text.
    pub(crate) words: usize,
}

/// Words that belong to one label.
const OWN_WORDS: usize = 8;
/// Neutral words.
const FILLERS: usize = 400;
const SYLLABLES: [&str; 24] = [
    "ba", "cor", "den", "fi", "gal", "hem", "ir", "jo", "kas", "lun", "mer", "no", "par", "qui", "ros",
    "sel", "tam", "ul", "ven", "wil", "xan", "yor", "zet", "osh",
];

/// A task's language.
pub(crate) struct Language {
    shape: RowShape,
    labels: Vec<String>,
    own: Vec<Vec<String>>,
    fillers: Vec<String>,
}

impl Language {
    /// Generates a language; equal seeds give equal languages.
    pub(crate) fn new(shape: RowShape, random: &mut Random) -> Self {
        let mut words = |count: usize| -> Vec<String> { (0..count).map(|_| word(random)).collect() };
        Self {
            shape,
            labels: (0..shape.labels).map(|number| format!("intent_{number}")).collect(),
            own: (0..shape.labels).map(|_| words(OWN_WORDS)).collect(),
            fillers: words(FILLERS),
        }
    }

    /// Returns `count` rows as JSON lines, cycling through the labels.
    pub(crate) fn rows(&self, count: usize, random: &mut Random) -> String {
        let row = |number: usize| {
            let label = number % self.shape.labels.max(1);
            let row = json!({"text": self.text(label, random), "label": self.labels.get(label)});
            format!("{row}\n")
        };
        (0..count).map(row).collect()
    }

    fn text(&self, label: usize, random: &mut Random) -> String {
        let pick = |words: &[String], random: &mut Random| {
            words.get(random.below(words.len())).cloned().unwrap_or_default()
        };
        let words: Vec<String> = (0..self.shape.words)
            .map(|_| {
                let chosen = match random.below(100) {
                    0..40 => self.own.get(label),
                    40..44 => self.own.get(random.below(self.own.len())),
                    _ => Some(&self.fillers),
                };
                chosen.map(|words| pick(words, random)).unwrap_or_default()
            })
            .collect();
        words.join(" ")
    }
}

fn word(random: &mut Random) -> String {
    let syllables = 2 + random.below(2);
    (0..syllables).filter_map(|_| SYLLABLES.get(random.below(SYLLABLES.len())).copied()).collect()
}

/// Seeded random numbers.
pub(crate) struct Random(SplitMix64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SplitMix64::seed_from_u64(seed))
    }

    /// Returns a number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.0.next_u64() % bound.max(1) as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_the_requested_shape_and_are_reproducible() {
        let generate = |seed: u64| {
            let mut random = Random::new(seed);
            let language = Language::new(RowShape { labels: 150, words: 20 }, &mut random);
            language.rows(300, &mut random)
        };
        let rows = generate(1);
        assert_eq!(rows, generate(1));
        assert_ne!(rows, generate(2));
        let rows: Vec<serde_json::Value> =
            rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
        assert_eq!(rows.len(), 300);
        let labels: std::collections::HashSet<&str> =
            rows.iter().map(|row| row["label"].as_str().unwrap()).collect();
        assert_eq!(labels.len(), 150);
        assert!(rows.iter().all(|row| row["text"].as_str().unwrap().split(' ').count() == 20));
    }
}
