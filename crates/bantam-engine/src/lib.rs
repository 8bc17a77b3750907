//! Models that run on the CPU at hand.
//!
//! The first kind is the [`Encoder`], a BERT or ModernBERT that turns token ids into vectors: [`Encoder::load`] reads and checks
//! a folder, [`Encoder::embed`] answers for a [`TokenBatch`]. Sequences of a batch are laid one after the other
//! and never padded: matrix products run over all their tokens, attention over each sequence.
//!
//! The second kind is the [`Decoder`], a Llama, Qwen, Gemma or Phi that continues texts: [`Decoder::open`] reads a
//! GGUF file or a folder of safetensors, [`Decoder::forward`] runs new tokens of many sequences in one step, whose
//! keys and values are in a paged store, each with an [`Adapter`] of its own or none.
//!
//! A [`Scheduler`] runs one [`StepModel`], such as a [`DecoderModel`], for many callers at once.
//!
//! **Invariant:** a loaded model has every tensor, in the shape its configuration asks for, with finite numbers.
//!
//! **Invariant:** with the same instructions, a sequence's answer is the same to the bit in whatever batch it
//! comes and on whatever number of threads.

mod decoder;
mod encoder;
mod prefix;
mod schedule;

pub use decoder::{
    Adapter, AdapterSurvey, Architecture, Biases, Decoder, DecoderConfig, DecoderConfigError, DecoderOptions,
    DecoderPrecision, DecoderRope, DecoderScratch, DecoderSurvey, ForwardError, LoadAdapterError,
    LoadAdapterErrorKind, LoadDecoderError, LoadDecoderErrorKind, Logits, Span, Wanted,
};
pub use encoder::{
    Architecture as EncoderArchitecture, EncodeError, Encoder, EncoderAdapter, EncoderConfig,
    EncoderConfigError, EncoderScratch, EncoderUpdate, LoadEncoderError, LoadEncoderErrorKind,
    ModernBertConfig, Pooling, Precision, TokenBatch,
};
pub use prefix::PrefixStatistics;
pub use schedule::{
    AdapterError, AdapterLimits, AdapterRegistry, AdapterSource, Asked, Choice, Chooser, ChooserError,
    Chosen, Clock, DecoderModel, FinishReason, Generate, Generation, GenerationEvent, GenerationReport,
    LoadedAdapter, ModelShape, PendingScores, RequestError, Scheduler, SchedulerOptions, SchedulerStatistics,
    Score, ScorePath, Scores, ShutDown, StepModel, StepSpan, SubmitError, Timings,
};
