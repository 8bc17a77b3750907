//! What words themselves say of their tags.

use super::features::Seen;
use super::fit::Weights;
use crate::linear::lookup::Table;
use crate::tagger::lattice::Steps;

/// Weights of features by their fingerprints, and of steps from word to word.
#[derive(Debug, Clone)]
pub(crate) struct Scorer {
    pub(super) table: Table,
    pub(super) weights: Weights,
    pub(crate) steps: Steps,
}

impl Scorer {
    /// Returns one row of scores, in planes, for every word that was seen.
    pub(crate) fn score(&self, seen: &Seen, scores: &mut Vec<f32>) {
        let tags = self.steps.tags();
        scores.clear();
        scores.resize(tags, 0.0);
        let add = |key: &u64, scores: &mut [f32]| {
            if let Some(feature) = self.table.get(*key) {
                self.weights.add(feature, scores);
            }
        };
        seen.of_text.iter().for_each(|key| add(key, scores));
        for _ in 1..seen.words.len() {
            scores.extend_from_within(..tags);
        }
        scores.truncate(tags * seen.words.len());
        for (word, row) in scores.chunks_exact_mut(tags).enumerate() {
            seen.of_word(word).iter().for_each(|key| add(key, row));
        }
    }

    /// Returns the share of the words that training never saw.
    pub(crate) fn unknown(&self, seen: &Seen) -> f32 {
        let unknown = (0..seen.words.len()).filter(|word| self.table.get(seen.own(*word)).is_none()).count();
        unknown as f32 / seen.words.len().max(1) as f32
    }
}
