//! How far one model's probabilities are from another's, over a text.
//!
//! As llama.cpp's `perplexity --kl-divergence` does it: the text is cut into windows, and of each the second half's
//! tokens are predicted, all from what is before them in the window.

use bantam_engine::{Decoder, DecoderScratch, ForwardError, Span, Wanted};
use bantam_kernels::{KvStore, PAGE_TOKENS, Pool};
use bantam_types::Cancel;

/// Tokens of a window, where both models can hold as many.
const WINDOW: usize = 512;
/// Tokens below which a window predicts too little.
const WINDOW_MIN: usize = 32;
/// The share of positions whose divergence is at most what is told.
const QUANTILE: f64 = 0.999;

/// How far the other model is from the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Positions that were predicted.
    pub positions: usize,
    /// Mean Kullback-Leibler divergence of the other's probabilities from the original's, in nats.
    pub mean_kl: f64,
    /// What 99.9 % of positions are not above.
    pub quantile_kl: f64,
    /// The share of positions at which both have the same likeliest token.
    pub top_1: f64,
    /// The original's perplexity.
    pub perplexity: f64,
    /// The other's.
    pub other_perplexity: f64,
}

/// Why two models could not be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// Models that do not predict the same tokens.
    #[error("the vocabularies have {original} and {other} tokens")]
    Vocabulary {
        /// Tokens of the original.
        original: usize,
        /// Tokens of the other.
        other: usize,
    },
    /// A text of too few tokens for one window.
    #[error("the text has {found} tokens; {needed} are needed at least")]
    TooShort {
        /// Its tokens.
        found: usize,
        /// Tokens needed.
        needed: usize,
    },
    /// A model failed.
    #[error("run the model")]
    Forward(#[from] ForwardError),
    /// The caller asked to stop.
    #[error("the comparison was stopped")]
    Cancelled,
}

/// Compares two models over the tokens of a text. `advance` is told of windows as they are done, and of all there are;
/// `cancel` is looked at between two windows.
///
/// # Errors
/// [`CompareError`], when the models do not predict the same tokens, the text is too short, or a model fails.
pub fn compare(
    (original, other): (&Decoder, &Decoder),
    (tokens, bos): (&[u32], Option<u32>),
    pool: &Pool,
    advance: &mut dyn FnMut(usize, usize),
    cancel: &Cancel,
) -> Result<Comparison, CompareError> {
    let (vocabulary, found) = (original.config().vocabulary, other.config().vocabulary);
    if vocabulary != found {
        return Err(CompareError::Vocabulary { original: vocabulary, other: found });
    }
    let longest = WINDOW.min(original.config().positions).min(other.config().positions);
    let window = longest.min(tokens.len());
    if window < WINDOW_MIN {
        return Err(CompareError::TooShort { found: tokens.len(), needed: WINDOW_MIN });
    }
    let (mut first, mut second) = (Runner::new(original, window), Runner::new(other, window));
    let mut sums = Sums::default();
    let windows = tokens.len() / window;
    for (done, part) in tokens.chunks_exact(window).enumerate() {
        if cancel.is_cancelled() {
            return Err(CompareError::Cancelled);
        }
        let mut part = part.to_vec();
        // As a text begins in training, where the model wants that.
        if let (Some(bos), Some(begin)) = (bos, part.first_mut()) {
            *begin = bos;
        }
        first.run(pool, &part)?;
        second.run(pool, &part)?;
        for (place, next) in part.iter().skip(window / 2 + 1).enumerate() {
            if let (Some(one), Some(other)) = (first.row(place), second.row(place)) {
                sums.add(one, other, *next as usize);
            }
        }
        advance(done + 1, windows);
    }
    Ok(sums.finish())
}

/// One model with room for a window.
struct Runner<'d> {
    decoder: &'d Decoder,
    kv: KvStore,
    pages: Vec<u32>,
    scratch: DecoderScratch,
    /// Logits of the second half's positions, one after the other.
    logits: Vec<f32>,
}

impl<'d> Runner<'d> {
    fn new(decoder: &'d Decoder, window: usize) -> Self {
        let pages = window.div_ceil(PAGE_TOKENS);
        Self {
            decoder,
            kv: decoder.new_kv(pages),
            pages: (0..pages as u32).collect(),
            scratch: DecoderScratch::default(),
            logits: Vec::new(),
        }
    }

