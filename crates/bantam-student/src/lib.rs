//! Small models that each serve one task, trained and run on the local machine.
//!
//! The [`linear`] student is a text classifier that answers in microseconds: [`linear::train`] trains one on
//! [`Example`]s, [`LinearStudent::predict`] predicts with it, and [`LinearStudent::save`] and [`Student::load`] write
//! and read its file, whose content is identified by a [`FileHash`]. The [`encoder`] student classifies by the vector
//! of a frozen encoder, in milliseconds and with fewer errors, and with fewer still if the encoder was tuned for the
//! task. The [`tagger`] student finds values in a text and their positions. Training and predicting are plain functions
//! over values: nothing here reads the environment or the clock, keeps global state or prints.
//!
//! **Invariant:** equal rows and settings give equal bytes, on any number of threads.
//!
//! **Invariant:** no student file, however damaged or malicious, makes loading or predicting panic or allocate more
//! than a small multiple of the file's size.

mod backend;
mod container;
mod embedding;
pub mod encoder;
mod example;
mod fusion;
mod hash;
pub mod linear;
mod prediction;
mod seen;
mod slots;
mod student;
pub mod tagger;
mod verifier;

pub use backend::{AnswerFormat, StudentBackend, student_cannot_honour, student_support};
pub use container::{LoadStudentError, LoadStudentErrorKind, SaveStudentError};
pub use embedding::{EmbeddingBackend, embedding_support, is_encoder};
pub use encoder::{
    BasePrecision, Bases, EncoderConfig, EncoderStudent, Features, LoadBaseError, LoadBaseErrorKind,
};
pub use example::{
    Example, LABEL_BYTES_MAX, ROWS_PER_LABEL_MIN, ReadExamplesError, ReadExamplesErrorKind, is_same_answer,
    read_answers, read_examples, read_texts, read_training_examples,
};
pub use hash::FileHash;
pub use linear::{LinearConfig, LinearStudent, Scratch};
pub use prediction::{Choice, Prediction};
pub use seen::{SeenTexts, normalised};
pub use slots::{
    ExpectedRow, SlotExample, SlotSpan, answer_json, count_contexts, read_expected_objects,
    read_slot_examples, read_slot_texts, slots_of_answer,
};
pub use student::{Student, StudentDescription};
pub use tagger::{Field, LinearTagger, Reading, Tagger, TaggerBackend, TaggerStudent};
pub use verifier::{AnswerEvidence, JudgedAnswer, Salt, Verifier};
