//! Scores the tags of words by their features.

use super::features::TextFeatures;
use super::fit::Weights;
use crate::linear::lookup::Table;
use crate::tagger::lattice::Transitions;

/// Weights of features by their fingerprints, and of transitions.
#[derive(Debug, Clone)]
pub(crate) struct Scorer {
    pub(super) table: Table,
    pub(super) weights: Weights,
    pub(crate) transitions: Transitions,
}

impl Scorer {
    /// Sets `scores` to one row of scores, in planes, for every word.
    pub(crate) fn score(&self, text: &TextFeatures, scores: &mut Vec<f32>) {
        let tags = self.transitions.tags();
        scores.clear();
        scores.resize(tags, 0.0);
        let add = |key: &u64, scores: &mut [f32]| {
            if let Some(feature) = self.table.get(*key) {
                self.weights.add(feature, scores);
            }
        };
        text.shared.iter().for_each(|key| add(key, scores));
        for _ in 1..text.words.len() {
            scores.extend_from_within(..tags);
        }
        scores.truncate(tags * text.words.len());
        for (word, row) in scores.chunks_exact_mut(tags).enumerate() {
            text.of_word(word).iter().for_each(|key| add(key, row));
        }
    }

    /// Returns the share of words that training never saw.
    pub(crate) fn unknown(&self, text: &TextFeatures) -> f32 {
        let unknown = (0..text.words.len()).filter(|word| self.table.get(text.own(*word)).is_none()).count();
        unknown as f32 / text.words.len().max(1) as f32
    }
}
