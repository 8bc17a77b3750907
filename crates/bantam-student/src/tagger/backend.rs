//! A tagger as a backend of the gateway: a text to the JSON object that its task asks for.

use std::cell::RefCell;
use std::sync::Arc;

use bantam_backend::{Answer, Ask, Backend, BackendError, BackendFault, BoxFuture, StudentAnswer};
use bantam_extract::{Found, Shape};
use bantam_privacy::Cleared;
use bantam_types::Tier;
use bantam_wire::ChatRequest;
use serde_json::json;

use super::{Reading, Tagger};
use crate::backend::{Formats, student_cannot_honour, student_text};
use crate::hash::FileHash;
use crate::linear::Scratch;

thread_local! {
    /// One scratch a thread: a reading allocates little after the first.
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

    /// Returns the hash of everything that its answers depend on: the student, the schema, and how values are written.
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

    /// Returns what its answers look like.
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Answers one text, on this thread, given what was said before it, which may be nothing. It is read as in the
    /// gateway: by a student that has learnt with that, and by no other. Where what was found makes no object of the
    /// shape, the answer says why, and is not valid.
    pub fn draft(&self, text: &str, said_before: &str) -> StudentAnswer {
        SCRATCH.with_borrow_mut(|scratch| self.written(&self.tagger.read(text, said_before, scratch)))
    }

    fn written(&self, reading: &Reading<'_>) -> StudentAnswer {
        let found: Vec<Found<'_>> = reading
            .fields
            .iter()
            .map(|field| Found { name: field.name, value: field.value, confidence: field.confidence })
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

    /// Finds the values of a request's text, after what was said before it, and hands them to `with`. An encoder's states come from the base's own
    /// thread, which leaves the caller's free meanwhile.
    async fn read<T>(
        &self,
        request: &Cleared,
        ask: &Ask,
        with: impl FnOnce(&Reading<'_>) -> T,
    ) -> Result<T, BackendError> {
        let text = student_text(request, ask)?;
        let context = self.tagger.seen_of(request.request().said_before().unwrap_or_default());
        match &*self.tagger {
            Tagger::Linear(student) => {
                Ok(SCRATCH.with_borrow_mut(|scratch| with(&student.read(text, context, scratch))))
            }
            Tagger::Encoder(student) => {
                let busy = BackendError::from(BackendFault::Busy);
                let windows = student.windows(text, context);
                let mut logits = Vec::new();
                for sequence in &windows.sequences {
                    let states = student.states_soon(sequence.ids.clone()).ok_or_else(|| busy.clone())?;
                    let states = states.await.ok_or_else(|| busy.clone())?;
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

    fn cannot_honour(&self, request: &ChatRequest) -> Option<&'static str> {
        let formats = self.shape.schema().map_or(Formats::AnyJson, Formats::Schema);
        student_cannot_honour(request, formats)
    }

    fn is_available(&self) -> bool {
        true
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
