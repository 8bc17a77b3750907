//! Labelled rows of made-up words: the students learn from these, so that the bench needs no data.
//!
//! Every label has words of its own, which stand among words that say nothing and now and then a word of
//! another label. How well this is learned says nothing; how long an answer takes depends on the number of
//! labels, words and features, which are those of a support desk.

use serde_json::json;

/// How rows of one task look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Labels.
    pub(crate) labels: usize,
    /// Words of each text.
    pub(crate) words: usize,
}

/// Words of a label's own.
const OWN_WORDS: usize = 8;
/// Words that say nothing.
const FILLERS: usize = 400;
const SYLLABLES: [&str; 24] = [
    "ba", "cor", "den", "fi", "gal", "hem", "ir", "jo", "kas", "lun", "mer", "no", "par", "qui", "ros",
    "sel", "tam", "ul", "ven", "wil", "xan", "yor", "zet", "osh",
];

/// A task's language.
pub(crate) struct Language {
    shape: Shape,
    labels: Vec<String>,
    own: Vec<Vec<String>>,
    fillers: Vec<String>,
}

impl Language {
    /// Makes up a language; equal seeds give equal ones.
    pub(crate) fn new(shape: Shape, random: &mut Random) -> Self {
        let mut words = |count: usize| -> Vec<String> { (0..count).map(|_| word(random)).collect() };
        Self {
            shape,
            labels: (0..shape.labels).map(|number| format!("intent_{number}")).collect(),
            own: (0..shape.labels).map(|_| words(OWN_WORDS)).collect(),
            fillers: words(FILLERS),
        }
    }

    /// Returns `count` rows as JSON lines, the labels in turn.
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

/// SplitMix64 (Steele, Lea, Flood 2014): small, fast, good enough to vary texts.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Returns a number below `bound`.
    pub(crate) const fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed % if bound == 0 { 1 } else { bound as u64 }) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_the_shape_that_was_asked_for_and_are_the_same_every_time() {
        let generate = |seed: u64| {
            let mut random = Random(seed);
            let language = Language::new(Shape { labels: 150, words: 20 }, &mut random);
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
