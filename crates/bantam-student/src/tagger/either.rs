//! One type for both kinds of taggers.

use std::path::Path;

use super::{Certainty, LinearTagger, Reading, TaggerReport, TaggerStudent};
use crate::container::{self, LoadStudentError, LoadStudentErrorKind, StudentKind};
use crate::encoder::Bases;
use crate::hash::FileHash;
use crate::linear::Scratch;
use crate::seen::SeenTexts;

/// A student that finds values in texts.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Tagger {
    /// A chain over words, which takes microseconds.
    Linear(LinearTagger),
    /// A head on an encoder's states of words, which takes milliseconds.
    Encoder(Box<TaggerStudent>),
}

impl Tagger {
    /// Reads and checks a tagger's file of either kind. If the student has a base, it is looked for in the folder
    /// `base`, or else at the path that the file states relative to itself.
    ///
    /// # Errors
    /// [`LoadStudentError`] if the file or its base cannot be used, or the file is a classifier's.
    pub fn load(path: &Path, base: Option<&Path>, bases: &Bases) -> Result<Self, LoadStudentError> {
        let load = || {
            let bytes = container::read(path)?;
            let (kind, body, hash) = container::open(&bytes)?;
            match kind {
                StudentKind::LinearTagger => LinearTagger::from_body(body, hash).map(Self::Linear),
                StudentKind::Tagger => TaggerStudent::from_body(body, hash, path, base, bases)
                    .map(|student| Self::Encoder(Box::new(student))),
                StudentKind::Linear | StudentKind::Encoder | StudentKind::Tuned => {
                    Err(LoadStudentErrorKind::OtherKind { found: kind.name(), wanted: "a tagger" })
                }
            }
        };
        load().map_err(|kind| LoadStudentError { path: path.to_owned(), kind })
    }

    /// Finds the values in a text on this thread. The context is what was said before, or asked for; a student that was
    /// trained without contexts does not see it.
    pub fn read<'a>(&'a self, text: &'a str, context: &str, scratch: &mut Scratch) -> Reading<'a> {
        let context = self.visible_context(context);
        match self {
            Self::Linear(student) => student.read(text, context, scratch),
            Self::Encoder(student) => student.read(text, context, scratch),
        }
    }

    /// Returns the context if the student reads contexts, and nothing otherwise.
    pub(crate) fn visible_context<'s>(&self, said_before: &'s str) -> &'s str {
        if self.reads_context() { said_before } else { "" }
    }

    /// Returns every slot it can fill, in byte order.
    pub fn slots(&self) -> &[String] {
        match self {
            Self::Linear(student) => student.slots(),
            Self::Encoder(student) => student.slots(),
        }
    }

    /// Returns the hash of the content. What was measured about a student holds for one hash only.
    pub fn hash(&self) -> FileHash {
        match self {
            Self::Linear(student) => student.hash(),
            Self::Encoder(student) => student.hash(),
        }
    }

    /// Returns what training measured.
    pub fn report(&self) -> &TaggerReport {
        match self {
            Self::Linear(student) => &student.describe().report,
            Self::Encoder(student) => &student.describe().report,
        }
    }

    /// Returns the calibration of whole answers, if training fitted one.
    pub fn certainty(&self) -> Option<&Certainty> {
        self.report().certainty.as_ref()
    }

    /// Returns whether it was trained with contexts, and must be given them.
    pub fn reads_context(&self) -> bool {
        match self {
            Self::Linear(student) => student.describe().reads_context,
            Self::Encoder(student) => student.describe().reads_context,
        }
    }

    /// Returns whether a text equal to `text` in normalised form was trained on, in any context.
    pub fn has_seen(&self, text: &str) -> bool {
        let seen: &SeenTexts = match self {
            Self::Linear(student) => &student.describe().seen,
            Self::Encoder(student) => &student.describe().seen,
        };
        seen.contains(text)
    }
}
