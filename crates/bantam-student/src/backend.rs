//! A classification student as a backend of the gateway.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use bantam_backend::{Answer, Ask, Backend, BackendError, BackendFault, BoxFuture, StudentAnswer};
use bantam_privacy::Cleared;
use bantam_types::Tier;
use bantam_wire::ChatRequest;
use bantam_wire::chat::Param;

use crate::{Scratch, Student};

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

    fn predict(&self, request: &Cleared, ask: &Ask) -> Result<Answer, BackendError> {
        if request.tier() != Tier::Local {
            return Err(BackendFault::NotCleared.into());
        }
        let text = request.request().last_user_text().and_then(|text| text.get(ask.payload_start..));
        let text = text.ok_or(BackendFault::CannotHonour("messages"))?;
        SCRATCH.with_borrow_mut(|scratch| {
            let prediction = self.student.predict(text, scratch);
            let out_of_scope = self.student.is_foreign(&prediction);
            let label = match self.labels.get(prediction.label) {
                Some(label) => Arc::clone(label),
                None => prediction.label.into(),
            };
            Ok(Answer::Student(StudentAnswer { label, probability: prediction.probability, out_of_scope }))
        })
    }
}

impl Backend for StudentBackend {
    fn tier(&self) -> Tier {
        Tier::Local
    }

    fn cannot_honour(&self, request: &ChatRequest) -> Option<&'static str> {
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
        let answer = self.predict(&request, &ask);
        Box::pin(std::future::ready(answer))
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
