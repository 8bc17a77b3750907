//! A classification student as a backend of the gateway.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use bantam_backend::{Answer, Ask, Backend, BackendError, BackendFault, BoxFuture, StudentAnswer};
use bantam_privacy::Cleared;
use bantam_types::Tier;
use bantam_wire::chat::Param;
use bantam_wire::{ChatRequest, Endpoint};

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

    /// What the student sees of a request: the last message, from where its task's template ends.
    fn text<'r>(request: &'r Cleared, ask: &Ask) -> Result<&'r str, BackendError> {
        if request.tier() != Tier::Local {
            return Err(BackendFault::NotCleared.into());
        }
        let text = request.request().last_user_text().and_then(|text| text.get(ask.payload_start..));
        text.ok_or(BackendFault::CannotHonour("messages").into())
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
            Param::ResponseFormat => !self.honours_format(json),
            _ => true,
        });
        refused.map(|(param, _)| param.as_str())
    }

    fn is_available(&self) -> bool {
        true
    }

    fn answer(&self, request: Cleared, ask: Ask) -> BoxFuture<'_, Result<Answer, BackendError>> {
        match &*self.student {
            Student::Encoder(student) => {
                Box::pin(async move { self.ask_encoder(student, Self::text(&request, &ask)?).await })
            }
            student @ Student::Linear(_) => {
                let answer = Self::text(&request, &ask).map(|text| {
                    SCRATCH.with_borrow_mut(|scratch| self.answer_of(&student.predict(text, scratch)))
                });
                Box::pin(std::future::ready(answer))
            }
        }
    }
}

impl StudentBackend {
    /// A bare label is text; with an answer key it is a JSON object. A schema of the caller's own is not
    /// checked here, so it goes to a model.
    fn honours_format(&self, json: &str) -> bool {
        let compact: String = json.chars().filter(|symbol| !symbol.is_whitespace()).collect();
        match compact.as_str() {
            "{\"type\":\"text\"}" => !self.answers_json,
            "{\"type\":\"json_object\"}" => self.answers_json,
            _ => false,
        }
    }
}
