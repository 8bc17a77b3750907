//! Every kind of student that answers with a label, behind one face.

use std::path::Path;

use crate::container::{self, Kind, LoadStudentError, LoadStudentErrorKind, SaveStudentError};
use crate::encoder::{Bases, EncoderDescription, EncoderStudent};
use crate::hash::FileHash;
use crate::linear::{Description, LinearStudent, Scratch};
use crate::prediction::Prediction;
use crate::seen::SeenTexts;
use crate::tagger::{LinearTagger, LinearTaggerDescription, TaggerDescription, TaggerStudent};

/// A student of any kind, as a file holds it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Student {
    /// A text classifier over n-grams.
    Linear(LinearStudent),
    /// A text classifier over an encoder's vectors.
    Encoder(EncoderStudent),
}

/// What a student's file says about itself.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum StudentDescription {
    /// Of a text classifier over n-grams.
    Linear(Description),
    /// Of a text classifier over an encoder's vectors.
    Encoder(EncoderDescription),
    /// Of an extractor over an encoder's tokens.
    Tagger(TaggerDescription),
    /// Of an extractor over words.
    LinearTagger(Box<LinearTaggerDescription>),
}

impl Student {
    /// Reads a student file of any kind, and checks all of it. A base, where the student stands on one, is shared
    /// with other students through `bases`; it is looked for in the folder `base` or, where none is named, where it
    /// lay beside the file when the student was trained.
    pub fn load(path: &Path, base: Option<&Path>, bases: &Bases) -> Result<Self, LoadStudentError> {
        Self::load_kind(path, base, bases).map_err(|kind| LoadStudentError { path: path.to_owned(), kind })
    }

    fn load_kind(path: &Path, base: Option<&Path>, bases: &Bases) -> Result<Self, LoadStudentErrorKind> {
        let bytes = container::read(path)?;
        let (kind, body, hash) = container::open(&bytes)?;
        match kind {
            Kind::Linear => LinearStudent::from_body(body, hash).map(Self::Linear),
            Kind::Encoder | Kind::Tuned => {
                EncoderStudent::from_body(body, hash, path, base, bases).map(Self::Encoder)
            }
            Kind::Tagger | Kind::LinearTagger => {
                Err(LoadStudentErrorKind::OtherKind { found: kind.name(), wanted: "a classifier" })
            }
        }
    }

    /// Returns what a student's file says about itself, and its hash; needs no base.
    pub fn read_description(path: &Path) -> Result<(StudentDescription, FileHash), LoadStudentError> {
        let at = |kind| LoadStudentError { path: path.to_owned(), kind };
        let bytes = container::read(path).map_err(at)?;
        let (kind, body, hash) = container::open(&bytes).map_err(at)?;
        let description = match kind {
            Kind::Linear => LinearStudent::from_body(body, hash)
                .map(|student| StudentDescription::Linear(student.describe().clone())),
            Kind::Encoder | Kind::Tuned => EncoderStudent::description(body).map(StudentDescription::Encoder),
            Kind::Tagger => TaggerStudent::description(body).map(StudentDescription::Tagger),
            Kind::LinearTagger => LinearTagger::from_body(body, hash)
                .map(|student| StudentDescription::LinearTagger(Box::new(student.describe().clone()))),
        };
        Ok((description.map_err(at)?, hash))
    }

    /// Writes the student's file: the path holds all of it or what it held before.
    pub fn save(&self, path: &Path) -> Result<FileHash, SaveStudentError> {
        match self {
            Self::Linear(student) => student.save(path),
            Self::Encoder(student) => student.save(path),
        }
    }

    /// Every label it can answer with.
    pub fn labels(&self) -> &[String] {
        match self {
            Self::Linear(student) => student.labels(),
            Self::Encoder(student) => student.labels(),
        }
    }

    /// Names the content; what was measured about a student holds for one hash only.
    pub fn hash(&self) -> FileHash {
        match self {
            Self::Linear(student) => student.hash(),
            Self::Encoder(student) => student.hash(),
        }
    }

    /// Classifies a text, on this thread.
    pub fn predict<'a>(&'a self, text: &str, scratch: &mut Scratch) -> Prediction<'a> {
        match self {
            Self::Linear(student) => student.predict(text, scratch),
            Self::Encoder(student) => student.predict(text, scratch),
        }
    }

    /// Returns whether `prediction` says that the text is none of the task's *without* naming a label for
    /// it. A student that was trained with an out-of-scope label says so with that label, and doubts with
    /// its probability; the flag alone counts only where there is no such label to say it with.
    pub fn is_foreign(&self, prediction: &Prediction<'_>) -> bool {
        let has_scope_label = match self {
            Self::Linear(student) => student.has_scope_label(),
            Self::Encoder(student) => student.has_scope_label(),
        };
        prediction.out_of_scope && !has_scope_label
    }

    /// Returns whether a text that reads like `text` was trained on.
    pub fn has_seen(&self, text: &str) -> bool {
        self.seen().contains(text)
    }

    fn seen(&self) -> &SeenTexts {
        match self {
            Self::Linear(student) => &student.describe().seen,
            Self::Encoder(student) => &student.describe().seen,
        }
    }
}
