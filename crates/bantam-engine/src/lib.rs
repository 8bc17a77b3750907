//! Runs models on the CPU.
//!
//! An [`Encoder`], BERT or ModernBERT, turns token ids into vectors: [`Encoder::load`] reads and checks a folder,
//! [`Encoder::embed`] embeds a [`TokenBatch`]. The sequences of a batch are concatenated and never padded: matrix
//! products run over all their tokens, attention over each sequence.
//!
//! A [`Decoder`], Llama, Qwen, Gemma or Phi, generates text: [`Decoder::open`] reads a GGUF file or a folder of
//! safetensors, [`Decoder::forward`] runs new tokens of many sequences in one step. Their keys and values are in a
//! paged KV cache, and each sequence can have its own [`Adapter`].
//!
//! A [`Scheduler`] runs one [`StepModel`], such as a [`DecoderModel`], for many callers at once.
//!
//! **Invariant:** a loaded model has every tensor, in the shape that its configuration requires, with finite values.
//!
//! **Invariant:** with the same instruction set, a sequence's result is bit-identical in any batch and for any number
//! of threads.

mod decoder;
mod encoder;
mod prefix;
mod schedule;

pub use decoder::{
    Adapter, AdapterSurvey, Architecture, Biases, Decoder, DecoderConfig, DecoderConfigError, DecoderOptions,
    DecoderPrecision, DecoderRope, DecoderScratch, DecoderSurvey, ForwardError, LoadAdapterError,
    LoadAdapterErrorKind, LoadDecoderError, LoadDecoderErrorKind, LogitRows, Logits, Span,
};
pub use encoder::{
    Architecture as EncoderArchitecture, EncodeError, Encoder, EncoderAdapter, EncoderConfig,
    EncoderConfigError, EncoderScratch, EncoderUpdate, LoadEncoderError, LoadEncoderErrorKind,
    ModernBertConfig, Pooling, Precision, TokenBatch,
};
pub use prefix::{PrefixScope, PrefixStatistics};
pub use schedule::{
    AdapterError, AdapterLimits, AdapterRegistry, AdapterSource, Choice, Chooser, ChooserError, Chosen,
    Clock, DecoderModel, FinishReason, Generate, Generation, GenerationEvent, GenerationReport,
    LoadedAdapter, ModelShape, PendingScores, RequestBase, RequestError, Scheduler, SchedulerOptions,
    SchedulerStatistics, Score, ScorePath, Scores, ShutDown, StepModel, StepSpan, SubmitError, Timings,
};
