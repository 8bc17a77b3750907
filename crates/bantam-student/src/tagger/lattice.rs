//! Sequences of tags over a text: the most probable one, and the probabilities of its parts.
//!
//! Tags are in *planes* here: outside, then the first word of each slot's values, then a further word of each. A
//! further word can only follow a first or further one of its own slot, so that every sequence forms whole values.
//! Forward and backward sums are scaled word by word (Rabiner 1989, section V.A), which keeps them within f32 for texts
//! of any length.

use crate::linear::exponential::exp;

/// The scores of transitions between the tags of neighbouring words.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Transitions {
    /// Number of slots.
    pub(crate) slots: usize,
    /// Scores of the first word's tag: outside and first words.
    pub(crate) start: Vec<f32>,
    /// From each tag (rows) to outside and to first words.
    pub(crate) open: Vec<f32>,
    /// From a slot's first word to a further one.
    pub(crate) begin: Vec<f32>,
    /// From a slot's further word to another.
    pub(crate) stay: Vec<f32>,
}

impl Transitions {
    /// Returns transitions that are all equally probable.
    pub(crate) fn uniform(slots: usize) -> Self {
        let zeros = |count| vec![0.0; count];
        let open = (1 + 2 * slots) * (1 + slots);
        Self { slots, start: zeros(1 + slots), open: zeros(open), begin: zeros(slots), stay: zeros(slots) }
    }

    /// Returns the number of tags.
    pub(crate) const fn tags(&self) -> usize {
        1 + 2 * self.slots
    }

    /// Returns the sum of the scores and transitions of a sequence of whole values.
    pub(crate) fn score_of(&self, path: &[usize], scores: &[f32]) -> f64 {
        let mut sum = 0.0;
        for (word, tag) in path.iter().enumerate() {
            let before = word.checked_sub(1).map(|before| path[before]);
            let step = match (before, tag.checked_sub(1 + self.slots)) {
                (None, _) => self.start.get(*tag).copied().unwrap_or(0.0),
                (Some(before), None) => self.open[before * (1 + self.slots) + tag],
                (Some(before), Some(slot)) if before == 1 + slot => self.begin[slot],
                (Some(_), Some(slot)) => self.stay[slot],
            };
            sum += f64::from(scores[word * self.tags() + tag] + step);
        }
        sum
    }

    /// Returns all numbers, in the order of the fields.
    pub(crate) fn parts_mut(&mut self) -> [&mut Vec<f32>; 4] {
        [&mut self.start, &mut self.open, &mut self.begin, &mut self.stay]
    }

    /// Returns all numbers, in the order of the fields.
    pub(crate) const fn parts(&self) -> [&Vec<f32>; 4] {
        [&self.start, &self.open, &self.begin, &self.stay]
    }

    /// Returns the exponentials of all scores.
    pub(crate) fn exponentials(&self) -> Self {
        let mut exponentials = self.clone();
        exponentials.set_exponentials(self);
        exponentials
    }

    /// Sets all numbers to the exponentials of `scores`.
    pub(crate) fn set_exponentials(&mut self, scores: &Self) {
        for (into, from) in self.parts_mut().into_iter().zip(scores.parts()) {
            into.iter_mut().zip(from).for_each(|(into, from)| *into = exp(*from));
        }
    }
}

/// A tag with less than this share of a word's sum is not followed further, because it would not affect the result.
pub(crate) const NEGLIGIBLE: f32 = 1e-9;
/// The longest value, in words, that is looked for if the most probable sequence has none.
const VALUE_WORDS_MAX: usize = 48;
/// Sums below this may be dominated by what was left out as negligible, so they are computed again with all of it.
const SUSPICIOUS: f32 = 1e-6;
/// The largest sum over endings, far above what a file's scores give; it keeps sums finite.
const REACHED_MAX: f32 = 1e30;

/// Working memory, and the results for one text.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lattice {
    tags: usize,
    words: usize,
    /// Exponentials of the words' scores; the largest of each word is 1.
    pub(crate) local: Vec<f32>,
    /// Sums over all beginnings, scaled to 1 for each word.
    pub(crate) forward: Vec<f32>,
    /// Sums over all endings; times `forward` they are the tags' probabilities.
    pub(crate) backward: Vec<f32>,
    /// The scale of each word.
    pub(crate) scales: Vec<f32>,
    /// The logarithm of the sum over all sequences.
    pub(crate) total: f64,
    reached: Vec<f32>,
    before: Vec<f32>,
    from: Vec<u32>,
}

