//! A linear text classifier: TF-IDF over word and character n-grams, then multinomial logistic regression.
//!
//! The same model as two `TfidfVectorizer`s and a `LogisticRegression` of scikit-learn, with two differences: a
//! temperature fitted on held-out predictions calibrates the probabilities, and weights are stored as bytes, which
//! costs no measurable accuracy and makes predictions take microseconds.
//!
//! A text is out of scope if the out-of-scope label wins (rows may carry one, `oos` by default), if no in-scope label
//! reaches a probability threshold learnt from held-out rows, or if the text has no known n-gram. The threshold is set
//! so that a fixed small share of correctly labelled rows falls below it. Without out-of-scope rows to train on, the
//! threshold is the only test, and it catches only texts that resemble nothing known.

pub(crate) mod calibrate;
mod choose;
mod config;
mod describe;
pub(crate) mod exponential;
mod fit;
pub(crate) mod folds;
pub(crate) mod format;
pub(crate) mod lookup;
pub(crate) mod matrix;
pub(crate) mod model;
mod ngram;
pub(crate) mod parallel;
pub(crate) mod shuffle;
mod solve;
pub(crate) mod train;
mod vocabulary;

use std::path::Path;

pub use config::LinearConfig;
pub use describe::{Description, TrainingReport};
pub use model::Scratch;
pub use ngram::TEXT_BYTES_MAX;
pub use train::{Progress, TrainLinearError, train, train_until, train_with_progress};

use crate::container::{self, LoadStudentError, LoadStudentErrorKind, SaveStudentError, StudentKind};
use crate::hash::FileHash;
use crate::prediction::{Choice, Prediction};
pub(crate) use choose::choose;
use exponential::exp;
use lookup::FeatureLookup;
use model::Model;

/// A trained classifier. Immutable and shared freely between threads; each thread uses its own [`Scratch`].
#[derive(Debug, Clone)]
pub struct LinearStudent {
    model: Model,
    lookup: FeatureLookup,
    description: Description,
    /// The description in its original bytes.
    json: Vec<u8>,
    hash: FileHash,
}

impl LinearStudent {
    /// Classifies the first [`TEXT_BYTES_MAX`] bytes of a text. Allocates nothing once `scratch` was used for a text of
    /// that length.
    pub fn predict<'a>(&'a self, text: &str, scratch: &mut Scratch) -> Prediction<'a> {
        let known = self.model.logits(&self.lookup, text, scratch);
        choose(&self.model, &self.description.labels, &scratch.logits, known)
    }

    /// Returns the probabilities of all labels, in the labels' order.
    pub fn probabilities<'s>(&self, text: &str, scratch: &'s mut Scratch) -> &'s [f32] {
        self.model.logits(&self.lookup, text, scratch);
        let highest = scratch.logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let inverse = 1.0 / self.model.temperature;
        let mut total = 0.0;
        for logit in &mut scratch.logits {
            *logit = exp((*logit - highest) * inverse);
            total += *logit;
        }
        for probability in &mut scratch.logits {
            *probability /= total;
        }
        &scratch.logits
    }

    /// Returns the `count` most probable labels, the most probable first.
    pub fn top<'a>(&'a self, text: &str, count: usize, scratch: &mut Scratch) -> Vec<Choice<'a>> {
        let probabilities = self.probabilities(text, scratch);
        let choices = self.labels().iter().zip(probabilities).enumerate();
        let mut choices: Vec<Choice<'_>> = choices
            .map(|(index, (label, probability))| Choice { label, index, probability: *probability })
            .collect();
        choices.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        choices.truncate(count);
        choices
    }

    /// Returns whether one of the labels means that a text is out of scope.
    pub fn has_scope_label(&self) -> bool {
        self.description.labels.contains(&self.description.config.out_of_scope_label)
    }

    /// Returns every label it can answer with, in byte order.
    pub fn labels(&self) -> &[String] {
        &self.description.labels
    }

    /// Returns where it comes from and its results on held-out rows.
    pub fn describe(&self) -> &Description {
        &self.description
    }

    /// Returns the hash of the content. What was measured about a student holds for one hash only.
    pub fn hash(&self) -> FileHash {
        self.hash
    }

    /// Writes the student's file atomically.
    pub fn save(&self, path: &Path) -> Result<FileHash, SaveStudentError> {
        container::write(path, &self.to_bytes())?;
        Ok(self.hash)
    }

    /// Reads and checks a file that [`LinearStudent::save`] wrote.
    pub fn load(path: &Path) -> Result<Self, LoadStudentError> {
        let at = |kind| LoadStudentError { path: path.to_owned(), kind };
        Self::from_bytes(&container::read(path).map_err(at)?).map_err(at)
    }

    /// Returns the bytes of the student's file.
    pub fn to_bytes(&self) -> Vec<u8> {
        container::seal(StudentKind::Linear, &format::encode(&self.model, &self.json)).0
    }

    /// Like [`LinearStudent::load`], but from memory.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LoadStudentErrorKind> {
        let (kind, body, hash) = container::open(bytes)?;
        match kind {
            StudentKind::Linear => Self::from_body(body, hash),
            other => {
                Err(LoadStudentErrorKind::OtherKind { found: other.name(), wanted: "a linear classifier" })
            }
        }
    }

    /// Reads a student from a body whose hash was checked.
    pub(crate) fn from_body(body: &[u8], hash: FileHash) -> Result<Self, LoadStudentErrorKind> {
        let format::DecodedBody { model, lookup, description, json } = format::decode(body)?;
        Ok(Self { model, lookup, description, json, hash })
    }

    /// Makes a student from trained numbers. They pass through the file's format, so that training returns exactly what
    /// loading will; returns `None` if the format rejects them.
    pub(crate) fn assemble(model: &Model, description: &Description) -> Option<Self> {
        let body = format::encode(model, &serde_json::to_vec(description).ok()?);
        let (_, hash) = container::seal(StudentKind::Linear, &body);
        Self::from_body(&body, hash).ok()
    }
}
