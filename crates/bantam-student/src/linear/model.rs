//! The trained numbers and the arithmetic of a prediction.

use super::lookup::FeatureLookup;
use super::matrix::stride;
use super::ngram::NormalisedText;
use super::vocabulary::{Vocabulary, Weighting};
use crate::encoder::BaseScratch;
use crate::tagger::TaggerScratch;

/// How many logarithms of n-gram counts are tabulated.
const LOGARITHMS: usize = 64;
/// The largest absolute value of a quantised weight.
const WEIGHT_MAX: f32 = 127.0;
/// The largest absolute value of a quantised coefficient.
const COEFFICIENT_MAX: f32 = 32_767.0;
/// Below this, all coefficients are effectively zero and dividing by them is not safe.
const COEFFICIENT_MIN: f32 = 1e-20;
/// Keeps any sum of products of a quantised coefficient and weight within `i32`, including rounding.
const SUM_MAX: f32 = 15_000_000.0;

/// Everything that a prediction needs. Weights are bytes with one scale per n-gram, in one contiguous row per n-gram: a
/// prediction adds up the rows of the n-grams present, so its cost is the number of bytes touched.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Model {
    pub(crate) vocabulary: Vocabulary,
    pub(crate) weighting: Weighting,
    /// Per feature, the value of one step of its weights.
    pub(crate) scales: Vec<f32>,
    /// Per feature, one row of [`stride`] weights; the padding is zero.
    pub(crate) weights: Vec<i8>,
    /// One number per class.
    pub(crate) bias: Vec<f32>,
    pub(crate) temperature: f32,
    pub(crate) scope_threshold: f32,
    /// The class that means out of scope.
    pub(crate) out_of_scope: Option<u32>,
}

/// Working memory for predictions. Reuse one per thread, so that predictions allocate nothing once it has grown.
#[derive(Debug, Default)]
pub struct Scratch {
    normal: NormalisedText,
    /// Per feature, its occurrences in the current text; all zero between predictions.
    counts: Vec<u32>,
    present: Vec<u32>,
    coefficients: Vec<f32>,
    sums: Vec<i32>,
    pub(crate) logits: Vec<f32>,
    pub(crate) base: BaseScratch,
    pub(crate) tagger: TaggerScratch,
}

/// Quantises one feature's weights to bytes, and returns the value of one step.
pub(crate) fn quantise(weights: &[f32], into: &mut [i8]) -> f32 {
    let largest = weights.iter().fold(0.0f32, |largest, weight| largest.max(weight.abs()));
    if largest <= 0.0 {
        into.fill(0);
        return 0.0;
    }
    for (into, weight) in into.iter_mut().zip(weights) {
        *into = (weight / largest * WEIGHT_MAX).round() as i8;
    }
    largest / WEIGHT_MAX
}

impl Model {
    pub(crate) fn classes(&self) -> usize {
        self.bias.len()
    }

    /// Writes the text's logits before temperature to `scratch.logits`, and returns whether any n-gram is known.
    pub(crate) fn logits(&self, lookup: &FeatureLookup, text: &str, scratch: &mut Scratch) -> bool {
        self.find(lookup, text, scratch);
        let precision = self.weigh(lookup, scratch);
        self.add_up(precision, scratch);
        !scratch.present.is_empty()
    }

    /// Fills `present` and `counts`.
    fn find(&self, lookup: &FeatureLookup, text: &str, scratch: &mut Scratch) {
        let Scratch { normal, counts, present, .. } = scratch;
        if counts.len() != self.scales.len() {
            counts.clear();
            counts.resize(self.scales.len(), 0);
        }
        present.clear();
        normal.set(text);
        let mut count_feature = |found: Option<u32>| {
            if let Some(feature) = found {
                let count = &mut counts[feature as usize];
                if *count == 0 {
                    present.push(feature);
                }
                *count += 1;
            }
        };
        normal.for_each_word_gram(|key| count_feature(lookup.word(key)));
        normal.for_each_char_gram(|key| count_feature(lookup.char(key)));
    }

