//! Many requests, one model: continuous batching over a paged key-value memory.
//!
//! One thread owns the model and runs it step by step. A step is one pass over spans of many requests: the next tokens
//! of all that generate, then branches of scores, then pieces of prompts, as many tokens as a step may have. Between
//! two steps requests come and go, so nobody waits for another's answer to end.
//!
//! **Invariant:** a request's answer is the same to the bit whatever runs beside it, and whether its prefix was cached,
//! was cut into pieces, or was computed twice; provided that the model keeps the promise of [`StepModel`].
//!
//! **Invariant:** a page is written only by the request that took it from the pool; what is shared is only read.
//!
//! **Invariant:** every request ends with one last letter to its caller, even if the scheduler's thread panics.

mod adapters;
mod answers;
mod core;
mod decoding;
mod handle;
mod lanes;
mod mail;
mod model;
mod options;
mod pace;
mod plan;
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
    Asked, Choice, Chooser, ChooserError, Chosen, FinishReason, Generate, GenerationReport, RequestError,
    Score, ScorePath, Scores, SubmitError, Timings,
};
pub use statistics::SchedulerStatistics;
