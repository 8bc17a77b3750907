//! Fits a linear chain: a conditional random field (Lafferty, McCallum, Pereira 2001) by stochastic gradient descent.
//!
//! Minimises the rows' negative log-likelihood plus `½ λ ‖w‖²`, one row at a time, with a learning rate per weight
//! (AdaGrad; Duchi, Hazan, Singer 2011). A feature has weights only for the tags it was seen with; the others would be
//! many and carry little information. The penalty of a weight is distributed over the words that have its feature, so
//! that an update touches nothing else. One thread and a fixed order: equal rows and seeds give equal bits.

use bantam_types::Cancel;

use crate::linear::shuffle::Shuffler;
use crate::tagger::lattice::{Lattice, NEGLIGIBLE, Transitions};

/// The rows in the solver's format.
#[derive(Debug, Default)]
pub(crate) struct Design {
    /// The feature numbers of all words, one word after the other.
    pub(crate) features: Vec<u32>,
    /// Where each word's features end.
    pub(crate) word_ends: Vec<u32>,
    /// The features that all words of a row share, one row after the other, and where each row's features end.
    pub(crate) shared: Vec<u32>,
    pub(crate) shared_ends: Vec<u32>,
    /// The right tag of every word.
    pub(crate) targets: Vec<u32>,
    /// Where each row's words end.
    pub(crate) row_ends: Vec<u32>,
    /// The number of features.
    pub(crate) count: usize,
}

impl Design {
    pub(crate) fn words(&self, row: usize) -> std::ops::Range<usize> {
        let start = row.checked_sub(1).map_or(0, |before| self.row_ends[before]);
        start as usize..self.row_ends[row] as usize
    }

    pub(crate) fn shared(&self, row: usize) -> &[u32] {
        let start = row.checked_sub(1).map_or(0, |before| self.shared_ends[before]);
        &self.shared[start as usize..self.shared_ends[row] as usize]
    }

    pub(crate) fn of_word(&self, word: usize) -> &[u32] {
        let start = word.checked_sub(1).map_or(0, |before| self.word_ends[before]);
        &self.features[start as usize..self.word_ends[word] as usize]
    }
}

/// Weights of features, each for the tags it was seen with.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Weights {
    /// Where each feature's weights end.
    pub(crate) ends: Vec<u32>,
    pub(crate) entries: Vec<Entry>,
}

/// A feature's weight for one tag; the two are stored together because they are always read together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Entry {
    pub(crate) tag: u32,
    pub(crate) value: f32,
}

impl Weights {
    /// Returns zero weights for every feature and tag that occur together in `rows`, if the feature occurs on at least
    /// `words_min` words, and the number of words that each feature occurs on.
    pub(crate) fn zero(design: &Design, rows: &[usize], words_min: u32) -> (Self, Vec<u32>) {
        let mut counts = vec![0u32; design.count];
        let mut pairs: Vec<u64> = Vec::new();
        let mut count = |features: &[u32], targets: &[u32]| {
            for feature in features {
                counts[*feature as usize] += 1;
                pairs.extend(targets.iter().map(|target| u64::from(*feature) << 16 | u64::from(*target)));
            }
        };
        for row in rows {
            let words = design.words(*row);
            let mut targets = design.targets[words.clone()].to_vec();
            words.for_each(|word| count(design.of_word(word), &design.targets[word..=word]));
            targets.sort_unstable();
            targets.dedup();
            count(design.shared(*row), &targets);
        }
        pairs.sort_unstable();
        pairs.dedup();
        pairs.retain(|pair| counts[(pair >> 16) as usize] >= words_min);
        let mut ends = vec![0u32; design.count];
        pairs.iter().for_each(|pair| ends[(pair >> 16) as usize] += 1);
        let mut end = 0;
        ends.iter_mut().for_each(|count| {
            end += *count;
            *count = end;
        });
        let entries = pairs.iter().map(|pair| Entry { tag: (pair & 0xffff) as u32, value: 0.0 }).collect();
        (Self { ends, entries }, counts)
    }

    pub(crate) fn of(&self, feature: u32) -> std::ops::Range<usize> {
        let start = feature.checked_sub(1).map_or(0, |before| self.ends[before as usize]);
        start as usize..self.ends[feature as usize] as usize
    }