impl Lattice {
    /// Sums over all sequences, given one row of scores per word and the exponentials of the transitions.
    pub(crate) fn sum(&mut self, scores: &[f32], exponentials: &Transitions) {
        let tags = exponentials.tags();
        (self.tags, self.words) = (tags, scores.len() / tags);
        self.total = 0.0;
        self.local.clear();
        for row in scores.chunks_exact(tags) {
            let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            self.total += f64::from(highest);
            self.local.extend(row.iter().map(|score| exp(score - highest)));
        }
        self.forward.clear();
        self.forward.resize(scores.len(), 0.0);
        self.backward.clear();
        self.backward.resize(scores.len(), 1.0);
        self.scales.clear();
        for word in 0..self.words {
            let mut scale = self.step_forward(word, exponentials, NEGLIGIBLE);
            if scale < SUSPICIOUS {
                scale = self.step_forward(word, exponentials, 0.0);
            }
            // Underflow would need scores beyond what a file may hold; a tiny sum keeps even that finite.
            let scale = scale.max(f32::MIN_POSITIVE);
            let row = &mut self.forward[word * self.tags..(word + 1) * self.tags];
            row.iter_mut().for_each(|into| *into /= scale);
            self.scales.push(scale);
            self.total += f64::from(scale).ln();
        }
        for word in (1..self.words).rev() {
            if self.step_backward(word, exponentials, NEGLIGIBLE) < SUSPICIOUS {
                self.step_backward(word, exponentials, 0.0);
            }
        }
    }

    /// Returns the sum of a word's row. Tags of the previous word with less than `least` are not followed.
    fn step_forward(&mut self, word: usize, exponentials: &Transitions, least: f32) -> f32 {
        let (tags, slots) = (self.tags, exponentials.slots);
        let (done, rest) = self.forward.split_at_mut(word * tags);
        let row = &mut rest[..tags];
        row.fill(0.0);
        if word == 0 {
            row[..=slots].copy_from_slice(&exponentials.start);
        } else {
            let before = &done[(word - 1) * tags..];
            let rows = before.iter().zip(exponentials.open.chunks_exact(1 + slots));
            for (from, open) in rows.filter(|(from, _)| **from > least) {
                row[..=slots].iter_mut().zip(open).for_each(|(into, step)| *into += from * step);
            }
            for slot in 0..slots {
                row[1 + slots + slot] = before[1 + slot] * exponentials.begin[slot]
                    + before[1 + slots + slot] * exponentials.stay[slot];
            }
        }
        row.iter_mut().zip(&self.local[word * tags..]).for_each(|(into, local)| *into *= local);
        row.iter().sum()
    }

    /// Computes the endings of the previous word from those of a word. Returns the sum of the previous word's
    /// probabilities before normalisation; it is below one by what was left out.
    fn step_backward(&mut self, word: usize, exponentials: &Transitions, negligible: f32) -> f32 {
        let (tags, slots) = (self.tags, exponentials.slots);
        let scale = self.scales[word];
        let (rest, done) = self.backward.split_at_mut(word * tags);
        let after = &done[..tags];
        self.reached.clear();
        let local = &self.local[word * tags..];
        self.reached
            .extend(after.iter().zip(local).map(|(after, local)| (after * local / scale).min(REACHED_MAX)));
        let row = &mut rest[(word - 1) * tags..];
        row.fill(0.0);
        let least = negligible * self.reached.iter().copied().fold(0.0, f32::max);
        for (column, reached) in
            self.reached[..=slots].iter().enumerate().filter(|(_, reached)| **reached > least)
        {
            let transitions = exponentials.open[column..].iter().step_by(1 + slots);
            row.iter_mut().zip(transitions).for_each(|(into, step)| *into += step * reached);
        }
        for slot in 0..slots {
            let reached = self.reached[1 + slots + slot];
            row[1 + slot] += exponentials.begin[slot] * reached;
            row[1 + slots + slot] += exponentials.stay[slot] * reached;
        }
        // The word's probabilities sum to one, except for what was left out as negligible in either direction.
        let forward = &self.forward[(word - 1) * tags..];
        let sum: f32 = row.iter().zip(forward).map(|(backward, forward)| backward * forward).sum();
        if sum.is_normal() {
            row.iter_mut().for_each(|backward| *backward /= sum);
        } else {
            row.fill(1.0);
        }
        sum
    }

    /// Returns the probability that a word has a tag.
    pub(crate) fn probability(&self, word: usize, tag: usize) -> f32 {
        let at = word * self.tags + tag;
        (self.forward[at] * self.backward[at]).clamp(0.0, 1.0)
    }

