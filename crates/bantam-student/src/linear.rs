//! A linear text classifier: TF-IDF over word and character n-grams, then multinomial logistic regression.
//!
//! What scikit-learn builds from two `TfidfVectorizer`s and a `LogisticRegression`, with two differences: a
//! temperature fitted on held-out predictions makes the probabilities honest, and weights are stored as bytes, which
//! costs no measurable accuracy and makes a prediction a matter of microseconds.
//!
//! A text is out of scope when the label that means so wins (rows may carry one, `oos` unless the settings say
//! otherwise), when no in-scope label is as likely as a threshold learnt from held-out rows, or when the text holds
//! no known n-gram. The threshold is set so that a fixed small share of rightly labelled rows falls below it; with
//! no out-of-scope rows to learn from it is all there is, and it catches only texts that look like nothing known.

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
pub(crate) mod mixer;
pub(crate) mod model;
mod ngram;
pub(crate) mod parallel;
mod solve;
pub(crate) mod train;
mod vocabulary;

use std::path::Path;

pub use config::LinearConfig;
pub use describe::{Description, TrainingReport};
pub use model::Scratch;
pub use ngram::TEXT_BYTES_MAX;
pub use train::{Progress, TrainLinearError, train, train_with_progress};

use crate::container::{self, Kind, LoadStudentError, LoadStudentErrorKind, SaveStudentError};
use crate::hash::FileHash;
use crate::prediction::{Choice, Prediction};
pub(crate) use choose::choose;
use exponential::exp;
use lookup::Lookup;
use model::Model;

/// A trained classifier. Immutable and shared freely between threads; each thread brings its own [`Scratch`].
#[derive(Debug, Clone)]
pub struct LinearStudent {
    model: Model,
    lookup: Lookup,
    description: Description,
    /// The description as it was written.
    json: Vec<u8>,
    hash: FileHash,
}

impl LinearStudent {
    /// Classifies a text. Of a long one the first [`TEXT_BYTES_MAX`] bytes count. Allocates nothing once `scratch`
    /// has been used for a text as long.
    pub fn predict<'a>(&'a self, text: &str, scratch: &mut Scratch) -> Prediction<'a> {
        let known = self.model.logits(&self.lookup, text, scratch);
        choose(&self.model, &self.description.labels, &scratch.logits, known)
    }

    /// The probabilities of all labels, in the labels' order.
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

    /// The `count` likeliest labels, likeliest first.
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

    /// Returns whether one of the labels means that a text is none of the task's.
    pub fn has_scope_label(&self) -> bool {
        self.description.labels.contains(&self.description.config.out_of_scope_label)
    }

    /// Every label it can answer with, in byte order.
    pub fn labels(&self) -> &[String] {
        &self.description.labels
    }

    /// Where it comes from and how well it did on held-out rows.
    pub fn describe(&self) -> &Description {
        &self.description
    }

    /// Names the content; what was measured about a student holds for one hash only.
    pub fn hash(&self) -> FileHash {
        self.hash
    }

    /// Writes the student's file: the path holds all of it or what it held before.
    pub fn save(&self, path: &Path) -> Result<FileHash, SaveStudentError> {
        container::write(path, &self.to_bytes())?;
        Ok(self.hash)
    }

    /// Reads a file that [`LinearStudent::save`] wrote, and checks all of it.
    pub fn load(path: &Path) -> Result<Self, LoadStudentError> {
        let at = |kind| LoadStudentError { path: path.to_owned(), kind };
        Self::from_bytes(&container::read(path).map_err(at)?).map_err(at)
    }

    /// The bytes of the student's file.
    pub fn to_bytes(&self) -> Vec<u8> {
        container::seal(Kind::Linear, &format::encode(&self.model, &self.json)).0
    }

    /// [`LinearStudent::load`] from memory.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LoadStudentErrorKind> {
        let (kind, body, hash) = container::open(bytes)?;
        match kind {
            Kind::Linear => Self::from_body(body, hash),
            other => {
                Err(LoadStudentErrorKind::OtherKind { found: other.name(), wanted: "a linear classifier" })
            }
        }
    }

    /// A student from a body whose hash is known to be right.
    pub(crate) fn from_body(body: &[u8], hash: FileHash) -> Result<Self, LoadStudentErrorKind> {
        let format::Decoded { model, lookup, description, json } = format::decode(body)?;
        Ok(Self { model, lookup, description, json, hash })
    }

    /// A student from fresh numbers. They pass through the file's form, so what training returns is what loading
    /// will return; None when that form refuses them.
    pub(crate) fn assemble(model: &Model, description: &Description) -> Option<Self> {
        let body = format::encode(model, &serde_json::to_vec(description).ok()?);
        let (_, hash) = container::seal(Kind::Linear, &body);
        Self::from_body(&body, hash).ok()
    }
}
