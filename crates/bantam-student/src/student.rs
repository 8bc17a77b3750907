//! One type for all kinds of students that answer with a label.

use std::path::Path;

use crate::container::{self, LoadStudentError, LoadStudentErrorKind, SaveStudentError, StudentKind};
use crate::encoder::{Bases, EncoderDescription, EncoderStudent};
use crate::hash::FileHash;
use crate::linear::{Description, LinearStudent, Scratch};
use crate::prediction::Prediction;
use crate::seen::SeenTexts;
use crate::tagger::{LinearTagger, LinearTaggerDescription, TaggerDescription, TaggerStudent};

/// A classifier of any kind.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Student {
    /// A text classifier over n-grams.
    Linear(LinearStudent),
    /// A text classifier over an encoder's vectors.
    Encoder(EncoderStudent),
}

/// The description in a student's file.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum StudentDescription {
    /// A text classifier over n-grams.
    Linear(Description),
    /// A text classifier over an encoder's vectors.
    Encoder(EncoderDescription),
    /// A tagger over an encoder's tokens.
    Tagger(TaggerDescription),
    /// A tagger over words.
    LinearTagger(Box<LinearTaggerDescription>),
}

impl Student {
    /// Reads and checks the file of a classifier. If the student has a base, it is shared with other students through
    /// `bases`. The base is looked for in the folder `base`, or else at the path that the file states relative to
    /// itself.
    pub fn load(path: &Path, base: Option<&Path>, bases: &Bases) -> Result<Self, LoadStudentError> {
        Self::load_kind(path, base, bases).map_err(|kind| LoadStudentError { path: path.to_owned(), kind })
    }

    fn load_kind(path: &Path, base: Option<&Path>, bases: &Bases) -> Result<Self, LoadStudentErrorKind> {
        let bytes = container::read(path)?;
        let (kind, body, hash) = container::open(&bytes)?;
        match kind {
            StudentKind::Linear => LinearStudent::from_body(body, hash).map(Self::Linear),
            StudentKind::Encoder | StudentKind::Tuned => {
                EncoderStudent::from_body(body, hash, path, base, bases).map(Self::Encoder)
            }
            StudentKind::Tagger | StudentKind::LinearTagger => {
                Err(LoadStudentErrorKind::OtherKind { found: kind.name(), wanted: "a classifier" })
            }
        }
    }

    /// Returns the description in a student's file and the file's hash, without opening the base.
    pub fn read_description(path: &Path) -> Result<(StudentDescription, FileHash), LoadStudentError> {
        let at = |kind| LoadStudentError { path: path.to_owned(), kind };
        let bytes = container::read(path).map_err(at)?;
        let (kind, body, hash) = container::open(&bytes).map_err(at)?;
        let description = match kind {
            StudentKind::Linear => LinearStudent::from_body(body, hash)
                .map(|student| StudentDescription::Linear(student.describe().clone())),
            StudentKind::Encoder | StudentKind::Tuned => {
                EncoderStudent::description(body).map(StudentDescription::Encoder)
            }
            StudentKind::Tagger => TaggerStudent::description(body).map(StudentDescription::Tagger),
            StudentKind::LinearTagger => LinearTagger::from_body(body, hash)
                .map(|student| StudentDescription::LinearTagger(Box::new(student.describe().clone()))),
        };
        Ok((description.map_err(at)?, hash))
    }

    /// Writes the student's file atomically.
    pub fn save(&self, path: &Path) -> Result<FileHash, SaveStudentError> {
        match self {
            Self::Linear(student) => student.save(path),
            Self::Encoder(student) => student.save(path),
        }
    }

    /// Returns every label it can answer with.
    pub fn labels(&self) -> &[String] {
        match self {
            Self::Linear(student) => student.labels(),
            Self::Encoder(student) => student.labels(),
        }
    }

    /// Returns the hash of the content. What was measured about a student holds for one hash only.
    pub fn hash(&self) -> FileHash {
        match self {
            Self::Linear(student) => student.hash(),
            Self::Encoder(student) => student.hash(),
        }
    }

    /// Classifies a text on this thread.
    pub fn predict<'a>(&'a self, text: &str, scratch: &mut Scratch) -> Prediction<'a> {
        match self {
            Self::Linear(student) => student.predict(text, scratch),
            Self::Encoder(student) => student.predict(text, scratch),
        }
    }

    /// Returns whether `prediction` says that the text is out of scope *without* using a label for it. A student
    /// that was trained with an out-of-scope label answers with that label and expresses doubt by its probability;
    /// the flag counts only if there is no such label.
    pub fn is_foreign(&self, prediction: &Prediction<'_>) -> bool {
        let has_scope_label = match self {
            Self::Linear(student) => student.has_scope_label(),
            Self::Encoder(student) => student.has_scope_label(),
        };
        prediction.out_of_scope && !has_scope_label
    }

    /// Returns whether a text equal to `text` in normalised form was trained on.
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