    /// Returns the probability that exactly the words from `first` to `last` are one value of a slot.
    pub(crate) fn value_probability(
        &self,
        (first, last): (usize, usize),
        slot: usize,
        exponentials: &Transitions,
    ) -> f32 {
        let mut path = self.forward[first * self.tags + 1 + slot];
        for word in first + 1..=last {
            path *= self.continue_factor((first, word - 1), slot, exponentials);
        }
        (path * self.end_factor((first, last), slot, exponentials)).clamp(0.0, 1.0)
    }

    /// Returns the factor on the beginning of a value if its next word belongs to it too.
    fn continue_factor(&self, (first, last): (usize, usize), slot: usize, exponentials: &Transitions) -> f32 {
        let step = if first == last { exponentials.begin[slot] } else { exponentials.stay[slot] };
        let at = (last + 1) * self.tags + 1 + exponentials.slots + slot;
        step * self.local[at] / self.scales[last + 1]
    }

    /// Returns the factor on the beginning of a value if it ends with its last word.
    fn end_factor(&self, (first, last): (usize, usize), slot: usize, exponentials: &Transitions) -> f32 {
        let tag = if first == last { 1 + slot } else { 1 + exponentials.slots + slot };
        let further = (last + 1) * self.tags + 1 + exponentials.slots + slot;
        let continued = match last + 1 < self.words {
            true => self.continue_factor((first, last), slot, exponentials) * self.backward[further],
            false => 0.0,
        };
        (self.backward[last * self.tags + tag] - continued).max(0.0)
    }

    /// Returns the most probable value of a slot among free words, and its probability; the first of equals wins.
    pub(crate) fn most_probable_value(
        &self,
        slot: usize,
        exponentials: &Transitions,
        is_free: &dyn Fn(usize) -> bool,
    ) -> Option<((usize, usize), f32)> {
        let mut best = None;
        let mut most = 0.0;
        for first in (0..self.words).filter(|word| is_free(*word)) {
            let mut path = self.forward[first * self.tags + 1 + slot];
            for last in (first..self.words.min(first + VALUE_WORDS_MAX)).take_while(|word| is_free(*word)) {
                let probability = (path * self.end_factor((first, last), slot, exponentials)).clamp(0.0, 1.0);
                if probability > most {
                    (best, most) = (Some(((first, last), probability)), probability);
                }
                if last + 1 < self.words {
                    path *= self.continue_factor((first, last), slot, exponentials);
                }
            }
        }
        best
    }

