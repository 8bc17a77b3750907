//! A text classifier over the vector of an encoder, alone or beside the n-grams of a linear student.
//!
//! The encoder, the *base*, is a BERT or ModernBERT of sentence-transformers, such as all-MiniLM-L6-v2. It is either used as it is,
//! or with low-rank changes that a trainer found and [`assemble_tuned`] makes a student of. The base is not in the
//! student's file: the file names it by its hashes, and students that share a base share its memory.
//! What is learnt is a multinomial logistic regression, calibrated as a linear student is, with the same
//! out-of-scope rules; it takes seconds. A vector knows that "nicked" and "stolen" are near, which n-grams cannot;
//! n-grams know product names that the base has never read; together they beat either.
//!
//! Of a text, the n-grams see the first [`crate::linear::TEXT_BYTES_MAX`] bytes, the base the first
//! [`BaseIdentity::tokens_max`] tokens.

pub(crate) mod adapter;
mod base;
mod config;
mod describe;
mod folder;
mod format;
mod identity;
mod queue;
mod reader;
mod train;
mod tuned;

use std::path::Path;
use std::sync::Arc;

pub use adapter::{AdapterDescription, ModuleDescription};
pub(crate) use base::BaseScratch;
pub use base::{Bases, EncoderBase};
pub use config::{EncoderConfig, Features};
pub use describe::EncoderDescription;
pub use folder::{BaseParts, LoadBaseError, LoadBaseErrorKind};
pub use identity::{BaseIdentity, BasePooling, BasePrecision};
pub(crate) use queue::Embedding;
pub use reader::{TextReader, TextReaderError};
pub use train::{EncoderProgress, train};
pub use tuned::{Blend, TunedHead, TunedParts, assemble_tuned, blend};

use bantam_engine::EncoderAdapter;

use crate::container::{self, Kind, LoadStudentErrorKind, SaveStudentError};
use crate::hash::FileHash;
use crate::linear::choose;
use crate::linear::matrix::{add_dense, stride};
use crate::linear::model::{Model, Scratch};
use crate::prediction::Prediction;
use format::Head;

/// A trained classifier with its base. Immutable and shared freely between threads.
#[derive(Debug, Clone)]
pub struct EncoderStudent {
    head: Head,
    body: Arc<[u8]>,
    hash: FileHash,
    base: Arc<EncoderBase>,
}

impl EncoderStudent {
    /// Classifies a text. Computes the text's vector on this thread and the base's, which takes milliseconds.
    pub fn predict<'a>(&'a self, text: &str, scratch: &mut Scratch) -> Prediction<'a> {
        let mut of_base = std::mem::take(&mut scratch.of_base);
        let vector = self.base.embed(text, &mut of_base);
        let prediction = self.predict_with(text, vector, scratch);
        scratch.of_base = of_base;
        prediction
    }

    /// The text's vector, computed by the base's own thread; None when too many wait.
    pub(crate) fn embed_soon(&self, text: &str) -> Option<Embedding> {
        self.base.embed_soon(text).ok()
    }

    /// Classifies a text whose vector is known; takes microseconds.
    pub(crate) fn predict_with<'a>(
        &'a self,
        text: &str,
        vector: &[f32],
        scratch: &mut Scratch,
    ) -> Prediction<'a> {
        let Head { model, lookup, dense, description, .. } = &self.head;
        model.logits(lookup, text, scratch);
        scratch.logits.resize(stride(model.classes()), 0.0);
        add_dense(&mut scratch.logits, dense, vector);
        let logits = &scratch.logits[..model.classes()];
        choose(model, &description.labels, logits, !text.trim().is_empty())
    }

    /// Returns whether one of the labels means that a text is none of the task's.
    pub fn has_scope_label(&self) -> bool {
        let description = self.describe();
        description.labels.contains(&description.config.linear.out_of_scope_label)
    }

    /// Every label it can answer with, in byte order.
    pub fn labels(&self) -> &[String] {
        &self.describe().labels
    }

    /// Where it comes from, on which base it stands, and how well it did on held-out rows.
    pub fn describe(&self) -> &EncoderDescription {
        &self.head.description
    }

    /// How the base was changed, if it was.
    pub fn adapter(&self) -> Option<&EncoderAdapter> {
        self.head.adapter.as_deref()
    }

    /// The base, in memory.
    pub fn base(&self) -> &Arc<EncoderBase> {
        &self.base
    }

    /// Names the content, the base and its precision included; what was measured about a student holds for one hash
    /// only.
    pub fn hash(&self) -> FileHash {
        self.hash
    }

    /// Writes the student's file: the path holds all of it or what it held before.
    pub fn save(&self, path: &Path) -> Result<FileHash, SaveStudentError> {
        container::write(path, &self.to_bytes())?;
        Ok(self.hash)
    }

    /// The bytes of the student's file.
    pub fn to_bytes(&self) -> Vec<u8> {
        container::seal(kind(&self.head.description), &self.body).0
    }

    /// A student from a body whose hash is known to be right. The base is looked for in `folder` or, where none is
    /// named, where it lay beside the student's `file`.
    pub(crate) fn from_body(
        body: &[u8],
        hash: FileHash,
        file: &Path,
        folder: Option<&Path>,
        bases: &Bases,
    ) -> Result<Self, LoadStudentErrorKind> {
        let head = format::decode(body)?;
        let beside = || file.parent().unwrap_or(Path::new("")).join(&head.description.base_path);
        let folder = folder.map_or_else(beside, Path::to_owned);
        let base =
            bases.open_meant(&folder, &head.description.base, head.adapter.as_deref()).map_err(Box::new)?;
        Ok(Self { head, body: body.into(), hash, base })
    }

    /// What a body says about its student, without the base.
    pub(crate) fn description(body: &[u8]) -> Result<EncoderDescription, LoadStudentErrorKind> {
        Ok(format::decode(body)?.description)
    }

    /// A student from fresh numbers. They pass through the file's form, so what training returns is what loading
    /// will return; None when that form refuses them.
    fn assemble(
        model: &Model,
        dense: &[f32],
        adapter: Option<&EncoderAdapter>,
        description: &EncoderDescription,
        base: &Arc<EncoderBase>,
    ) -> Option<Self> {
        let body = format::encode(model, dense, adapter, &serde_json::to_vec(description).ok()?);
        let (_, hash) = container::seal(kind(description), &body);
        let head = format::decode(&body).ok()?;
        Some(Self { head, body: body.into(), hash, base: Arc::clone(base) })
    }
}

/// What a student's file is called: files without changes are written as older programs read them.
fn kind(description: &EncoderDescription) -> Kind {
    if description.adapter.is_some() { Kind::Tuned } else { Kind::Encoder }
}
