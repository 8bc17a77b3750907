//! Taggers as backends of the gateway: a text to the JSON object that its task asks for.

use std::cell::RefCell;
use std::sync::Arc;

use bantam_backend::{Answer, Ask, Backend, BackendError, BackendFault, BoxFuture, StudentAnswer};
use bantam_extract::{Shape, SlotValue};
use bantam_privacy::Cleared;
use bantam_types::Tier;
use bantam_wire::{Call, CallKind, Unsupported};
use serde_json::json;

use super::{Reading, Tagger};
use crate::backend::{AnswerFormat, student_cannot_honour, student_text};
use crate::encoder::QueueError;
use crate::hash::FileHash;
use crate::linear::Scratch;

thread_local! {
    /// One scratch per thread, so that readings allocate little after the first.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
}

/// A tagger that answers chat requests with a JSON object.
#[derive(Debug)]
pub struct TaggerBackend {
    tagger: Arc<Tagger>,
    shape: Shape,
}

impl TaggerBackend {
    /// Returns `tagger` as a backend whose answers have this shape.
    pub const fn new(tagger: Arc<Tagger>, shape: Shape) -> Self {
        Self { tagger, shape }
    }

    /// Returns the hash of everything that its answers depend on: the student, the schema, and the normalisers'
    /// version.
    pub fn fingerprint(&self) -> String {
        let facts = json!({
            "kind": "tagger-student-1", "student": self.tagger.hash().to_hex(), "shape": self.shape.facts(),
        });
        FileHash::of(&[facts.to_string().as_bytes()]).to_hex()
    }

    /// Returns the student.
    pub fn tagger(&self) -> &Tagger {
        &self.tagger
    }

    /// Returns the shape of its answers.
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Answers one text on this thread. `said_before` may be empty; as in the gateway, only a student that was trained
    /// with contexts sees it. If the values found do not form an object of the shape, the answer states the reason and
    /// is marked as invalid.
    pub fn draft(&self, text: &str, said_before: &str) -> StudentAnswer {
        SCRATCH.with_borrow_mut(|scratch| self.written(&self.tagger.read(text, said_before, scratch)))
    }

    fn written(&self, reading: &Reading<'_>) -> StudentAnswer {
        let found: Vec<SlotValue<'_>> = reading
            .fields
            .iter()
            .map(|field| SlotValue { name: field.name, value: field.value, confidence: field.confidence })
            .collect();
        let written = self.shape.write(&found);
        StudentAnswer {
            is_valid: written.is_ok(),
            text: written.map_or_else(|error| error.to_string(), |object| object.to_string()).into(),
            probability: reading.confidence,
            out_of_scope: false,
            usage: None,
        }
    }

    /// Finds the values in a request's text, in its context, and passes them to `with`. An encoder's states are
    /// computed by the base's own thread, so that the caller's is not blocked.
    async fn read<T>(
        &self,
        request: &Cleared,
        ask: &Ask,
        with: impl FnOnce(&Reading<'_>) -> T,
    ) -> Result<T, BackendError> {
        let text = student_text(request, ask)?;
        let context = self.tagger.visible_context(request.request().said_before().unwrap_or_default());
        match &*self.tagger {
            Tagger::Linear(student) => {
                Ok(SCRATCH.with_borrow_mut(|scratch| with(&student.read(text, context, scratch))))
            }
            Tagger::Encoder(student) => {
                let windows = student.windows(text, context);
                let mut logits = Vec::new();
                for sequence in &windows.sequences {
                    let states =
                        student.base().queue_states(sequence.ids.clone()).map_err(QueueError::fault)?;
                    let states = states.await.ok_or(BackendFault::Broken)?;
                    student.add_logits(sequence, &states, &mut logits);
                }
                let text = (text, context);
                let read = |scratch: &mut Scratch| with(&student.read_with(text, &windows, &logits, scratch));
                Ok(SCRATCH.with_borrow_mut(read))
            }
        }
    }
}

impl Backend for TaggerBackend {
    fn tier(&self) -> Tier {
        Tier::Local
    }

    fn cannot_honour(&self, call: &Call) -> Option<Unsupported> {
        let formats = self.shape.schema().map_or(AnswerFormat::AnyJson, AnswerFormat::Schema);
        student_cannot_honour(call, formats)
    }

    fn is_available(&self, _: CallKind) -> bool {
        match &*self.tagger {
            Tagger::Linear(_) => true,
            Tagger::Encoder(student) => student.base().is_available(),
        }
    }

    fn answer(&self, request: Cleared, ask: Ask) -> BoxFuture<'_, Result<Answer, BackendError>> {
        Box::pin(
            async move { self.read(&request, &ask, |reading| Answer::Student(self.written(reading))).await },
        )
    }

    fn evidence(&self, request: Cleared, ask: Ask) -> BoxFuture<'_, Vec<String>> {
        Box::pin(async move {
            let lines = |reading: &Reading<'_>| {
                let line = |field: &super::Field<'_>| {
                    format!(
                        "{} `{}` with probability {:.4}, at bytes {} to {}",
                        field.name, field.value, field.confidence, field.start, field.end
                    )
                };
                let mut lines: Vec<String> = reading.fields.iter().map(line).collect();
                if !reading.is_whole {
                    lines.push("the text is longer than the student reads".to_owned());
                }
                lines
            };
            self.read(&request, &ask, lines).await.unwrap_or_default()
        })
    }
}
