//! Classification students as backends of the gateway.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use bantam_backend::{Answer, Ask, Backend, BackendError, BackendFault, BoxFuture, StudentAnswer};
use bantam_privacy::Cleared;
use bantam_types::Tier;
use bantam_wire::chat::Param;
use bantam_wire::{ChatRequest, Endpoint};
use serde_json::Value;

use crate::encoder::QueueError;
use crate::{EncoderStudent, Prediction, Scratch, Student};

thread_local! {
    /// One scratch per thread, so that predictions allocate nothing after the first.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
}

/// A student that answers chat requests with one of its labels.
pub struct StudentBackend {
    student: Arc<Student>,
    /// The labels in the form that answers share.
    labels: HashMap<String, Arc<str>>,
    /// Whether answers are JSON objects, so that callers may ask for JSON.
    answers_json: bool,
}

impl StudentBackend {
    /// The longest text that a student reads completely, in tokens of four bytes each.
    pub const CONTEXT_TOKENS: u64 = 32 * 1024 / 4;

    /// Returns `student` as a backend.
    pub fn new(student: Arc<Student>, answers_json: bool) -> Self {
        let labels = student.labels().iter().map(|label| (label.clone(), label.as_str().into())).collect();
        Self { student, labels, answers_json }
    }

    fn answer_of(&self, prediction: &Prediction<'_>) -> Answer {
        let out_of_scope = self.student.is_foreign(prediction);
        let label = match self.labels.get(prediction.label) {
            Some(label) => Arc::clone(label),
            None => prediction.label.into(),
        };
        let probability = prediction.probability;
        Answer::Student(StudentAnswer { text: label, probability, out_of_scope, is_valid: true, usage: None })
    }

    /// Waits for the base's thread without blocking the caller's.
    async fn ask_encoder(&self, student: &EncoderStudent, text: &str) -> Result<Answer, BackendError> {
        let vector =
            student.queue_embedding(text).map_err(QueueError::fault)?.await.ok_or(BackendFault::Broken)?;
        Ok(SCRATCH.with_borrow_mut(|scratch| self.answer_of(&student.predict_with(text, &vector, scratch))))
    }
}

impl Backend for StudentBackend {
    fn tier(&self) -> Tier {
        Tier::Local
    }

    fn cannot_honour(&self, request: &ChatRequest) -> Option<&'static str> {
        let formats = if self.answers_json { Formats::AnyJson } else { Formats::Text };
        student_cannot_honour(request, formats)
    }

    fn is_available(&self) -> bool {
        match &*self.student {
            Student::Encoder(student) => student.base().is_available(),
            Student::Linear(_) => true,
        }
    }

    fn answer(&self, request: Cleared, ask: Ask) -> BoxFuture<'_, Result<Answer, BackendError>> {
        match &*self.student {
            Student::Encoder(student) => {
                Box::pin(async move { self.ask_encoder(student, student_text(&request, &ask)?).await })
            }
            student @ Student::Linear(_) => {
                let answer = student_text(&request, &ask).map(|text| {
                    SCRATCH.with_borrow_mut(|scratch| self.answer_of(&student.predict(text, scratch)))
                });
                Box::pin(std::future::ready(answer))
            }
        }
    }
}

/// Returns the part of a request that a student sees: the last user message, from the end of its task's template on.
pub(crate) fn student_text<'r>(request: &'r Cleared, ask: &Ask) -> Result<&'r str, BackendError> {
    if request.tier() != Tier::Local {
        return Err(BackendFault::NotCleared.into());
    }
    let text = request.request().last_user_text().and_then(|text| text.get(ask.payload_start..));
    text.ok_or(BackendFault::CannotHonour("messages").into())
}

/// The form of a student's answers, to be compared with the one a caller asks for.
#[derive(Clone, Copy, Debug)]
pub enum Formats<'s> {
    /// Text.
    Text,
    /// Some JSON object. It is not checked against a schema, so a caller's own schema cannot be honoured.
    AnyJson,
    /// JSON that this schema allows.
    Schema(&'s Value),
}

impl Formats<'_> {
    fn honour(self, json: &str) -> bool {
        let Ok(wanted) = serde_json::from_str::<Value>(json) else { return false };
        match (wanted.get("type").and_then(Value::as_str), self) {
            (Some("text"), Self::Text) | (Some("json_object"), Self::AnyJson | Self::Schema(_)) => true,
            (Some("json_schema"), Self::Schema(schema)) => {
                wanted.pointer("/json_schema/schema") == Some(schema)
            }
            _ => false,
        }
    }
}

/// Returns the first parameter of `request` that a student with answers in `formats` cannot honour.
pub fn student_cannot_honour(request: &ChatRequest, formats: Formats<'_>) -> Option<&'static str> {
    if request.endpoint != Endpoint::Chat {
        return Some(request.endpoint.subject());
    }
    if request.answers > 1 {
        return Some("n");
    }
    if request.has_unread_parts() || request.last_user_text().is_none() {
        return Some("messages");
    }
    let refused = request.params().find(|(param, json)| match param {
        // Parameters of sampling and accounting do not change a student's answer.
        Param::Model
        | Param::Messages
        | Param::Stream
        | Param::StreamOptions
        | Param::N
        | Param::MaxTokens
        | Param::MaxCompletionTokens
        | Param::Temperature
        | Param::TopP
        | Param::PresencePenalty
        | Param::FrequencyPenalty
        | Param::Seed
        | Param::User
        | Param::Metadata
        | Param::ServiceTier
        | Param::ReasoningEffort
        | Param::Verbosity
        | Param::ParallelToolCalls
        | Param::PromptCacheKey
        | Param::PromptCacheRetention
        | Param::SafetyIdentifier => false,
        Param::Store | Param::Logprobs => *json != "false",
        Param::ToolChoice => *json != "\"none\"" && *json != "\"auto\"",
        Param::Tools | Param::Functions => *json != "[]",
        Param::Modalities => !json.replace(char::is_whitespace, "").eq("[\"text\"]"),
        Param::ResponseFormat => !formats.honour(json),
        _ => true,
    });
    refused.map(|(param, _)| param.as_str())
}
