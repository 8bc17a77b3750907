//! Two readings of the same words as one: an encoder's, which knows what words mean, and that of a linear chain, which
//! knows the words themselves and what follows what.
//!
//! The joined model is log-linear: a sequence's score is the encoder's times one factor and the chain's times another. Both
//! factors are those under which the right sequences of held-out rows are likeliest; that likelihood is concave in them,
//! so it has one maximum. Neither reading has seen these rows.

use super::lattice::{Lattice, Steps};
use super::words::{TaggedWord, Windows};
use crate::linear::calibrate;

/// Where the encoder's factor is looked for.
const OF_ENCODER: (f64, f64) = (0.02, 4.0);
/// Where the chain's factor is looked for.
const OF_WORDS_MAX: f64 = 1.5;
/// A chain that counts for less than this is left out.
pub(crate) const OF_WORDS_MIN: f32 = 0.02;
const ROUNDS: usize = 4;
const SEARCH_STEPS: usize = 9;
/// Scores that the search looks at, at most.
const CELLS_MAX: usize = 1_500_000;

/// How much each of two readings counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Factors {
    pub(crate) encoder: f32,
    pub(crate) words: f32,
}

/// One held-out row: both readings' scores in planes, and the right tags.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) encoder: Vec<f32>,
    pub(crate) words: Vec<f32>,
    pub(crate) targets: Vec<u32>,
}

/// Returns the factors under which the right sequences are likeliest, given the chain's steps.
pub(crate) fn fit(rows: &[Judged], steps: &Steps) -> Factors {
    let mut cells = 0;
    let rows: Vec<&Judged> = rows
        .iter()
        .take_while(|row| {
            cells += row.words.len();
            cells <= CELLS_MAX
        })
        .collect();
    let (mut lattice, mut scores) = (Lattice::default(), Vec::new());
    let mut loss = |encoder: f64, words: f64| {
        let (of_encoder, of_words) = (encoder as f32, words as f32);
        let mut scaled = steps.clone();
        scaled.parts_mut().into_iter().flatten().for_each(|step| *step *= of_words);
        let powers = scaled.powers();
        // As if one row more spoke for each factor to be 1.
        let mut total = encoder.ln().powi(2) + (words - 1.0).powi(2);
        for row in &rows {
            scores.clear();
            let both = row.encoder.iter().zip(&row.words);
            scores.extend(both.map(|(encoder, words)| of_encoder * encoder + of_words * words));
            lattice.sum(&scores, &powers);
            let right: Vec<usize> = row.targets.iter().map(|tag| *tag as usize).collect();
            total += lattice.total - scaled.score_of(&right, &scores);
        }
        total
    };
    let (low, high) = OF_ENCODER;
    let (mut encoder, mut words) = (0.5, 0.5);
    for _ in 0..ROUNDS {
        encoder =
            calibrate::least(low.ln(), high.ln(), SEARCH_STEPS, |factor| loss(factor.exp(), words)).exp();
        words = calibrate::least(0.0, OF_WORDS_MAX, SEARCH_STEPS, |factor| loss(encoder, factor));
    }
    Factors { encoder: encoder as f32, words: words as f32 }
}

/// Returns the encoder's scores of the words at `places`, `tags` for each; of words that it does not judge it says nothing.
pub(crate) fn at_places(
    windows: &Windows,
    of_encoder: &[f32],
    tags: usize,
    places: &[(usize, usize)],
    into: &mut Vec<f32>,
) {
    into.clear();
    into.resize(places.len() * tags, 0.0);
    let mut judged = windows.words().zip(of_encoder.chunks_exact(tags)).peekable();
    for (place, row) in places.iter().zip(into.chunks_exact_mut(tags)) {
        let is_before = |(word, _): &(&TaggedWord, &[f32])| word.start < place.0;
        while judged.next_if(is_before).is_some() {}
        if let Some((_, scores)) = judged.next_if(|(word, _)| (word.start, word.end) == *place) {
            row.copy_from_slice(scores);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tagger::Sequence;

    /// Rows of one word and two tags, where one reading is right and the other guesses.
    fn rows(encoder_knows: bool) -> Vec<Judged> {
        (0..200u32)
            .map(|row| {
                let (target, chance) = (row % 2, row / 20 % 2);
                // The reading that knows is wrong now and then, so that no factor is without bound.
                let said = if row % 20 == 7 { 1 - target } else { target };
                let scores = |tag: u32| if tag == 0 { vec![2.0, 0.0, 0.0] } else { vec![0.0, 2.0, 0.0] };
                let (known, guessed) = (scores(said), scores(chance));
                let (encoder, words) = if encoder_knows { (known, guessed) } else { (guessed, known) };
                Judged { encoder, words, targets: vec![target] }
            })
            .collect()
    }

    #[test]
    fn the_reading_that_knows_counts_and_the_one_that_guesses_does_not() {
        let steps = Steps::even(1);
        let found = fit(&rows(true), &steps);
        assert!(found.encoder > 0.7 && found.words < 0.2, "{found:?}");
        let found = fit(&rows(false), &steps);
        assert!(found.words > 0.7 && found.encoder < 0.35, "{found:?}");
    }

    #[test]
    fn scores_stand_at_their_words_and_others_have_none() {
        let word = |start: usize| TaggedWord { start, end: start + 1, token: start };
        let sequence = |words: &[usize]| Sequence {
            ids: Vec::new(),
            words: words.iter().map(|start| word(*start)).collect(),
        };
        let windows = Windows { sequences: vec![sequence(&[0, 4]), sequence(&[6])], is_whole: false };
        let mut into = Vec::new();
        let places = [(0, 1), (2, 3), (4, 5), (6, 8), (9, 10)];
        at_places(&windows, &[1.0, 2.0, 3.0], 1, &places, &mut into);
        assert_eq!(into, [1.0, 0.0, 2.0, 0.0, 0.0]);
    }
}
