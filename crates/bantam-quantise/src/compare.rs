//! Measures how far one model's probabilities are from another's on a text.
//!
//! Works like llama.cpp's `perplexity --kl-divergence`: the text is cut into windows, and the tokens of each window's
//! second half are predicted from everything before them in the window.

use bantam_engine::{Decoder, DecoderScratch, ForwardError, LogitRows, Span};
use bantam_kernels::{KvStore, PAGE_TOKENS, Pool};
use bantam_types::Cancel;

/// Tokens in a window, if both models have room for that many.
const WINDOW: usize = 512;
/// Smallest window; a shorter one has too few predictions.
const WINDOW_MIN: usize = 32;
/// The quantile of the divergences that is reported.
const QUANTILE: f64 = 0.999;

/// How far the second model is from the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Number of predicted positions.
    pub positions: usize,
    /// Mean Kullback-Leibler divergence of the second model's probabilities from the original's, in nats.
    pub mean_kl: f64,
    /// The 99.9 % quantile of the divergence.
    pub quantile_kl: f64,
    /// Share of positions at which both models have the same most likely token.
    pub top_1: f64,
    /// The original's perplexity.
    pub perplexity: f64,
    /// The second model's perplexity.
    pub other_perplexity: f64,
}

/// Why two models could not be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// The models have different vocabularies.
    #[error("the models' vocabularies differ: {original} and {other} tokens")]
    Vocabulary {
        /// Tokens in the original's vocabulary.
        original: usize,
        /// Tokens in the second model's vocabulary.
        other: usize,
    },
    /// The text is too short for one window.
    #[error("the text has {found} tokens; at least {needed} are needed")]
    TooShort {
        /// Tokens in the text.
        found: usize,
        /// Tokens needed.
        needed: usize,
    },
    /// A forward pass failed.
    #[error("run the model")]
    Forward(#[from] ForwardError),
    /// The caller asked to stop.
    #[error("the comparison was stopped")]
    Cancelled,
}

/// Compares two models on the tokens of a text. Calls `advance` with the number of finished windows and the total;
/// `cancel` is checked between windows.
///
/// # Errors
/// [`CompareError`] if the models have different vocabularies, the text is too short, or a model fails.
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
        // Start the window like a training text, if the model expects a first token.
        if let (Some(bos), Some(begin)) = (bos, part.first_mut()) {
            *begin = bos;
        }
        first.run(pool, &part)?;
        second.run(pool, &part)?;
        for (position, next) in part.iter().skip(window / 2 + 1).enumerate() {
            if let (Some(one), Some(other)) = (first.row(position), second.row(position)) {
                sums.add(one, other, *next as usize);
            }
        }
        advance(done + 1, windows);
    }
    Ok(sums.finish())
}

/// One model with room for one window.
struct Runner<'d> {
    decoder: &'d Decoder,
    kv: KvStore,
    pages: Vec<u32>,
    scratch: DecoderScratch,
    /// Logits of the second half's positions, one row after another.
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
        let wanted = LogitRows::From(tokens.len() / 2);
        let span = Span { tokens, start: 0, pages: &self.pages, adapter: None, logits: wanted };
        let logits = self.decoder.forward(pool, &mut self.kv, &[span], &mut self.scratch)?;
        self.logits.clear();
        logits.rows().for_each(|row| self.logits.extend_from_slice(row));
        Ok(())
    }

    fn row(&self, position: usize) -> Option<&[f32]> {
        let width = self.decoder.config().vocabulary;
        self.logits.get(position * width..(position + 1) * width)
    }
}

#[derive(Default)]
struct Sums {
    divergences: Vec<f64>,
    same: usize,
    /// Sums of negative log-likelihoods.
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

/// Returns log-sum-exp of the logits.
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
    fn divergence_agreement_and_perplexity_follow_their_definitions() {
        let mut sums = Sums::default();
        // Probabilities 3/4, 1/4 against 1/2, 1/2 and 1/4, 3/4.
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
    fn a_model_has_no_distance_from_itself() {
        let mut sums = Sums::default();
        sums.add(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0], 2);
        let found = sums.finish();
        assert_eq!((found.mean_kl, found.top_1, found.positions), (0.0, 1.0, 1));
    }
}
