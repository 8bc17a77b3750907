//! Answers: whole, streamed, or a student's.

use std::sync::Arc;

use bantam_types::TokenUsage;
use bantam_wire::chunk::ChunkFacts;
use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::BackendError;

/// What a backend answers with.
pub enum Answer {
    /// A student's text, with how sure it is.
    Student(StudentAnswer),
    /// A whole completion.
    Whole(Completion),
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
    /// Whether the text looks like none of the task's.
    pub out_of_scope: bool,
    /// Whether the answer is whole and in the form that the task asks for. Labels are compared with the task's anyway.
    pub is_valid: bool,
    /// Tokens, where the student counts them.
    pub usage: Option<TokenUsage>,
}

/// A whole answer in OpenAI's shape.
#[derive(Clone, Debug)]
pub struct Completion {
    /// The JSON body, checked to be a completion.
    pub body: Bytes,
    /// Tokens as the backend counted them.
    pub usage: Option<TokenUsage>,
    /// The text of the only choice.
    pub text: Option<String>,
    /// Whether the body already has a `bantam` member.
    pub has_note: bool,
    /// Microseconds from the attempt's start to the first byte.
    pub first_byte_us: u64,
    /// Retries it took.
    pub retries: u32,
}

/// A stream in OpenAI's shape.
pub struct AnswerStream {
    /// The chunks. An error item is the last.
    pub items: BoxStream<'static, Result<StreamItem, BackendError>>,
    /// Microseconds from the attempt's start to the first chunk.
    pub first_byte_us: u64,
    /// Retries it took.
    pub retries: u32,
}

/// One chunk of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamItem {
    /// The chunk's JSON.
    pub data: String,
    /// What stands in it.
    pub facts: ChunkFacts,
}
