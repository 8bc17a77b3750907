//! Continuous batching: many requests share one model with a paged KV cache.
//!
//! One thread owns the model and runs it step by step. A step is one pass over spans of many requests: first the next
//! tokens of all that generate, then branches of scores, then pieces of prompts, up to the step's token limit.
//! Requests come and go between two steps, so none waits for another's answer to end.
//!
//! **Invariant:** a request's result is bit-identical whatever runs beside it, and whether its prefix was cached, cut
//! into pieces, or computed twice, provided that the model keeps the promise of [`StepModel`].
//!
//! **Invariant:** a page is written only by the request that took it from the pool; shared pages are only read.
//!
//! **Invariant:** every request ends with exactly one final reply, even if the scheduler's thread panics.

mod adapters;
mod answers;
mod core;
mod decoding;
mod fair_queue;
mod handle;
mod model;
mod options;
mod pace;
mod plan;
mod reply;
mod request;
mod room;
mod scoring;
mod sequence;
mod settle;
mod statistics;
#[cfg(test)]
mod tests;

pub use adapters::{AdapterError, AdapterLimits, AdapterRegistry, AdapterSource, LoadedAdapter};
pub use answers::{Generation, GenerationEvent, PendingScores};
pub use decoding::DecoderModel;
pub use handle::{Scheduler, ShutDown};
pub use model::{ModelShape, StepModel, StepSpan};
pub use options::{Clock, SchedulerOptions};
pub use request::{
    Choice, Chooser, ChooserError, Chosen, FinishReason, Generate, GenerationReport, RequestBase,
    RequestError, Score, ScorePath, Scores, SubmitError, Timings,
};
pub use statistics::SchedulerStatistics;
