//! Trains small models on the CPU at hand: adapters and heads of encoders, adapters of decoders, resumable to the bit.
//!
//! [`run()`] takes steps for an [`Objective`]: rows, a network and its loss. Networks are made of [`ops`], each written
//! forwards and backwards by hand over plain slices, because what is frozen must cost no gradient of its own, what is
//! kept for the way back must be known, and sums must have one order. [`save`] and [`load`] move a [`State`] through a
//! file that is written whole or not at all.
//!
//! **Invariant:** equal rows, settings and seeds give equal bits on machines with the same instructions, on any number
//! of threads, also when a run was stopped after any step and taken up again.
//!
//! **Invariant:** every operation's gradient is held against differences of the operation itself by a test.

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
pub use layout::{Layout, Pace, Parameter};
pub use optimiser::{AdamW, Moments, Rates, clip, norm};
pub use peft::{ExportError, ExportErrorKind, export_peft};
pub use random::Key;
pub use run::{Control, Objective, RunConfig, RunError, State, Step, run};
pub use schedule::Schedule;
pub use sft::{Sft, SftScratch, TokenRow};
pub use tag::{TagRow, TagScratch, Tagger};
pub use teach::{Judged, Taught, TeachConfig, TeachError, TeachEvent, forget, teach};
pub use tokens::SmallTokens;
pub use tune::{Checkpoint, Lesson, Phase, TuneConfig, TuneError, TuneEvent, tune_classifier, tune_tagger};
