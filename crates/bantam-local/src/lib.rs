//! Language models that the embedded engine runs, as a backend of the gateway.
//!
//! A [`LocalModel`] is a model's file with everything that answers need: weights, tokenizer, chat template,
//! grammars, a scheduler that runs many requests in one batch, and its prefix cache. [`LocalBackend`] turns a chat
//! call into tokens by the model's own template, samples under the constraints that the call asks for, and returns the
//! answer in neutral terms, whole or streamed.
//!
//! Models come into memory through a [`Room`] with a budget: [`RoomBackend`] is a [`LocalBackend`] whose model is
//! loaded when somebody asks for it, and given up when others need its memory.
//!
//! A [`DecoderStudent`] is a model of the room that serves one task: with the task's own prompt, an answer in the
//! task's form, and a confidence for a certificate to be about. A [`DecoderStudentFile`] says what a trained one is.
//!
//! **Invariant:** what a call asks for is done or refused by the parameter's name, never ignored: see [`support`].
//!
//! **Invariant:** nothing that a message says becomes a control token.

mod answer;
mod backend;
mod calls;
mod growth;
mod labels;
mod model;
mod open;
mod preparing;
mod prompt;
mod request;
mod room;
mod running;
mod shared;
mod streaming;
mod student;
mod survey;
mod thinking;

pub use backend::LocalBackend;
pub use bantam_decode::{Grammar, check_grammar, check_schema};
pub use labels::LabelError;
pub use model::{BuildModelError, LocalModel};
pub use open::{LocalModelOptions, OpenModelError, OpenModelErrorKind};
pub use preparing::PrepareError;
pub use request::support;
pub use room::{KeepAlive, Lease, LeaseError, Occupant, OccupantState, Place, Resident, Room, StillUsed};
pub use shared::{AdapterFile, RoomBackend};
pub use student::{
    AnswerForm, DecoderReport, DecoderStudent, DecoderStudentFile, Draft, OpenStudentError,
    ReadDecoderStudentError, ReadDecoderStudentErrorKind, StudentAnswerForm, StudentBase, StudentTask,
    StudentWeights,
};
pub use survey::{Misfit, ModelSurvey};