    /// Turns counts into coefficients of the weights' rows, and clears the counts. Returns the factor that scales a
    /// coefficient to a whole number.
    fn weigh(&self, lookup: &FeatureLookup, scratch: &mut Scratch) -> f32 {
        let Scratch { counts, present, coefficients, .. } = scratch;
        coefficients.clear();
        let mut squares = [0.0; 2];
        for &feature in present.iter() {
            let count = std::mem::take(&mut counts[feature as usize]) as usize;
            let boost = lookup.logarithms.get(count).copied().unwrap_or_else(|| 1.0 + (count as f32).ln());
            let value = boost * self.weighting.rarity[feature as usize];
            squares[usize::from(feature as usize >= self.vocabulary.words)] += value * value;
            coefficients.push(value * self.scales[feature as usize]);
        }
        let factors = self.weighting.factors(squares);
        let (mut total, mut largest) = (0.0f32, 0.0f32);
        for (coefficient, &feature) in coefficients.iter_mut().zip(present.iter()) {
            *coefficient *= factors[usize::from(feature as usize >= self.vocabulary.words)];
            total += *coefficient;
            largest = largest.max(*coefficient);
        }
        if largest > COEFFICIENT_MIN { (COEFFICIENT_MAX / largest).min(SUM_MAX / total) } else { 1.0 }
    }

    fn add_up(&self, precision: f32, scratch: &mut Scratch) {
        let Scratch { present, coefficients, sums, logits, .. } = scratch;
        let stride = stride(self.classes());
        sums.clear();
        sums.resize(stride, 0);
        let row = |feature: u32| &self.weights[feature as usize * stride..][..stride];
        let whole = |coefficient: f32| (coefficient * precision) as i16;
        let mut features = present.chunks_exact(4);
        let mut factors = coefficients.chunks_exact(4);
        for (feature, factor) in features.by_ref().zip(factors.by_ref()) {
            add_rows(
                sums,
                [row(feature[0]), row(feature[1]), row(feature[2]), row(feature[3])],
                [whole(factor[0]), whole(factor[1]), whole(factor[2]), whole(factor[3])],
            );
        }
        for (feature, factor) in features.remainder().iter().zip(factors.remainder()) {
            let row = row(*feature);
            add_rows(sums, [row, row, row, row], [whole(*factor), 0, 0, 0]);
        }
        logits.clear();
        logits.extend(self.bias.iter().zip(sums.iter()).map(|(bias, sum)| bias + *sum as f32 / precision));
    }
}

/// Computes `sums += Σ factor · row`. Written so that the compiler uses 16-bit multiplications, which even the oldest
/// x86-64 has, and loads and stores each sum once for four rows.
fn add_rows(sums: &mut [i32], rows: [&[i8]; 4], factors: [i16; 4]) {
    let [a, b, c, d] = rows;
    let [fa, fb, fc, fd] = factors.map(i32::from);
    for ((((sum, a), b), c), d) in sums.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        let left = i32::from(*a) * fa + i32::from(*b) * fb;
        let right = i32::from(*c) * fc + i32::from(*d) * fd;
        *sum += left + right;
    }
}

/// Returns `1 + ln(count)` for small counts.
pub(crate) fn logarithms() -> Vec<f32> {
    (0..LOGARITHMS).map(|count| 1.0 + (count.max(1) as f32).ln()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantised_weights_are_within_half_a_step() {
        let weights = [0.5, -1.0, 0.003, 0.0];
        let mut bytes = [0; 4];
        let scale = quantise(&weights, &mut bytes);
        for (byte, weight) in bytes.iter().zip(weights) {
            assert!((f32::from(*byte) * scale - weight).abs() <= scale / 2.0 + 1e-6);
        }
        assert_eq!(quantise(&[0.0; 4], &mut bytes), 0.0);
        assert_eq!(bytes, [0; 4]);
    }

    #[test]
    fn sums_of_rows_are_exact() {
        let rows: Vec<Vec<i8>> =
            (0..4).map(|row| (0..32).map(|lane| (lane * 7 - row * 50) as i8).collect()).collect();
        let factors = [32_767, 1, -3, 500];
        let mut sums = vec![5; 32];
        add_rows(&mut sums, [&rows[0], &rows[1], &rows[2], &rows[3]], factors);
        for lane in 0..32 {
            let expected: i32 = (0..4).map(|row| i32::from(rows[row][lane]) * i32::from(factors[row])).sum();
            assert_eq!(sums[lane], expected + 5);
        }
    }
}
