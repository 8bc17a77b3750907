//! A tagger without a base: words, how they are written and what stands beside them, in a linear chain.
//!
//! It reads a text in tens of microseconds and learns from thousands of rows in seconds, on one core. What it cannot
//! know is what a word means that it has never seen: there an encoder helps.

pub(crate) mod features;
pub(crate) mod fit;
pub(crate) mod format;
pub(crate) mod scorer;
mod train;

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::certainty::Evidence;
use super::lattice::Steps;
use super::reading::{Found, Reader, Reading};
use super::{Field, SlotScore, TaggerReport};
use crate::container::{self, Kind, LoadStudentError, LoadStudentErrorKind, SaveStudentError};
use crate::hash::FileHash;
use crate::linear::Scratch;
use crate::seen::SeenTexts;
use crate::slots::SlotExample;
use scorer::Scorer;
pub(crate) use train::targets;
pub use train::{TaggerProgress, TrainTaggerError, WordChain, learn_words, train};

/// How a linear tagger is fitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinearTaggerConfig {
    /// Passes over the rows.
    pub passes: u32,
    /// How far the first step of a weight goes.
    pub rate: f32,
    /// How strongly weights are held at 0.
    pub penalty: f32,
    /// Words that must have a feature for it to count; 1 where there are fewer than a thousand rows.
    pub words_min: u32,
    /// Decides which rows are held out, and the order in which rows are learnt.
    pub seed: u64,
    /// Models that are fitted at a time; changes no result, and is not kept.
    #[serde(skip)]
    pub threads: usize,
}

impl LinearTaggerConfig {
    /// Returns what did best on held-out rows of two public sets of requests with slots.
    pub fn recommended() -> Self {
        Self { passes: 10, rate: 0.15, penalty: 4.0, words_min: 2, seed: 7, threads: 2 }
    }
}

/// What a linear tagger's file says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinearTaggerDescription {
    /// Program and version that trained it.
    pub created_by: String,
    /// How it was fitted.
    pub config: LinearTaggerConfig,
    /// Every slot it can fill, in byte order.
    pub slots: Vec<String>,
    /// What training measured.
    pub report: TaggerReport,
    /// SHA-256 of the training rows, in order, as hexadecimal digits.
    pub data_hash: String,
    /// Whether any training row had a context. A student that reads none is given none; files of older programs, which do
    /// not say, count as such.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reads_context: bool,
    /// Hashes of the training texts, so that nobody certifies on them by mistake.
    pub seen: SeenTexts,
}

/// A trained extractor that stands on nothing. Immutable and shared freely between threads.
#[derive(Debug, Clone)]
pub struct LinearTagger {
    model: Arc<Model>,
    body: Arc<[u8]>,
    hash: FileHash,
}

/// Everything a reading needs, the temperature already in its numbers.
#[derive(Debug)]
pub(crate) struct Model {
    scorer: Scorer,
    powers: Steps,
    description: LinearTaggerDescription,
}

impl LinearTagger {
    /// Reads a linear tagger's file and checks all of it.
    ///
    /// # Errors
    /// [`LoadStudentError`], when the file cannot be read or is not such a student's.
    pub fn load(path: &Path) -> Result<Self, LoadStudentError> {
        let load = || {
            let bytes = container::read(path)?;
            let (kind, body, hash) = container::open(&bytes)?;
            match kind {
                Kind::LinearTagger => Self::from_body(body, hash),
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

    /// Where it comes from, and how well it did on held-out rows.
    pub fn describe(&self) -> &LinearTaggerDescription {
        &self.model.description
    }

    /// Every slot it can fill, in byte order.
    pub fn slots(&self) -> &[String] {
        &self.model.description.slots
    }

    /// Names the content; what was measured about a student holds for one hash only.
    pub fn hash(&self) -> FileHash {
        self.hash
    }

    /// Writes the student's file: the path holds all of it or what it held before.
    ///
    /// # Errors
    /// [`SaveStudentError`], when the folder cannot be written.
    pub fn save(&self, path: &Path) -> Result<FileHash, SaveStudentError> {
        container::write(path, &self.to_bytes())?;
        Ok(self.hash)
    }

    /// The bytes of the student's file.
    pub fn to_bytes(&self) -> Vec<u8> {
        container::seal(Kind::LinearTagger, &self.body).0
    }

    /// Reads a student from the bytes of its file.
    ///
    /// # Errors
    /// [`LoadStudentErrorKind`], when they are not such a student's.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LoadStudentErrorKind> {
        match container::open(bytes)? {
            (Kind::LinearTagger, body, hash) => Self::from_body(body, hash),
            (other, ..) => Err(LoadStudentErrorKind::OtherKind { found: other.name(), wanted: "a tagger" }),
        }
    }
}

impl Model {
    /// The values of a text, what is known of them, and whether all of the text was read.
    fn read<'a>(
        &'a self,
        text: &'a str,
        context: &str,
        scratch: &mut Scratch,
    ) -> (Vec<Field<'a>>, Evidence, bool) {
        let super::TaggerScratch { seen, scores, lattice, .. } = &mut scratch.of_tagger;
        seen.look(text, context);
        self.scorer.score(seen, scores);
        let reader = Reader {
            slots: &self.description.slots,
            steps: &self.scorer.steps,
            powers: &self.powers,
            usual: &self.description.report.usual,
        };
        let Found { fields, mut evidence, .. } = reader.read(text, &seen.words, scores, lattice);
        evidence.unknown = self.scorer.unknown(seen);
        (fields, evidence, seen.is_whole)
    }
}
