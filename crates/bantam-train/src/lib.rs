//! Trains small models on the CPU: adapters and heads of encoders, and adapters of decoders or whole small decoders.
//!
//! [`run()`] takes optimiser steps for an [`Objective`]: rows, a network and its loss. Networks consist of [`ops`],
//! whose forward and backward passes are written by hand over plain slices, because frozen weights must not cost a
//! gradient, the memory kept for the backward pass must be explicit, and sums must have a fixed order. [`save`] and
//! [`load`] store a [`State`] in a file that is replaced atomically.
//!
//! **Invariant:** equal rows, settings and seeds give equal bits on machines with the same instruction set, with any number
//! of threads, even if a run is stopped after any step and resumed.
//!
//! **Invariant:** a test checks every operation's gradient against finite differences.

mod chat;
mod checkpoint;
mod classify;
mod decoder;
mod dpo;
mod encoder;
mod export;
#[cfg(test)]
mod gradcheck;
mod layout;
pub mod ops;
mod optimiser;
mod peft;
mod random;
mod run;
mod schedule;
mod sft;
mod tag;
mod teach;
mod tokens;
mod tune;

pub use chat::{ReadRowsError, ReadRowsErrorKind, RowWriter};
pub use checkpoint::{ResumeError, ResumeErrorKind, RunId, load, save};
pub use classify::{Classifier, ClassifierScratch};
pub use decoder::{
    BaseForm, DecoderNetwork, DecoderNetworkScratch, DecoderTuning, LoadDecoderNetworkError,
    LoadDecoderNetworkErrorKind, Nf4, Target,
};
pub use dpo::{Dpo, DpoScratch, Preference};
pub use encoder::{
    EncoderNetwork, EncoderScratch, LoadNetworkError, LoadNetworkErrorKind, LoraConfig, Packed,
};
pub use export::{
    DecoderExportError, ReadAdapterError, ReadAdapterErrorKind, Replay, ReplayError, read_gguf_adapter,
    replay, whole_config, write_gguf_adapter, write_merged, write_peft, write_whole,
};
pub use layout::{Layout, Parameter, ParameterGroup};
pub use optimiser::{AdamW, Moments, Rates, clip, norm};
pub use peft::{ExportError, ExportErrorKind, export_peft};
pub use random::Key;
pub use run::{Control, Objective, RunConfig, RunError, State, Step, run};
pub use schedule::Schedule;
pub use sft::{Sft, SftScratch, TokenRow};
pub use tag::{TagRow, TagScratch, Tagger};
pub use teach::{Judged, TeachConfig, TeachError, TeachEvent, TrainedDecoder, forget, teach};
pub use tokens::SmallTokens;
pub use tune::{
    Checkpoint, Phase, TuneConfig, TuneError, TuneEvent, TuningJob, tune_classifier, tune_tagger,
};