    fn run(&mut self, pool: &Pool, tokens: &[u32]) -> Result<(), ForwardError> {
        let wanted = Wanted::From(tokens.len() / 2);
        let span = Span { tokens, start: 0, pages: &self.pages, adapter: None, logits: wanted };
        let logits = self.decoder.forward(pool, &mut self.kv, &[span], &mut self.scratch)?;
        self.logits.clear();
        logits.rows().for_each(|row| self.logits.extend_from_slice(row));
        Ok(())
    }

    fn row(&self, place: usize) -> Option<&[f32]> {
        let width = self.decoder.config().vocabulary;
        self.logits.get(place * width..(place + 1) * width)
    }
}

#[derive(Default)]
struct Sums {
    divergences: Vec<f64>,
    same: usize,
    /// Negative log-likelihoods.
    original: f64,
    other: f64,
}

impl Sums {
    fn add(&mut self, original: &[f32], other: &[f32], next: usize) {
        let (one, two) = (log_sum(original), log_sum(other));
        let log = |row: &[f32], sum: f64, token: usize| {
            row.get(token).map_or(f64::MIN, |logit| f64::from(*logit) - sum)
        };
        let divergence: f64 = original
            .iter()
            .zip(other)
            .map(|(p, q)| {
                let (p, q) = (f64::from(*p) - one, f64::from(*q) - two);
                p.exp() * (p - q)
            })
            .sum();
        self.divergences.push(divergence.max(0.0));
        self.same += usize::from(likeliest(original) == likeliest(other));
        self.original -= log(original, one, next);
        self.other -= log(other, two, next);
    }

    fn finish(mut self) -> Comparison {
        let positions = self.divergences.len();
        let count = positions.max(1) as f64;
        self.divergences.sort_by(f64::total_cmp);
        let rank = ((QUANTILE * count).ceil() as usize).clamp(1, positions.max(1));
        Comparison {
            positions,
            mean_kl: self.divergences.iter().sum::<f64>() / count,
            quantile_kl: self.divergences.get(rank - 1).copied().unwrap_or_default(),
            top_1: self.same as f64 / count,
            perplexity: (self.original / count).exp(),
            other_perplexity: (self.other / count).exp(),
        }
    }
}

/// Returns the logarithm of the sum of exponentials.
fn log_sum(logits: &[f32]) -> f64 {
    let most = f64::from(logits.iter().copied().fold(f32::MIN, f32::max));
    most + logits.iter().map(|logit| (f64::from(*logit) - most).exp()).sum::<f64>().ln()
}

fn likeliest(logits: &[f32]) -> Option<usize> {
    logits.iter().enumerate().max_by(|one, other| one.1.total_cmp(other.1)).map(|(token, _)| token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_agreement_and_perplexity_are_those_of_the_definitions() {
        let mut sums = Sums::default();
        // Probabilities 3/4, 1/4 against 1/2, 1/2.
        let logs = |p: &[f32]| p.iter().map(|p| p.ln() + 7.0).collect::<Vec<f32>>();
        sums.add(&logs(&[0.75, 0.25]), &logs(&[0.5, 0.5]), 0);
        sums.add(&logs(&[0.75, 0.25]), &logs(&[0.25, 0.75]), 0);
        let found = sums.finish();
        let one = 0.75 * (0.75_f64 / 0.5).ln() + 0.25 * (0.25_f64 / 0.5).ln();
        let two = 0.75 * (0.75_f64 / 0.25).ln() + 0.25 * (0.25_f64 / 0.75).ln();
        assert!((found.mean_kl - (one + two) / 2.0).abs() < 1e-6);
        assert!((found.quantile_kl - two).abs() < 1e-6);
        assert!((found.perplexity - 1.0 / 0.75).abs() < 1e-5);
        assert!((found.other_perplexity - (1.0 / (0.5_f64 * 0.25)).sqrt()).abs() < 1e-5);
    }

    #[test]
    fn the_same_model_is_at_no_distance() {
        let mut sums = Sums::default();
        sums.add(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0], 2);
        let found = sums.finish();
        assert_eq!((found.mean_kl, found.top_1, found.positions), (0.0, 1.0, 1));
    }
}
