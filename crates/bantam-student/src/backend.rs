//! A classification student as a backend of the gateway.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use bantam_backend::{Answer, Ask, Backend, BackendError, BackendFault, BoxFuture, StudentAnswer};
use bantam_privacy::Cleared;
use bantam_types::Tier;
use bantam_wire::chat::Param;
use bantam_wire::{ChatRequest, Endpoint};
use serde_json::Value;

use crate::{EncoderStudent, Prediction, Scratch, Student};

thread_local! {
    /// One scratch a thread: a prediction allocates nothing after the first.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
}

/// A student that answers chat requests with one of its labels.
pub struct StudentBackend {
    student: Arc<Student>,
    /// The labels as the answers share them.
    labels: HashMap<String, Arc<str>>,
    /// Whether answers are JSON objects, so that a caller may ask for JSON.
    answers_json: bool,
}

impl StudentBackend {
    /// The longest text, in tokens at four bytes each, that a student sees whole.
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

    /// Waits for the base's thread, and leaves the caller's free meanwhile.
    async fn ask_encoder(&self, student: &EncoderStudent, text: &str) -> Result<Answer, BackendError> {
        let busy = BackendError::from(BackendFault::Busy);
        let embedding = student.embed_soon(text).ok_or_else(|| busy.clone())?;
        let vector = embedding.await.ok_or(busy)?;
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
        true
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

/// What a student sees of a request: the last message, from where its task's template ends.
pub(crate) fn student_text<'r>(request: &'r Cleared, ask: &Ask) -> Result<&'r str, BackendError> {
    if request.tier() != Tier::Local {
        return Err(BackendFault::NotCleared.into());
    }
    let text = request.request().last_user_text().and_then(|text| text.get(ask.payload_start..));
    text.ok_or(BackendFault::CannotHonour("messages").into())
}

/// What a student's answers look like, for callers who ask for a form.
#[derive(Clone, Copy, Debug)]
pub enum Formats<'s> {
    /// Text.
    Text,
    /// Some JSON object. A schema of the caller's own is not checked, so it goes to a model.
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

/// Returns the first parameter of `request` that no student can honour whose answers look like `formats`, by name.
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
        // What samples differently, or says where the caller is counted, changes no label.
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
