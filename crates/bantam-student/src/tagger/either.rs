//! A tagger of either kind, behind one face.

use std::path::Path;

use super::{Certainty, LinearTagger, Reading, TaggerReport, TaggerStudent};
use crate::container::{self, Kind, LoadStudentError, LoadStudentErrorKind};
use crate::encoder::Bases;
use crate::hash::FileHash;
use crate::linear::Scratch;
use crate::seen::SeenTexts;

/// A student that finds values in texts.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Tagger {
    /// Over words: microseconds.
    Linear(LinearTagger),
    /// Over an encoder's states of words: milliseconds.
    Encoder(Box<TaggerStudent>),
}

impl Tagger {
    /// Reads a tagger's file of either kind, and checks all of it. A base, where the student stands on one, is looked for
    /// in the folder `base` or, where none is named, where it lay beside the file when the student was trained.
    ///
    /// # Errors
    /// [`LoadStudentError`], when the file or its base cannot be used; a classifier's is refused by name.
    pub fn load(path: &Path, base: Option<&Path>, bases: &Bases) -> Result<Self, LoadStudentError> {
        let load = || {
            let bytes = container::read(path)?;
            let (kind, body, hash) = container::open(&bytes)?;
            match kind {
                Kind::LinearTagger => LinearTagger::from_body(body, hash).map(Self::Linear),
                Kind::Tagger => TaggerStudent::from_body(body, hash, path, base, bases)
                    .map(|student| Self::Encoder(Box::new(student))),
                Kind::Linear | Kind::Encoder | Kind::Tuned => {
                    Err(LoadStudentErrorKind::OtherKind { found: kind.name(), wanted: "a tagger" })
                }
            }
        };
        load().map_err(|kind| LoadStudentError { path: path.to_owned(), kind })
    }

    /// Finds the values in a text, on this thread. The context is what was said before, or asked for; a student that learnt
    /// without any sees none.
    pub fn read<'a>(&'a self, text: &'a str, context: &str, scratch: &mut Scratch) -> Reading<'a> {
        let context = self.seen_of(context);
        match self {
            Self::Linear(student) => student.read(text, context, scratch),
            Self::Encoder(student) => student.read(text, context, scratch),
        }
    }

    /// What the student sees of what was said before a text.
    pub(crate) fn seen_of<'s>(&self, said_before: &'s str) -> &'s str {
        if self.reads_context() { said_before } else { "" }
    }

    /// Every slot it can fill, in byte order.
    pub fn slots(&self) -> &[String] {
        match self {
            Self::Linear(student) => student.slots(),
            Self::Encoder(student) => student.slots(),
        }
    }

    /// Names the content; what was measured about a student holds for one hash only.
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

    /// Returns how sure whole answers are, where training has measured it.
    pub fn certainty(&self) -> Option<&Certainty> {
        self.report().certainty.as_ref()
    }

    /// Returns whether it has learnt with what was said before a text, and is to be given that.
    pub fn reads_context(&self) -> bool {
        match self {
            Self::Linear(student) => student.describe().reads_context,
            Self::Encoder(student) => student.describe().reads_context,
        }
    }

    /// Returns whether a text that reads like `text` was trained on, in whatever context.
    pub fn has_seen(&self, text: &str) -> bool {
        let seen: &SeenTexts = match self {
            Self::Linear(student) => &student.describe().seen,
            Self::Encoder(student) => &student.describe().seen,
        };
        seen.contains(text)
    }
}
