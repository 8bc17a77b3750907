//! Encoders: BERT (absolute positions, token types, post-norm, GELU) and ModernBERT.

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

/// Tokens that go through the layers together, unless one sequence alone has more. This bounds a batch's memory, and
/// keeps a layer's output in the CPU caches for the next.
const SLICE_TOKENS: usize = 512;

/// The precision of weights and activations in matrix products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// As trained.
    F32,
    /// Weights in int8 with one scale per output, activations in u8 with a scale and zero point per token; a few
    /// inputs of each layer, outliers for every token, stay f32.
    Int8,
}

/// Why a batch was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A sequence has no tokens, so it has no vector.
    #[error("sequence {sequence} has no tokens")]
    EmptySequence {
        /// The sequence's index in the batch.
        sequence: usize,
    },
    /// A sequence is longer than the model's context.
    #[error("sequence {sequence} has {tokens} tokens; the model's limit is {tokens_max}")]
    TooLong {
        /// The sequence's index in the batch.
        sequence: usize,
        /// Number of its tokens.
        tokens: usize,
        /// The model's longest sequence.
        tokens_max: usize,
    },
    /// A token is not in the vocabulary.
    #[error("sequence {sequence} contains token {token}, outside the vocabulary of {vocabulary}")]
    UnknownToken {
        /// The sequence's index in the batch.
        sequence: usize,
        /// The token.
        token: u32,
        /// Size of the vocabulary.
        vocabulary: usize,
    },
    /// A sequence has two texts, but the model was trained on single texts.
    #[error("sequence {sequence} is a pair, but the model has only one token type")]
    NoPairs {
        /// The sequence's index in the batch.
        sequence: usize,
    },
}

/// An encoder, ready to run. It is immutable, so threads can share it.
#[derive(Debug)]
pub struct Encoder {
    config: EncoderConfig,
    precision: Precision,
    embeddings: Embeddings,
    norm: LayerNorm,
    stack: Stack,
}

/// The layers, by architecture.
#[derive(Debug)]
enum Stack {
    Bert(Vec<Layer>),
    ModernBert(ModernBert),
}

/// The working memory of an [`Encoder`]. It grows in the first batches to what they need; later batches allocate
/// nothing.
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
    /// Returns the model's configuration.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Returns the precision it runs in.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Returns one vector of length 1 for each sequence, of [`EncoderConfig::hidden`] elements.
    pub fn embed<'s>(
        &self,
        batch: &TokenBatch,
        pooling: Pooling,
        pool: &Pool,
        scratch: &'s mut EncoderScratch,
    ) -> Result<&'s [f32], EncodeError> {
        self.check(batch)?;
        let width = self.config.hidden;
        resized(&mut scratch.answer, batch.len() * width);
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

    /// Returns the last layer's output for every token, sequence by sequence.
    pub fn hidden_states<'s>(
        &self,
        batch: &TokenBatch,
        pool: &Pool,
        scratch: &'s mut EncoderScratch,
    ) -> Result<&'s [f32], EncodeError> {
        self.check(batch)?;
        let width = self.config.hidden;
        let all = batch.tokens() * width;
        resized(&mut scratch.answer, all);
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
        let hidden = resized(&mut scratch.hidden, tokens * self.config.hidden);
        self.embeddings.write(batch, sequences, hidden);
        let qkv = match &self.stack {
            Stack::Bert(layers) => layers.first().map(|layer| &layer.qkv),
            Stack::ModernBert(modern) => modern.layers.first().map(|layer| &layer.qkv),
        };
        let bytes = qkv.and_then(|qkv| qkv.quantise_target(&mut scratch.hidden_bytes));
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

/// Divides a batch into runs of sequences that go through the layers together.
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

/// Returns the first `length` elements, with arbitrary content, after growing the buffer if necessary.
fn resized(numbers: &mut Vec<f32>, length: usize) -> &mut [f32] {
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
