//! Answers: whole, streamed, or a student's.

use std::sync::Arc;
use std::time::Instant;

use bantam_types::TokenUsage;
use bantam_wire::{AnswerBody, StreamItem};
use futures_util::stream::BoxStream;

use crate::{BackendError, UpstreamNotes};

/// What a backend answers with.
pub enum Answer {
    /// A student's text, with how sure it is.
    Student(StudentAnswer),
    /// A whole answer.
    Whole(WholeAnswer),
    /// A stream whose first item has already arrived.
    Stream(AnswerStream),
}

/// What a task's student says.
#[derive(Clone, Debug, PartialEq)]
pub struct StudentAnswer {
    /// The label of a classification, or the whole answer of another task.
    pub text: Arc<str>,
    /// How sure it is, from 0 to 1: what a certificate's threshold is compared with.
    pub probability: f32,
    /// Whether the request is unlike all that the student has learnt.
    pub out_of_scope: bool,
    /// Whether the answer is whole and in the form that the task asks for. Labels are compared with the task's anyway.
    pub is_valid: bool,
    /// Tokens, where the student counts them.
    pub usage: Option<TokenUsage>,
}

/// A whole answer, and what it took.
#[derive(Clone, Debug)]
pub struct WholeAnswer {
    /// What is answered: in neutral terms, or as an upstream of the caller's dialect wrote it.
    pub body: AnswerBody,
    /// Microseconds from the attempt's start to the first byte.
    pub first_byte_us: u64,
    /// Retries it took.
    pub retries: u32,
    /// What an upstream says beside it.
    pub notes: Option<Arc<UpstreamNotes>>,
}

/// A streamed answer.
pub struct AnswerStream {
    /// The items. An error is the last.
    pub items: BoxStream<'static, Result<StreamItem, BackendError>>,
    /// Microseconds from the attempt's start to the first item.
    pub first_byte_us: u64,
    /// Retries it took.
    pub retries: u32,
    /// What an upstream says beside it.
    pub notes: Option<Arc<UpstreamNotes>>,
    /// By when it must be over, also where nobody reads it; none where it holds nothing that others wait for.
    pub deadline: Option<Instant>,
}
