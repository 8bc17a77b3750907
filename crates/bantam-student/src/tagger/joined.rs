//! Combines two models of the same words: an encoder, which knows what words mean, and a linear chain, which knows the
//! words themselves and their order.
//!
//! The combined model is log-linear: a sequence's score is the encoder's times one factor plus the chain's times
//! another. The factors maximise the likelihood of the right sequences of held-out rows, which neither model was
//! trained on. The likelihood is concave in the factors, so it has one maximum.

use super::lattice::{Lattice, Transitions};
use super::words::{TaggedWord, Windows};
use crate::linear::calibrate;

/// The search range of the encoder's factor.
const ENCODER_FACTOR: (f64, f64) = (0.02, 4.0);
/// The largest factor of the chain that is tried.
const WORDS_FACTOR_MAX: f64 = 1.5;
/// A chain with a smaller factor than this is left out.
pub(crate) const WORDS_FACTOR_MIN: f32 = 0.02;
const ROUNDS: usize = 4;
const SEARCH_STEPS: usize = 9;
/// The most scores that the search uses.
const CELLS_MAX: usize = 1_500_000;

/// The factors of the two models.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Factors {
    pub(crate) encoder: f32,
    pub(crate) words: f32,
}

/// One held-out row: both models' scores in planes, and the right tags.
#[derive(Debug)]
pub(crate) struct HeldOutScores {
    pub(crate) encoder: Vec<f32>,
    pub(crate) words: Vec<f32>,
    pub(crate) targets: Vec<u32>,
}

/// Returns the factors that maximise the likelihood of the right sequences, given the chain's transitions.
pub(crate) fn fit(rows: &[HeldOutScores], transitions: &Transitions) -> Factors {
    let mut cells = 0;
    let rows: Vec<&HeldOutScores> = rows
        .iter()
        .take_while(|row| {
            cells += row.words.len();
            cells <= CELLS_MAX
        })
        .collect();
    let (mut lattice, mut scores) = (Lattice::default(), Vec::new());
    let mut loss = |encoder: f64, words: f64| {
        let (encoder_factor, words_factor) = (encoder as f32, words as f32);
        let mut scaled = transitions.clone();
        scaled.parts_mut().into_iter().flatten().for_each(|transition| *transition *= words_factor);
        let exponentials = scaled.exponentials();
        // A prior with the weight of about one row pulls each factor towards 1.
        let mut total = encoder.ln().powi(2) + (words - 1.0).powi(2);
        for row in &rows {
            scores.clear();
            let both = row.encoder.iter().zip(&row.words);
            scores.extend(both.map(|(encoder, words)| encoder_factor * encoder + words_factor * words));
            lattice.sum(&scores, &exponentials);
            let right: Vec<usize> = row.targets.iter().map(|tag| *tag as usize).collect();
            total += lattice.total - scaled.score_of(&right, &scores);
        }
        total
    };
    let (low, high) = ENCODER_FACTOR;
    let (mut encoder, mut words) = (0.5, 0.5);
    for _ in 0..ROUNDS {
        encoder =
            calibrate::least(low.ln(), high.ln(), SEARCH_STEPS, |factor| loss(factor.exp(), words)).exp();
        words = calibrate::least(0.0, WORDS_FACTOR_MAX, SEARCH_STEPS, |factor| loss(encoder, factor));
    }
    Factors { encoder: encoder as f32, words: words as f32 }
}

/// Writes the encoder's scores of the words at `spans` to `into`, `tags` for each, and zeros for words that it did not
/// score.
pub(crate) fn scores_of_words(
    windows: &Windows,
    encoder_scores: &[f32],
    tags: usize,
    spans: &[(usize, usize)],
    into: &mut Vec<f32>,
) {
    into.clear();
    into.resize(spans.len() * tags, 0.0);
    let mut scored = windows.words().zip(encoder_scores.chunks_exact(tags)).peekable();
    for (span, row) in spans.iter().zip(into.chunks_exact_mut(tags)) {
        let is_before = |(word, _): &(&TaggedWord, &[f32])| word.start < span.0;
        while scored.next_if(is_before).is_some() {}
        if let Some((_, scores)) = scored.next_if(|(word, _)| (word.start, word.end) == *span) {
            row.copy_from_slice(scores);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tagger::Sequence;

    /// Returns rows of one word and two tags, for which one model is right and the other guesses.
    fn rows(encoder_knows: bool) -> Vec<HeldOutScores> {
        (0..200u32)
            .map(|row| {
                let (target, chance) = (row % 2, row / 20 % 2);
                // The better model is sometimes wrong too, so that no factor is unbounded.
                let predicted = if row % 20 == 7 { 1 - target } else { target };
                let scores = |tag: u32| if tag == 0 { vec![2.0, 0.0, 0.0] } else { vec![0.0, 2.0, 0.0] };
                let (known, guessed) = (scores(predicted), scores(chance));
                let (encoder, words) = if encoder_knows { (known, guessed) } else { (guessed, known) };
                HeldOutScores { encoder, words, targets: vec![target] }
            })
            .collect()
    }

    #[test]
    fn the_better_model_counts_and_the_one_that_guesses_does_not() {
        let transitions = Transitions::uniform(1);
        let found = fit(&rows(true), &transitions);
        assert!(found.encoder > 0.7 && found.words < 0.2, "{found:?}");
        let found = fit(&rows(false), &transitions);
        assert!(found.words > 0.7 && found.encoder < 0.35, "{found:?}");
    }

    #[test]
    fn scores_belong_to_their_words_and_other_words_have_none() {
        let word = |start: usize| TaggedWord { start, end: start + 1, token: start };
        let sequence = |words: &[usize]| Sequence {
            ids: Vec::new(),
            words: words.iter().map(|start| word(*start)).collect(),
        };
        let windows = Windows { sequences: vec![sequence(&[0, 4]), sequence(&[6])], is_whole: false };
        let mut into = Vec::new();
        let spans = [(0, 1), (2, 3), (4, 5), (6, 8), (9, 10)];
        scores_of_words(&windows, &[1.0, 2.0, 3.0], 1, &spans, &mut into);
        assert_eq!(into, [1.0, 0.0, 2.0, 0.0, 0.0]);
    }
}