    /// Adds a feature's weights to a word's scores.
    #[inline]
    pub(crate) fn add(&self, feature: u32, scores: &mut [f32]) {
        for entry in &self.entries[self.of(feature)] {
            scores[entry.tag as usize] += entry.value;
        }
    }
}

/// Settings for fitting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FitConfig {
    pub(crate) passes: usize,
    pub(crate) rate: f32,
    pub(crate) penalty: f32,
    pub(crate) words_min: u32,
    pub(crate) seed: u64,
}

/// Weights of features and transitions.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    pub(crate) weights: Weights,
    pub(crate) transitions: Transitions,
}

impl Chain {
    /// Divides all numbers by a temperature.
    pub(crate) fn cool(&mut self, temperature: f32) {
        self.weights.entries.iter_mut().for_each(|entry| entry.value /= temperature);
        self.transitions.parts_mut().into_iter().flatten().for_each(|step| *step /= temperature);
    }

    /// Returns one row of scores for every word of a design's row.
    pub(crate) fn score(&self, design: &Design, row: usize, scores: &mut Vec<f32>) {
        let (words, tags) = (design.words(row), self.transitions.tags());
        scores.clear();
        scores.resize(tags, 0.0);
        design.shared(row).iter().for_each(|feature| self.weights.add(*feature, scores));
        for _ in 1..words.len() {
            scores.extend_from_within(..tags);
        }
        scores.truncate(words.len() * tags);
        for (scores, word) in scores.chunks_exact_mut(tags).zip(words) {
            design.of_word(word).iter().for_each(|feature| self.weights.add(*feature, scores));
        }
    }
}

/// Fits a chain with this number of slots to `rows`; `on_pass` receives each pass's number. Once cancelled, it returns
/// the chain so far after the current pass.
pub(crate) fn fit(
    design: &Design,
    rows: &[usize],
    slots: usize,
    config: &FitConfig,
    (on_pass, cancel): (&mut dyn FnMut(usize), &Cancel),
) -> Chain {
    let (weights, counts) = Weights::zero(design, rows, config.words_min);
    let squares = vec![0.0; weights.entries.len()];
    let transitions = Transitions::uniform(slots);
    let mut fitter = ChainFitter {
        design,
        config,
        squares,
        transition_squares: Transitions::uniform(slots),
        gradient: Transitions::uniform(slots),
        exponentials: transitions.exponentials(),
        shares: counts.iter().map(|count| config.penalty / (*count).max(1) as f32).collect(),
        transition_share: config.penalty / rows.len().max(1) as f32,
        chain: Chain { weights, transitions },
        lattice: Lattice::default(),
        scores: Vec::new(),
    };
    let mut order = rows.to_vec();
    let mut shuffler = Shuffler::new(config.seed);
    for pass in 1..=config.passes {
        shuffler.shuffle(&mut order);
        order.iter().for_each(|row| fitter.update(*row));
        on_pass(pass);
        if cancel.is_cancelled() {
            break;
        }
    }
    fitter.chain
}

/// A chain being fitted, and the solver's state.
struct ChainFitter<'f> {
    design: &'f Design,
    config: &'f FitConfig,
    chain: Chain,
    /// Sums of squared gradients, for AdaGrad.
    squares: Vec<f32>,
    transition_squares: Transitions,
    gradient: Transitions,
    exponentials: Transitions,
    /// The share of the penalty that each word adds to its features' weights, and each row to the transitions.
    shares: Vec<f32>,
    transition_share: f32,
    lattice: Lattice,
    scores: Vec<f32>,
}

