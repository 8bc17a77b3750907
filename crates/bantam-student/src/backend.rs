//! Classification students as backends of the gateway.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use bantam_backend::{Answer, Ask, Backend, BackendError, BackendFault, BoxFuture, StudentAnswer};
use bantam_privacy::Cleared;
use bantam_types::Tier;
use bantam_wire::call::{AnswerForm, ToolChoice};
use bantam_wire::support::refusal;
use bantam_wire::{Call, CallKind, Feature, Support, Unsupported};
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

    fn cannot_honour(&self, call: &Call) -> Option<Unsupported> {
        let formats = if self.answers_json { AnswerFormat::AnyJson } else { AnswerFormat::Text };
        student_cannot_honour(call, formats)
    }

    fn is_available(&self, _: CallKind) -> bool {
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
    text.ok_or(NO_USER_MESSAGE.into())
}

/// The form of a student's answers, to be compared with the one a caller asks for.
#[derive(Clone, Copy, Debug)]
pub enum AnswerFormat<'s> {
    /// Text.
    Text,
    /// Some JSON object. It is not checked against a schema, so a caller's own schema cannot be honoured.
    AnyJson,
    /// JSON that this schema allows.
    Schema(&'s Value),
}

impl AnswerFormat<'_> {
    fn honour(self, form: &AnswerForm) -> bool {
        match (form, self) {
            (AnswerForm::Text, Self::Text) | (AnswerForm::JsonObject, Self::AnyJson | Self::Schema(_)) => {
                true
            }
            (AnswerForm::JsonSchema(wanted), Self::Schema(schema)) => wanted.schema == *schema,
            _ => false,
        }
    }
}

const NO_USER_MESSAGE: Unsupported = Unsupported {
    feature: Feature::Chat,
    reason: Cow::Borrowed("there is no user message for the student to read"),
};

/// Returns what a student does about a feature. The form of the answer depends on its task: see
/// [`student_cannot_honour`].
pub fn student_support(feature: Feature) -> Support {
    use Support::{Honoured, NoEffect, Only, Refused};

    match feature {
        Feature::Chat | Feature::Stream | Feature::StreamUsage => Honoured(""),
        Feature::OtherToolCalls
        | Feature::OlderToolCalls
        | Feature::SpeakerName
        | Feature::Annotations
        | Feature::Reasoning
        | Feature::ThinkingBlocks
        | Feature::OtherMembers => Honoured("the student reads the text of the last user message"),
        Feature::ImageDetail => Refused("a student reads text"),
        Feature::AnswerForm => Only("only the form that the task's answers have", |_| false),
        Feature::OutputLimit => NoEffect("an answer is one label or one object, as long as it is"),
        Feature::Temperature
        | Feature::TopP
        | Feature::PresencePenalty
        | Feature::FrequencyPenalty
        | Feature::Seed => NoEffect("the answer is the likeliest one: nothing is sampled"),
        Feature::ReasoningEffort | Feature::Verbosity => NoEffect("a student neither reasons nor chats"),
        Feature::SingleToolCall => NoEffect("a student calls no tools"),
        Feature::ToolChoice => Only("only `none`: a student calls no tools", |call| {
            call.settings().tool_choice == ToolChoice::None
        }),
        Feature::User | Feature::SafetyIdentifier => Support::IDENTIFIES_CALLER,
        Feature::Metadata => Support::TAGS_STORED_ANSWER,
        Feature::ServiceTier => Support::CHOOSES_QUEUE,
        Feature::CacheKey | Feature::CacheRetention | Feature::CacheOptions | Feature::CacheMarks => {
            Support::CHOOSES_CACHE
        }
        Feature::Text | Feature::Embeddings => Refused("a student answers conversations"),
        Feature::Images | Feature::AudioInput | Feature::Files | Feature::OtherParts => {
            Refused("a student reads text")
        }
        Feature::Answers | Feature::BestOf => Refused("a student has one answer"),
        Feature::Stop => Refused("an answer is whole or not valid"),
        Feature::LogitBias => Refused("a student chooses labels or values, not tokens"),
        Feature::LogProbabilities | Feature::Alternatives => {
            Refused("a student has a probability of its answer, not of tokens")
        }
        Feature::Tools
        | Feature::StrictTools
        | Feature::OtherToolMembers
        | Feature::Functions
        | Feature::FunctionChoice => Refused("a student calls no tools"),
        Feature::Moderation => Refused("a student has no such check"),
        Feature::Modalities | Feature::AudioOutput => Refused("a student answers with text"),
        Feature::Prediction | Feature::WebSearch => Refused("a student has no such thing"),
        Feature::Suffix | Feature::Echo => Refused("a student continues no texts"),
        Feature::EncodingFormat | Feature::Dimensions => Refused("a student makes no vectors"),
        Feature::Store => Support::STORES_ANSWER,
        Feature::VendorFields => Refused("only upstreams that list them in `fields` get them"),
    }
}

/// Returns the first feature of `call` that no student can honour whose answers look like `formats`.
pub fn student_cannot_honour(call: &Call, formats: AnswerFormat<'_>) -> Option<Unsupported> {
    let support = |feature| match feature {
        Feature::AnswerForm if is_read(call) && formats.honour(&call.settings().form) => {
            Support::Honoured("")
        }
        _ => student_support(feature),
    };
    let has_no_text = || call.last_user_text().is_none().then_some(NO_USER_MESSAGE);
    refusal(call, support).or_else(has_no_text)
}

/// Returns whether the form of the answer that a call asks for is one that is known.
fn is_read(call: &Call) -> bool {
    !call.settings().unread.contains(Feature::AnswerForm)
}
