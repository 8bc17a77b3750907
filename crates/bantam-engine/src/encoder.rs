//! BERT (absolute positions, token types, norms after the sums, GELU) and ModernBERT.

mod adapter;
mod batch;
mod config;
mod embeddings;
mod layer;
mod load;
mod modernbert;
mod outliers;
mod pooling;

use std::ops::Range;

use bantam_kernels::{Addend, AttentionScratch, LayerNorm, Pool, QuantisedRows};

pub use adapter::{EncoderAdapter, EncoderUpdate};
pub use batch::TokenBatch;
pub use config::{Architecture, EncoderConfig, EncoderConfigError, ModernBertConfig};
use embeddings::Embeddings;
use layer::Layer;
pub use load::{LoadEncoderError, LoadEncoderErrorKind};
use modernbert::ModernBert;
pub use pooling::Pooling;

/// Tokens that go through the layers together, unless one sequence alone has more. It bounds what a batch needs
/// in memory, and keeps what a layer hands to the next in the caches.
const SLICE_TOKENS: usize = 512;

/// What weights and activations of matrix products are held in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// As trained.
    F32,
    /// Weights in int8 with one scale for each output, activations in u8 with a scale and a zero for each token;
    /// a few inputs of each layer, the same outliers for every token, stay f32.
    Int8,
}

/// Why a batch could not be encoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A sequence without tokens has no vector.
    #[error("sequence {sequence} has no tokens")]
    EmptySequence {
        /// Which of the batch.
        sequence: usize,
    },
    /// More tokens than the model has positions.
    #[error("sequence {sequence} has {tokens} tokens; the model takes {tokens_max}")]
    TooLong {
        /// Which of the batch.
        sequence: usize,
        /// Its tokens.
        tokens: usize,
        /// Most tokens of a sequence.
        tokens_max: usize,
    },
    /// A token that the model does not have.
    #[error("sequence {sequence} has token {token}; the model knows {vocabulary}")]
    UnknownToken {
        /// Which of the batch.
        sequence: usize,
        /// The token.
        token: u32,
        /// Tokens there are.
        vocabulary: usize,
    },
    /// A second text for a model that was trained on single ones.
    #[error("sequence {sequence} is a pair; the model has one token type")]
    NoPairs {
        /// Which of the batch.
        sequence: usize,
    },
}

/// An encoder, ready to run. It is never written to, so threads may share it.
#[derive(Debug)]
pub struct Encoder {
    config: EncoderConfig,
    precision: Precision,
    embeddings: Embeddings,
    norm: LayerNorm,
    stack: Stack,
}

/// The layers of an architecture.
#[derive(Debug)]
enum Stack {
    Bert(Vec<Layer>),
    ModernBert(ModernBert),
}

/// Memory that an [`Encoder`] works in. After the first batches it has grown to what they need, and further ones
/// allocate nothing.
#[derive(Debug, Default)]
pub struct EncoderScratch {
    hidden: Vec<f32>,
    hidden_bytes: QuantisedRows,
    normed: Vec<f32>,
    qkv: Vec<f32>,
    context: Vec<f32>,
    context_bytes: QuantisedRows,
    wide: Vec<f32>,
    gated: Vec<f32>,
    wide_bytes: QuantisedRows,
    sums: Vec<f32>,
    attention: AttentionScratch,
    ends: Vec<usize>,
    answer: Vec<f32>,
}