impl ChainFitter<'_> {
    /// Updates all weights by the gradient of one row.
    fn update(&mut self, row: usize) {
        let design = self.design;
        let words = design.words(row);
        if words.is_empty() {
            return;
        }
        self.chain.score(design, row, &mut self.scores);
        self.lattice.sum(&self.scores, &self.exponentials);
        let targets = &design.targets[words.clone()];
        self.set_transition_gradient(targets);
        let tags = self.chain.transitions.tags();
        // The scores are no longer needed, so the errors of every word's tags replace them.
        for (word, target) in targets.iter().enumerate() {
            for tag in 0..tags {
                self.scores[word * tags + tag] =
                    self.lattice.probability(word, tag) - f32::from(u8::from(tag as u32 == *target));
            }
        }
        let scores = std::mem::take(&mut self.scores);
        let mut sums = vec![0.0; tags];
        for (errors, word) in scores.chunks_exact(tags).zip(words) {
            sums.iter_mut().zip(errors).for_each(|(sum, error)| *sum += error);
            design.of_word(word).iter().for_each(|feature| self.adapt_feature(*feature, errors));
        }
        design.shared(row).iter().for_each(|feature| self.adapt_feature(*feature, &sums));
        self.scores = scores;
        let gradients = self.gradient.parts().map(|part| part.iter());
        let parts = self.chain.transitions.parts_mut().into_iter().zip(self.transition_squares.parts_mut());
        for ((transitions, squares), gradients) in parts.zip(gradients) {
            for ((transition, square), gradient) in transitions.iter_mut().zip(squares).zip(gradients) {
                adapt(transition, square, gradient + self.transition_share * *transition, self.config.rate);
            }
        }
        self.exponentials.set_exponentials(&self.chain.transitions);
    }

    fn adapt_feature(&mut self, feature: u32, errors: &[f32]) {
        let range = self.chain.weights.of(feature);
        let share = self.shares[feature as usize];
        for (entry, square) in
            self.chain.weights.entries[range.clone()].iter_mut().zip(&mut self.squares[range])
        {
            let gradient = errors[entry.tag as usize] + share * entry.value;
            adapt(&mut entry.value, square, gradient, self.config.rate);
        }
    }

    /// Sets the gradient to the expected minus the observed transitions of a row.
    fn set_transition_gradient(&mut self, targets: &[u32]) {
        let (lattice, exponentials, gradient) = (&self.lattice, &self.exponentials, &mut self.gradient);
        let (tags, slots) = (exponentials.tags(), exponentials.slots);
        gradient.parts_mut().into_iter().for_each(|part| part.fill(0.0));
        for tag in 0..=slots {
            gradient.start[tag] = lattice.probability(0, tag);
        }
        gradient.start[targets[0] as usize] -= 1.0;
        for (word, pair) in targets.windows(2).enumerate().map(|(word, pair)| (word + 1, pair)) {
            let before = &lattice.forward[(word - 1) * tags..word * tags];
            let row = word * tags..(word + 1) * tags;
            let scale = lattice.scales[word];
            // The same product as in the lattice's backward pass.
            let reached = lattice.local[row.clone()].iter().zip(&lattice.backward[row]);
            let reached: Vec<f32> = reached.map(|(local, backward)| local * backward / scale).collect();
            let rows =
                gradient.open.chunks_exact_mut(1 + slots).zip(exponentials.open.chunks_exact(1 + slots));
            for ((into, open), before) in rows.zip(before).filter(|(_, before)| **before > NEGLIGIBLE) {
                for ((into, step), reached) in into.iter_mut().zip(open).zip(&reached) {
                    *into += (before * step * reached).min(1.0);
                }
            }
            for slot in 0..slots {
                let (first, further) = (1 + slot, 1 + slots + slot);
                gradient.begin[slot] +=
                    (before[first] * exponentials.begin[slot] * reached[further]).min(1.0);
                gradient.stay[slot] +=
                    (before[further] * exponentials.stay[slot] * reached[further]).min(1.0);
            }
            let (from, to) = (pair[0] as usize, pair[1] as usize);
            match to.checked_sub(1 + slots) {
                None => gradient.open[from * (1 + slots) + to] -= 1.0,
                Some(slot) if from == 1 + slot => gradient.begin[slot] -= 1.0,
                Some(slot) => gradient.stay[slot] -= 1.0,
            }
        }
    }
}

/// Updates a number by one AdaGrad step.
#[inline]
fn adapt(value: &mut f32, square: &mut f32, gradient: f32, rate: f32) {
    *square += gradient * gradient;
    *value -= rate * gradient / (square.sqrt() + 1e-6);
}