    /// Returns the most probable sequence of tags (Viterbi) and the sum of its scores; the first of equals wins.
    pub(crate) fn best(&mut self, scores: &[f32], transitions: &Transitions) -> (Vec<usize>, f32) {
        let (tags, slots) = (transitions.tags(), transitions.slots);
        let words = scores.len() / tags;
        self.from.clear();
        self.from.resize(words * tags, 0);
        self.reached.clear();
        let bound = |fold: fn(f32, f32) -> f32| transitions.open.iter().copied().fold(0.0, fold);
        let spread = bound(f32::max) - bound(f32::min);
        for (word, row) in scores.chunks_exact(tags).enumerate() {
            std::mem::swap(&mut self.reached, &mut self.before);
            self.reached.clear();
            self.reached.resize(tags, f32::NEG_INFINITY);
            if word == 0 {
                self.reached[..=slots].copy_from_slice(&transitions.start);
            } else {
                let origins = &mut self.from[word * tags..(word + 1) * tags];
                // A tag too far behind for any transition to make up cannot be on the best path.
                let highest = self.before.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                for (tag, open) in transitions.open.chunks_exact(1 + slots).enumerate() {
                    let before = self.before[tag];
                    if before + spread < highest {
                        continue;
                    }
                    for ((reached, from), step) in self.reached.iter_mut().zip(origins.iter_mut()).zip(open) {
                        let is_better = before + step > *reached;
                        *reached = if is_better { before + step } else { *reached };
                        *from = if is_better { tag as u32 } else { *from };
                    }
                }
                for slot in 0..slots {
                    let (first, further) = (1 + slot, 1 + slots + slot);
                    let begun = self.before[first] + transitions.begin[slot];
                    let stayed = self.before[further] + transitions.stay[slot];
                    self.reached[further] = begun.max(stayed);
                    origins[further] = if begun >= stayed { first } else { further } as u32;
                }
            }
            self.reached.iter_mut().zip(row).for_each(|(reached, score)| *reached += score);
        }
        let mut path = vec![0; words];
        let last = (0..self.reached.len()).rev().max_by(|a, b| self.reached[*a].total_cmp(&self.reached[*b]));
        let mut tag = last.unwrap_or(0);
        let score = self.reached.get(tag).copied().unwrap_or(0.0);
        for word in (0..words).rev() {
            path[word] = tag;
            tag = self.from[word * tags + tag] as usize;
        }
        (path, score)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns small, distinct numbers.
    fn number(seed: usize) -> f32 {
        ((seed * 7919 + 13) % 1009) as f32 / 252.0 - 2.0
    }

    fn transitions(slots: usize) -> Transitions {
        let mut transitions = Transitions::uniform(slots);
        let mut seed = 0;
        for part in transitions.parts_mut() {
            part.iter_mut().for_each(|step| {
                seed += 1;
                *step = number(seed);
            });
        }
        transitions
    }

    /// Returns whether a sequence forms whole values.
    fn is_whole(path: &[usize], slots: usize) -> bool {
        (0..path.len()).all(|word| match path[word].checked_sub(1 + slots) {
            None => true,
            Some(slot) => word > 0 && [1 + slot, 1 + slots + slot].contains(&path[word - 1]),
        })
    }

    #[test]
    fn sums_match_an_enumeration_of_all_sequences() {
        let (transitions, words) = (transitions(2), 4);
        let scores: Vec<f32> = (0..words * 5).map(|at| number(at + 100)).collect();
        let all: Vec<(Vec<usize>, f64)> = (0..5usize.pow(4))
            .map(|code| (0..words).map(|word| code / 5usize.pow(word as u32) % 5).collect::<Vec<_>>())
            .filter(|path| is_whole(path, 2))
            .map(|path| {
                let weight = transitions.score_of(&path, &scores).exp();
                (path, weight)
            })
            .collect();
        let total: f64 = all.iter().map(|(_, weight)| weight).sum();
        let share = |matches: &dyn Fn(&[usize]) -> bool| {
            all.iter().filter(|(path, _)| matches(path)).map(|(_, weight)| weight).sum::<f64>() / total
        };
        let exponentials = transitions.exponentials();
        let mut lattice = Lattice::default();
        lattice.sum(&scores, &exponentials);
        assert!((lattice.total - total.ln()).abs() < 1e-4);
        for word in 0..words {
            for tag in 0..5 {
                let expected = share(&|path| path[word] == tag);
                assert!((f64::from(lattice.probability(word, tag)) - expected).abs() < 1e-4);
            }
        }
        for (first, last) in [(0, 0), (0, 3), (1, 2), (2, 3), (3, 3)] {
            let is_value = |path: &[usize]| {
                path[first] == 2
                    && (first + 1..=last).all(|word| path[word] == 4)
                    && path.get(last + 1) != Some(&4)
            };
            let found = f64::from(lattice.value_probability((first, last), 1, &exponentials));
            assert!((found - share(&is_value)).abs() < 1e-4, "{first}..={last}: {found}");
        }
        let spans = || (0..words).flat_map(|first| (first..words).map(move |last| (first, last)));
        for free in [0..4, 1..3, 3..4] {
            let found = lattice.most_probable_value(1, &exponentials, &|word| free.contains(&word)).unwrap();
            let of = |span| lattice.value_probability(span, 1, &exponentials);
            let within = spans().filter(|(first, last)| free.contains(first) && free.contains(last));
            let best_candidate = within.max_by(|a, b| of(*a).total_cmp(&of(*b))).unwrap();
            assert_eq!((found.0, found.1), (best_candidate, of(best_candidate)));
        }
        assert_eq!(lattice.most_probable_value(1, &exponentials, &|_| false), None);
        let (best, sum) = lattice.best(&scores, &transitions);
        let best_candidate = all.iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
        assert_eq!(best, best_candidate.0);
        assert!((f64::from(sum).exp() - best_candidate.1).abs() / best_candidate.1 < 1e-4);
    }

    #[test]
    fn long_texts_and_large_scores_stay_finite() {
        let transitions = transitions(3);
        let scores: Vec<f32> = (0..2000 * 7).map(|at| 40.0 * number(at)).collect();
        let mut lattice = Lattice::default();
        lattice.sum(&scores, &transitions.exponentials());
        assert!(lattice.total.is_finite());
        assert!((0..2000).all(|word| {
            let sum: f32 = (0..7).map(|tag| lattice.probability(word, tag)).sum();
            (sum - 1.0).abs() < 1e-2
        }));
        assert_eq!(lattice.best(&[], &transitions).0, [0; 0]);
    }
}