impl Encoder {
    /// Returns what the model is made of.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Returns what it runs in.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Returns one vector of length 1 for each sequence, [`EncoderConfig::hidden`] numbers each.
    pub fn embed<'s>(
        &self,
        batch: &TokenBatch,
        pooling: Pooling,
        pool: &Pool,
        scratch: &'s mut EncoderScratch,
    ) -> Result<&'s [f32], EncodeError> {
        self.check(batch)?;
        let width = self.config.hidden;
        fit(&mut scratch.answer, batch.len() * width);
        for sequences in slices(batch) {
            self.encode(batch, sequences.clone(), pool, scratch);
            let mut start = 0;
            for (sequence, end) in sequences.zip(&scratch.ends) {
                let states = &scratch.hidden[start * width..end * width];
                pooling.write(states, &mut scratch.answer[sequence * width..(sequence + 1) * width]);
                start = *end;
            }
        }
        Ok(&scratch.answer[..batch.len() * width])
    }

    /// Returns the last layer's output for every token, one sequence after the other.
    pub fn hidden_states<'s>(
        &self,
        batch: &TokenBatch,
        pool: &Pool,
        scratch: &'s mut EncoderScratch,
    ) -> Result<&'s [f32], EncodeError> {
        self.check(batch)?;
        let width = self.config.hidden;
        let all = batch.tokens() * width;
        fit(&mut scratch.answer, all);
        for sequences in slices(batch) {
            let tokens = batch.rows(sequences.clone());
            self.encode(batch, sequences, pool, scratch);
            let states = &scratch.hidden[..tokens.len() * width];
            scratch.answer[tokens.start * width..tokens.end * width].copy_from_slice(states);
        }
        Ok(&scratch.answer[..all])
    }

    /// Leaves the last layer's output for these sequences in `scratch.hidden`, and their ends in `scratch.ends`.
    fn encode(&self, batch: &TokenBatch, sequences: Range<usize>, pool: &Pool, scratch: &mut EncoderScratch) {
        let first = batch.rows(sequences.clone()).start;
        scratch.ends.clear();
        scratch.ends.extend(sequences.clone().map(|sequence| batch.row_range(sequence).end - first));
        let tokens = batch.rows(sequences.clone()).len();
        let hidden = fit(&mut scratch.hidden, tokens * self.config.hidden);
        self.embeddings.write(batch, sequences, hidden);
        let qkv = match &self.stack {
            Stack::Bert(layers) => layers.first().map(|layer| &layer.qkv),
            Stack::ModernBert(modern) => modern.layers.first().map(|layer| &layer.qkv),
        };
        let bytes = qkv.and_then(|qkv| qkv.wanting(&mut scratch.hidden_bytes));
        self.norm.forward(pool, hidden, Addend::None, bytes);
        match &self.stack {
            Stack::Bert(layers) => {
                for (index, layer) in layers.iter().enumerate() {
                    let next = layers.get(index + 1);
                    layer.forward(&self.config, (tokens, next), pool, scratch, |_, _| {});
                }
            }
            Stack::ModernBert(modern) => modern.forward(&self.config, tokens, pool, scratch),
        }
    }

    fn check(&self, batch: &TokenBatch) -> Result<(), EncodeError> {
        let (tokens_max, vocabulary) = (self.config.positions, self.config.vocabulary);
        for sequence in 0..batch.len() {
            let (ids, is_pair) = batch.sequence(sequence);
            if ids.is_empty() {
                return Err(EncodeError::EmptySequence { sequence });
            }
            if ids.len() > tokens_max {
                return Err(EncodeError::TooLong { sequence, tokens: ids.len(), tokens_max });
            }
            if is_pair && self.config.token_types == 1 {
                return Err(EncodeError::NoPairs { sequence });
            }
            if let Some(token) = ids.iter().copied().find(|token| *token as usize >= vocabulary) {
                return Err(EncodeError::UnknownToken { sequence, token, vocabulary });
            }
        }
        Ok(())
    }
}

/// Cuts a batch into runs of sequences that go through the layers together.
fn slices(batch: &TokenBatch) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut start = 0;
    std::iter::from_fn(move || {
        (start < batch.len()).then(|| {
            let mut end = start + 1;
            while end < batch.len() && batch.rows(start..end + 1).len() <= SLICE_TOKENS {
                end += 1;
            }
            std::mem::replace(&mut start, end)..end
        })
    })
}

/// Returns the first `length` numbers, whatever they are, after making room for them.
fn fit(numbers: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if numbers.len() < length {
        numbers.resize(length, 0.0);
    }
    &mut numbers[..length]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_whole_sequences_in_order_and_bounded() {
        let mut batch = TokenBatch::new();
        let lengths = [100, 400, 20, 700, 1, 511, 1];
        lengths.iter().for_each(|length| batch.push(&vec![1; *length]));
        let found: Vec<Range<usize>> = slices(&batch).collect();
        assert_eq!(found, [0..2, 2..3, 3..4, 4..6, 6..7]);
        assert_eq!(slices(&TokenBatch::new()).count(), 0);
    }
}
