//! A language model as a task's student: the task's own prompt, an answer in the task's form, and how sure it is.

mod confidence;
mod file;
mod fingerprint;
mod open;

use std::sync::Arc;
use std::time::Instant;

use bantam_backend::{Answer, Ask, Backend, BackendError, BackendFault, BoxFuture, StudentAnswer};
use bantam_decode::{Finish, Grammar, JsonLayout};
use bantam_engine::PrefixScope;
use bantam_privacy::Cleared;
use bantam_student::{AnswerEvidence, AnswerFormat, Verifier, is_same_answer, student_cannot_honour};
use bantam_types::{Tier, TokenUsage};
use bantam_wire::{Call, CallKind, Feature, Unsupported};
use serde_json::{Value, json};

use crate::backend::{LocalBackend, Prepared, owner, run_fault, submit_fault};
use crate::labels::LabelError;
use crate::preparing::Wanted;
use crate::request::GenerationRequest;
use crate::running::{FinishedAnswer, RunningAnswer};
use crate::shared::RoomBackend;
use confidence::{least, of_all, of_values, tenth_and_mean, whole};
pub use file::{
    DecoderReport, DecoderStudentFile, ReadDecoderStudentError, ReadDecoderStudentErrorKind,
    StudentAnswerForm, StudentBase, StudentWeights,
};
pub use open::OpenStudentError;

/// The seed of the first further answer: equal texts get equal answers.
const FIRST_SEED: u64 = 1;

/// What every answer to a task looks like.
#[derive(Clone, Debug, PartialEq)]
pub enum AnswerForm {
    /// One of these labels: the answer with the largest exact probability, and nothing is sampled.
    Labels(Arc<[String]>),
    /// JSON that this schema allows.
    Json(Value),
    /// Text that matches this regular expression as a whole.
    Regex(Arc<str>),
    /// Text of this grammar, in llguidance's variant of Lark.
    Lark(Arc<str>),
    /// Free text.
    Text,
}

/// What a task asks of its student, the same for every request.
#[derive(Clone, Debug, PartialEq)]
pub struct StudentTask {
    /// The task's name, as the scheduler shares the engine among tasks.
    pub name: Arc<str>,
    /// The system message.
    pub instructions: Arc<str>,
    /// What an answer looks like.
    pub form: AnswerForm,
    /// The most tokens of an answer.
    pub tokens_max: usize,
    /// How many further answers are drawn beside the greedy one, to see whether they agree with it: 0 to 16. Labels need
    /// none: their probabilities are exact.
    pub samples: usize,
    /// Tells right answers from wrong ones, where it does so better than the probabilities of their tokens; for JSON and
    /// free text.
    pub verifier: Option<Arc<Verifier>>,
}

/// What a student wrote, and what its model says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The answer.
    pub answer: StudentAnswer,
    /// What a verifier would look at, besides the texts; none for labels, whose probabilities are exact.
    pub evidence: Option<AnswerEvidence>,
}

/// Answers that have begun: the greedy one and those drawn beside it.
struct DraftInProgress {
    /// Tokens of the prompt.
    input: u64,
    running: RunningAnswer,
    others: Vec<RunningAnswer>,
}

/// A language model that serves one task as its student.
///
/// The prompt is the task's own and the same for every caller: its instructions, then the request's text from behind the
/// caller's template. Decoding is greedy. So equal texts get equal answers, and what was proved about the answers to
/// some rows holds for callers too.
///
/// Its confidence is, for a label, the label's share among all labels. For JSON, it is the smallest probability of a token
/// within a value, under the model's own logits; what the schema forces and the names of members do not count. For text
/// by a regular expression or a grammar, it is the probability of the whole: such answers are short, and one wrong
/// character makes another answer. For free text, it is the smallest probability of a token. Where further answers are
/// drawn, at the model's own probabilities, it is multiplied by the share of all answers that are the same
/// (self-consistency; Wang and others 2022). Where the task has a [`Verifier`], that tells the confidence of JSON and free
/// text, from all this and the text. An answer that was cut off is not valid.
pub struct DecoderStudent {
    model: Arc<RoomBackend>,
    task: StudentTask,
}

impl DecoderStudent {
    /// Returns `model` as the student of `task`.
    pub const fn new(model: Arc<RoomBackend>, task: StudentTask) -> Self {
        Self { model, task }
    }

