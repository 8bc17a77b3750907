//! A tagger without a base: a linear chain over words, their spelling and their neighbours.
//!
//! It reads a text in tens of microseconds and trains on thousands of rows in seconds, on one core. It cannot know the
//! meaning of words that it has never seen; an encoder helps with those.

pub(crate) mod features;
pub(crate) mod fit;
pub(crate) mod format;
pub(crate) mod scorer;
mod train;

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::certainty::Evidence;
use super::lattice::Transitions;
use super::reading::{Extraction, Reader, Reading};
use super::{Field, SlotScore, TaggerReport};
use crate::container::{self, LoadStudentError, LoadStudentErrorKind, SaveStudentError, StudentKind};
use crate::hash::FileHash;
use crate::linear::Scratch;
use crate::seen::SeenTexts;
use crate::slots::SlotExample;
use scorer::Scorer;
pub(crate) use train::targets;
pub use train::{TaggerProgress, TrainTaggerError, WordChain, learn_words, train, train_until};

/// Settings for training a linear tagger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinearTaggerConfig {
    /// Passes over the rows.
    pub passes: u32,
    /// The initial learning rate of a weight (AdaGrad).
    pub rate: f32,
    /// L2 regularisation strength.
    pub penalty: f32,
    /// The fewest words that must have a feature for it to count; 1 is used for fewer than a thousand rows.
    pub words_min: u32,
    /// Decides which rows are held out, and the order of rows in training.
    pub seed: u64,
    /// The number of models fitted at a time. It does not change the result and is not recorded.
    #[serde(skip)]
    pub threads: usize,
}

impl LinearTaggerConfig {
    /// Returns the settings that were best on held-out rows of two public data sets of requests with slots.
    pub fn recommended() -> Self {
        Self { passes: 10, rate: 0.15, penalty: 4.0, words_min: 2, seed: 7, threads: 2 }
    }
}

/// The description in a linear tagger's file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinearTaggerDescription {
    /// Program and version that trained it.
    pub created_by: String,
    /// The settings it was trained with.
    pub config: LinearTaggerConfig,
    /// Every slot it can fill, in byte order.
    pub slots: Vec<String>,
    /// What training measured.
    pub report: TaggerReport,
    /// SHA-256 of the training rows, in order, as hexadecimal digits.
    pub data_hash: String,
    /// Whether any training row had a context. A student that reads no context is given none. In files of older
    /// programs this is missing, which means false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reads_context: bool,
    /// Hashes of the training texts, so that they are not used for certification by mistake.
    pub seen: SeenTexts,
}

/// A trained tagger without a base. Immutable and shared freely between threads.
#[derive(Debug, Clone)]
pub struct LinearTagger {
    model: Arc<LinearTaggerModel>,
    body: Arc<[u8]>,
    hash: FileHash,
}

/// Everything that a reading needs; all numbers are already divided by the temperature.
#[derive(Debug)]
pub(crate) struct LinearTaggerModel {
    scorer: Scorer,
    exponentials: Transitions,
    description: LinearTaggerDescription,
}

impl LinearTagger {
    /// Reads and checks a linear tagger's file.
    ///
    /// # Errors
    /// [`LoadStudentError`] if the file cannot be read or is not a linear tagger's.
    pub fn load(path: &Path) -> Result<Self, LoadStudentError> {
        let load = || {
            let bytes = container::read(path)?;
            let (kind, body, hash) = container::open(&bytes)?;
            match kind {
                StudentKind::LinearTagger => Self::from_body(body, hash),
                other => Err(LoadStudentErrorKind::OtherKind { found: other.name(), wanted: "a tagger" }),
            }
        };
        load().map_err(|kind| LoadStudentError { path: path.to_owned(), kind })
    }

    pub(crate) fn from_body(body: &[u8], hash: FileHash) -> Result<Self, LoadStudentErrorKind> {
        Ok(Self { model: Arc::new(format::decode(body)?), body: body.into(), hash })
    }

    /// Finds the values in a text. The context is what was said before, or asked for.
    pub fn read<'a>(&'a self, text: &'a str, context: &str, scratch: &mut Scratch) -> Reading<'a> {
        let (fields, evidence, is_whole) = self.model.read(text, context, scratch);
        let certainty = self.model.description.report.certainty.as_ref();
        Reading::new(fields, &evidence, certainty, is_whole)
    }

    /// Scores the student on rows.
    pub fn score(&self, rows: &[SlotExample]) -> SlotScore {
        let mut scratch = Scratch::default();
        let mut score = SlotScore::default();
        rows.iter().for_each(|row| score.add(row, &self.read(&row.text, &row.context, &mut scratch).fields));
        score
    }

    /// Returns where it comes from and its results on held-out rows.
    pub fn describe(&self) -> &LinearTaggerDescription {
        &self.model.description
    }

    /// Returns every slot it can fill, in byte order.
    pub fn slots(&self) -> &[String] {
        &self.model.description.slots
    }

    /// Returns the hash of the content. What was measured about a student holds for one hash only.
    pub fn hash(&self) -> FileHash {
        self.hash
    }

    /// Writes the student's file atomically.
    ///
    /// # Errors
    /// [`SaveStudentError`] if the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<FileHash, SaveStudentError> {
        container::write(path, &self.to_bytes())?;
        Ok(self.hash)
    }

    /// Returns the bytes of the student's file.
    pub fn to_bytes(&self) -> Vec<u8> {
        container::seal(StudentKind::LinearTagger, &self.body).0
    }

    /// Reads a student from the bytes of its file.
    ///
    /// # Errors
    /// [`LoadStudentErrorKind`] if they are not a linear tagger's.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LoadStudentErrorKind> {
        match container::open(bytes)? {
            (StudentKind::LinearTagger, body, hash) => Self::from_body(body, hash),
            (other, ..) => Err(LoadStudentErrorKind::OtherKind { found: other.name(), wanted: "a tagger" }),
        }
    }
}

impl LinearTaggerModel {
    /// Returns the values of a text, their evidence, and whether all of the text was read.
    fn read<'a>(
        &'a self,
        text: &'a str,
        context: &str,
        scratch: &mut Scratch,
    ) -> (Vec<Field<'a>>, Evidence, bool) {
        let super::TaggerScratch { features, scores, lattice, .. } = &mut scratch.tagger;
        features.set(text, context);
        self.scorer.score(features, scores);
        let reader = Reader {
            slots: &self.description.slots,
            transitions: &self.scorer.transitions,
            exponentials: &self.exponentials,
            usual: &self.description.report.usual,
        };
        let Extraction { fields, mut evidence, .. } = reader.read(text, &features.words, scores, lattice);
        evidence.unknown = self.scorer.unknown(features);
        (fields, evidence, features.is_whole)
    }
}
