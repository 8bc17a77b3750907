//! Every kind of student behind one face.

use std::path::Path;

use crate::container::{self, Kind, LoadStudentError, LoadStudentErrorKind};
use crate::hash::FileHash;
use crate::linear::{LinearStudent, Scratch};
use crate::prediction::Prediction;

/// A student of any kind, as a file holds it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Student {
    /// A text classifier over n-grams.
    Linear(LinearStudent),
}

impl Student {
    /// Reads a student file of any kind, and checks all of it.
    pub fn load(path: &Path) -> Result<Self, LoadStudentError> {
        let at = |kind| LoadStudentError { path: path.to_owned(), kind };
        Self::from_bytes(&container::read(path).map_err(at)?).map_err(at)
    }

    /// [`Student::load`] from memory.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LoadStudentErrorKind> {
        let (kind, body, hash) = container::open(bytes)?;
        match kind {
            Kind::Linear => LinearStudent::from_body(body, hash).map(Self::Linear),
        }
    }

    /// Every label it can answer with.
    pub fn labels(&self) -> &[String] {
        match self {
            Self::Linear(student) => student.labels(),
        }
    }

    /// Names the content; what was measured about a student holds for one hash only.
    pub fn hash(&self) -> FileHash {
        match self {
            Self::Linear(student) => student.hash(),
        }
    }

    /// Classifies a text.
    pub fn predict<'a>(&'a self, text: &str, scratch: &mut Scratch) -> Prediction<'a> {
        match self {
            Self::Linear(student) => student.predict(text, scratch),
        }
    }

    /// Returns whether `prediction` says that the text is none of the task's *without* naming a label for
    /// it. A student that was trained with an out-of-scope label says so with that label, and doubts with
    /// its probability; the flag alone counts only where there is no such label to say it with.
    pub fn is_foreign(&self, prediction: &Prediction<'_>) -> bool {
        match self {
            Self::Linear(student) => prediction.out_of_scope && !student.has_scope_label(),
        }
    }

    /// Returns whether a text that reads like `text` was trained on.
    pub fn has_seen(&self, text: &str) -> bool {
        match self {
            Self::Linear(student) => student.describe().seen.contains(text),
        }
    }
}