    /// Answers one text.
    ///
    /// # Errors
    /// When the model cannot be loaded in time, or cannot take the text.
    pub async fn draft(&self, text: &str, deadline: Option<Instant>) -> Result<Draft, BackendError> {
        self.draft_for(None, text, deadline).await
    }

    /// The same for a caller, whose texts are nobody else's.
    async fn draft_for(
        &self,
        caller: Option<&str>,
        text: &str,
        deadline: Option<Instant>,
    ) -> Result<Draft, BackendError> {
        let (backend, lease) = self.model.enter(deadline).await?;
        let answer = backend.draft_for(owner(caller), &self.task, text, deadline).await;
        drop(lease);
        answer
    }

    fn formats(&self) -> AnswerFormat<'_> {
        match &self.task.form {
            AnswerForm::Labels(_) | AnswerForm::Regex(_) | AnswerForm::Lark(_) | AnswerForm::Text => {
                AnswerFormat::Text
            }
            AnswerForm::Json(schema) => AnswerFormat::Schema(schema),
        }
    }

    async fn answer_request(&self, request: Cleared, ask: Ask) -> Result<Answer, BackendError> {
        if request.tier() != Tier::Local {
            return Err(BackendFault::NotCleared.into());
        }
        let text = request.request().last_user_text().and_then(|text| text.get(ask.payload_start..));
        let text = text.ok_or(BackendFault::CannotHonour(Feature::Chat))?;
        let draft = self.draft_for(ask.caller.as_deref(), text, ask.deadline).await;
        draft.map(|draft| Answer::Student(draft.answer))
    }
}

impl Backend for DecoderStudent {
    fn tier(&self) -> Tier {
        Tier::Local
    }

    fn cannot_honour(&self, call: &Call) -> Option<Unsupported> {
        student_cannot_honour(call, self.formats())
    }

    fn is_available(&self, kind: CallKind) -> bool {
        self.model.is_available(kind)
    }

    fn answer(&self, request: Cleared, ask: Ask) -> BoxFuture<'_, Result<Answer, BackendError>> {
        Box::pin(self.answer_request(request, ask))
    }
}

