//! Models that run on the CPU at hand.
//!
//! The first kind is the [`Encoder`], a BERT that turns token ids into vectors: [`Encoder::load`] reads and checks
//! a folder, [`Encoder::embed`] answers for a [`TokenBatch`]. Sequences of a batch are laid one after the other
//! and never padded: matrix products run over all their tokens, attention over each sequence.
//!
//! **Invariant:** a loaded model has every tensor, in the shape its configuration asks for, with finite numbers.
//!
//! **Invariant:** with the same instructions, a sequence's answer is the same to the bit in whatever batch it
//! comes and on whatever number of threads.

mod encoder;

pub use encoder::{
    EncodeError, Encoder, EncoderConfig, EncoderConfigError, EncoderScratch, LoadEncoderError,
    LoadEncoderErrorKind, Pooling, Precision, TokenBatch,
};
