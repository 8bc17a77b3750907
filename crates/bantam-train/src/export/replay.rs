//! Runs an export in the serving engine and compares its logits with the trainer's.

use std::path::Path;

use bantam_engine::{
    Adapter, Decoder, DecoderOptions, DecoderPrecision, DecoderScratch, ForwardError, LoadAdapterError,
    LoadDecoderError, LogitRows, Span,
};
use bantam_kernels::Pool;

use crate::decoder::{DecoderNetwork, DecoderNetworkScratch};

/// Tokens per page of the engine's KV cache.
const PAGE_TOKENS: usize = 16;

/// How closely the served model matches the trained one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Replay {
    /// Tokens compared.
    pub tokens: usize,
    /// Tokens for which both predict the same next token.
    pub same: usize,
    /// Largest absolute difference between two logits.
    pub difference: f32,
    /// Largest magnitude of a logit.
    pub scale: f32,
}

/// Why an export must not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The model cannot be opened.
    #[error("open the exported model")]
    Decoder(#[from] Box<LoadDecoderError>),
    /// The adapter cannot be opened.
    #[error("open the exported adapter")]
    Adapter(#[from] Box<LoadAdapterError>),
    /// The prompts do not fit the model.
    #[error("run the exported model")]
    Forward(#[from] ForwardError),
    /// The logits differ too much.
    #[error(
        "the export does not reproduce the trainer: logits up to {} differ by up to {}, {} of {} tokens agree",
        .0.scale, .0.difference, .0.same, .0.tokens
    )]
    Differs(Replay),
}

impl ReplayError {
    /// Returns what to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Differs(_) => {
                "serve the base in the form it was trained in: quantised to 4 bits it is a different model"
            }
            _ => "the base has changed since training: restore it",
        }
    }
}

/// Runs `prompts` through the exported model and compares the logits of every token with the trainer's. They may differ
/// by `tolerance` times the largest of them.
///
/// # Errors
/// [`ReplayError`] if the export cannot be run or differs by more than that.
pub fn replay(
    (model, adapter): (&Path, Option<&Path>),
    (network, parameters): (&DecoderNetwork, &[f32]),
    prompts: &[Vec<u32>],
    tolerance: f32,
    pool: &Pool,
) -> Result<Replay, ReplayError> {
    let options = DecoderOptions { precision: DecoderPrecision::F32, cache: None };
    let decoder = Decoder::open(model, &options, pool).map_err(Box::new)?;
    let adapter = adapter.map(|path| Adapter::open(path, &decoder)).transpose().map_err(Box::new)?;
    let (mut scratch, mut network_scratch) = (DecoderScratch::default(), DecoderNetworkScratch::default());
    let mut found = Replay::default();
    for prompt in prompts {
        let count = prompt.len().div_ceil(PAGE_TOKENS);
        let (mut kv, pages) = (decoder.new_kv(count), (0..count as u32).collect::<Vec<_>>());
        let span = Span {
            tokens: prompt,
            start: 0,
            pages: &pages,
            adapter: adapter.as_ref(),
            logits: LogitRows::All,
        };
        let served = decoder.forward(pool, &mut kv, &[span], &mut scratch)?;
        let expected = network.logits(parameters, prompt, &mut network_scratch);
        for (served, expected) in served.rows().zip(expected.chunks_exact(network.config().vocabulary)) {
            found.tokens += 1;
            found.same += usize::from(most_likely(served) == most_likely(expected));
            for (served, expected) in served.iter().zip(expected) {
                // NaN and infinity count as an infinite difference.
                let difference = (served - expected).abs();
                found.difference =
                    found.difference.max(if difference.is_finite() { difference } else { f32::INFINITY });
                found.scale = found.scale.max(expected.abs());
            }
        }
    }
    if found.difference > tolerance * found.scale {
        return Err(ReplayError::Differs(found));
    }
    Ok(found)
}

fn most_likely(logits: &[f32]) -> usize {
    let better = |(best, highest): (usize, f32), (index, logit): (usize, &f32)| {
        if *logit > highest { (index, *logit) } else { (best, highest) }
    };
    logits.iter().enumerate().fold((0, f32::NEG_INFINITY), better).0
}