impl<A: Send + Sync + 'static> LocalBackend<A> {
    /// Answers one text as a task's student.
    ///
    /// # Errors
    /// When the model cannot take the text or fails.
    pub async fn draft(
        &self,
        task: &StudentTask,
        text: &str,
        deadline: Option<Instant>,
    ) -> Result<Draft, BackendError> {
        self.draft_for(owner(None), task, text, deadline).await
    }

    async fn draft_for(
        &self,
        owner: u64,
        task: &StudentTask,
        text: &str,
        deadline: Option<Instant>,
    ) -> Result<Draft, BackendError> {
        let talk = [
            json!({ "role": "system", "content": &*task.instructions }),
            json!({ "role": "user", "content": text }),
        ];
        if let AnswerForm::Labels(labels) = &task.form {
            let answer = self.label(&talk, labels, (Arc::clone(&task.name), deadline), owner).await?;
            return Ok(Draft { answer, evidence: None });
        }
        let grammar = match &task.form {
            AnswerForm::Json(schema) => {
                Some(Grammar::JsonSchema { schema: schema.clone(), layout: JsonLayout::Spaced })
            }
            AnswerForm::Regex(expression) => Some(Grammar::Regex(expression.to_string())),
            AnswerForm::Lark(text) => Some(Grammar::Lark(text.to_string())),
            AnswerForm::Labels(_) | AnswerForm::Text => None,
        };
        let greedy = GenerationRequest::greedy(talk.to_vec(), grammar, task.tokens_max);
        let (name, samples) = (Arc::clone(&task.name), task.samples as u32);
        let begin = move |backend: &Self, wanted: &Wanted| {
            backend.begin_draft(greedy, samples, (name, deadline, owner), wanted)
        };
        let DraftInProgress { input, mut running, others } = self.prepare_with(deadline, begin).await?;
        let finished = running.finish().await.map_err(|error| run_fault(&error))?;
        let mut output = finished.tokens.len() as u64;
        let mut same = 1_u32;
        for mut other in others {
            let other = other.finish().await.map_err(|error| run_fault(&error))?;
            output += other.tokens.len() as u64;
            same += u32::from(is_same_answer(&other.text, &finished.text));
        }
        let agreement = same as f32 / (1 + task.samples) as f32;
        let cached_input = (running.timings().cached_tokens as u64).min(input);
        let usage = TokenUsage::new(input, cached_input, output);
        let (probability, evidence, has_form) = self.sure(task, text, (&finished, agreement));
        // At the limit an answer is cut off, or was ended by the grammar instead of the model.
        let is_valid = has_form && matches!(finished.finish, Finish::EndOfSequence | Finish::Complete);
        let answer = StudentAnswer {
            text: finished.text.into(),
            probability,
            out_of_scope: false,
            is_valid,
            usage: Some(usage),
        };
        Ok(Draft { answer, evidence: Some(evidence) })
    }

    /// Begins the greedy answer and the further ones, so that they run in one batch.
    fn begin_draft(
        &self,
        greedy: GenerationRequest,
        samples: u32,
        (task, deadline, owner): (Arc<str>, Option<Instant>, u64),
        wanted: &Wanted,
    ) -> Result<DraftInProgress, BackendError> {
        let drawn = greedy.drawn(samples);
        let prompt = self.conversation(&greedy, "")?;
        let input = prompt.len() as u64;
        let shared_tokens = self.shared_tokens(&prompt, &greedy);
        let scope = PrefixScope { shared_tokens, owner };
        let mut prepared =
            Prepared { request: greedy, prompts: vec![prompt], opening: "", task, deadline, scope };
        let greedy = self.begin_all(&prepared, 1, 0, wanted)?;
        prepared.request = drawn;
        let others = self.begin_all(&prepared, samples, FIRST_SEED, wanted)?;
        let running = greedy.into_iter().next().ok_or(BackendFault::Broken)?;
        Ok(DraftInProgress { input, running, others })
    }

    /// Returns how sure one may be of a finished answer, what that comes from, and whether it has the task's form.
    fn sure(
        &self,
        task: &StudentTask,
        text: &str,
        (finished, agreement): (&FinishedAnswer, f32),
    ) -> (f32, AnswerEvidence, bool) {
        let pieces =
            finished.tokens.iter().map(|token| (self.table().text(token.token), token.log_probability));
        let (counted, has_form) = match &task.form {
            AnswerForm::Json(_) => {
                (of_values(&finished.text, pieces), serde_json::from_str::<Value>(&finished.text).is_ok())
            }
            AnswerForm::Regex(_) | AnswerForm::Lark(_) => (of_all(pieces), true),
            AnswerForm::Labels(_) | AnswerForm::Text => (of_all(pieces), !finished.text.trim().is_empty()),
        };
        let (tenth, mean) = tenth_and_mean(&counted);
        let evidence =
            AnswerEvidence { least: least(&counted), tenth, mean, agreement, tokens: finished.tokens.len() };
        let probability = match (&task.form, &task.verifier) {
            (AnswerForm::Regex(_) | AnswerForm::Lark(_), _) => whole(&counted) * agreement,
            (_, Some(verifier)) => verifier.probability(text, &finished.text, &evidence),
            (_, None) => evidence.least * agreement,
        };
        (probability, evidence, has_form)
    }

    async fn label(
        &self,
        talk: &[Value],
        labels: &[String],
        asked: (Arc<str>, Option<Instant>),
        owner: u64,
    ) -> Result<StudentAnswer, BackendError> {
        let scores = self.score_labels(talk, labels, asked, owner).await.map_err(|error| match error {
            LabelError::Template(_) => BackendError::advising(
                BackendFault::CannotHonour(Feature::Chat),
                format!("the model's chat template refuses them: {error}"),
            ),
            LabelError::Prepare(error) => error.into(),
            LabelError::Submit(error) => submit_fault(&error).into(),
            LabelError::Run(error) => run_fault(&error).into(),
            LabelError::Labels(_) | LabelError::Score(_) => {
                tracing::error!(%error, "labels could not be scored");
                BackendFault::Broken.into()
            }
        })?;
        let text = labels.get(scores.best).ok_or(BackendFault::Broken)?;
        let probability = scores.probabilities.get(scores.best).copied().unwrap_or(0.0) as f32;
        Ok(StudentAnswer {
            text: text.as_str().into(),
            probability,
            out_of_scope: false,
            is_valid: true,
            usage: None,
        })
    }
}
