//! A text classifier over the vector of an encoder, alone or combined with the n-grams of a linear student.
//!
//! The encoder, called the *base*, is a BERT or ModernBERT in the format of sentence-transformers, such as
//! all-MiniLM-L6-v2. It is used either unchanged or with a low-rank adapter that a trainer found; [`assemble_tuned`]
//! makes a student of the latter. The base is not in the student's file: the file identifies it by its hashes, and
//! students that share a base share its memory. Training fits a multinomial logistic regression in seconds, with the
//! calibration and out-of-scope rules of a linear student. A vector knows that "nicked" and "stolen" are similar, which
//! n-grams cannot; n-grams know product names that the base has never read; together they beat either.
//!
//! The n-grams see the first [`crate::linear::TEXT_BYTES_MAX`] bytes of a text, the base the first
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
pub(crate) use queue::{PendingEmbedding, QueueError};
pub use reader::{TextReader, TextReaderError};
pub use train::{EncoderProgress, train, train_until};
pub use tuned::{Blend, TunedHead, TunedParts, assemble_tuned, blend};

use bantam_engine::EncoderAdapter;

use crate::container::{self, LoadStudentErrorKind, SaveStudentError, StudentKind};
use crate::hash::FileHash;
use crate::linear::choose;
use crate::linear::matrix::{add_dense, stride};
use crate::linear::model::{Model, Scratch};
use crate::prediction::Prediction;
use format::EncoderHead;

/// A trained classifier with its base. Immutable and shared freely between threads.
#[derive(Debug, Clone)]
pub struct EncoderStudent {
    head: EncoderHead,
    body: Arc<[u8]>,
    hash: FileHash,
    base: Arc<EncoderBase>,
}

impl EncoderStudent {
    /// Classifies a text. Computes the text's vector on this thread and the pool's, which takes milliseconds.
    pub fn predict<'a>(&'a self, text: &str, scratch: &mut Scratch) -> Prediction<'a> {
        let mut base_scratch = std::mem::take(&mut scratch.base);
        let vector = self.base.embed(text, &mut base_scratch);
        let prediction = self.predict_with(text, vector, scratch);
        scratch.base = base_scratch;
        prediction
    }

    /// Queues a text for the base's own thread, which computes its vector.
    ///
    /// # Errors
    /// [`QueueError`] if too many requests wait, or the thread has ended.
    pub(crate) fn queue_embedding(&self, text: &str) -> Result<PendingEmbedding, QueueError> {
        self.base.queue_embedding(text)
    }

    /// Classifies a text whose vector is known, which takes microseconds.
    pub(crate) fn predict_with<'a>(
        &'a self,
        text: &str,
        vector: &[f32],
        scratch: &mut Scratch,
    ) -> Prediction<'a> {
        let EncoderHead { model, lookup, dense, description, .. } = &self.head;
        model.logits(lookup, text, scratch);
        scratch.logits.resize(stride(model.classes()), 0.0);
        add_dense(&mut scratch.logits, dense, vector);
        let logits = &scratch.logits[..model.classes()];
        choose(model, &description.labels, logits, !text.trim().is_empty())
    }

    /// Returns whether one of the labels means that a text is out of scope.
    pub fn has_scope_label(&self) -> bool {
        let description = self.describe();
        description.labels.contains(&description.config.linear.out_of_scope_label)
    }

    /// Returns every label it can answer with, in byte order.
    pub fn labels(&self) -> &[String] {
        &self.describe().labels
    }

    /// Returns where it comes from, its base, and its results on held-out rows.
    pub fn describe(&self) -> &EncoderDescription {
        &self.head.description
    }

    /// Returns the base's adapter, if the base was tuned.
    pub fn adapter(&self) -> Option<&EncoderAdapter> {
        self.head.adapter.as_deref()
    }

    /// Returns the loaded base.
    pub fn base(&self) -> &Arc<EncoderBase> {
        &self.base
    }

    /// Returns the hash of the content, including the base's identity and precision. What was measured about a student
    /// holds for one hash only.
    pub fn hash(&self) -> FileHash {
        self.hash
    }

    /// Writes the student's file atomically.
    pub fn save(&self, path: &Path) -> Result<FileHash, SaveStudentError> {
        container::write(path, &self.to_bytes())?;
        Ok(self.hash)
    }

    /// Returns the bytes of the student's file.
    pub fn to_bytes(&self) -> Vec<u8> {
        container::seal(kind(&self.head.description), &self.body).0
    }

    /// Reads a student from a body whose hash was checked. The base is looked for in `folder`, or else at the path that
    /// the student's `file` states relative to itself.
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
        let base = bases
            .open_expected(&folder, &head.description.base, head.adapter.as_deref())
            .map_err(Box::new)?;
        Ok(Self { head, body: body.into(), hash, base })
    }

    /// Returns a body's description without opening the base.
    pub(crate) fn description(body: &[u8]) -> Result<EncoderDescription, LoadStudentErrorKind> {
        Ok(format::decode(body)?.description)
    }

    /// Makes a student from trained numbers. They pass through the file's format, so that training returns exactly what
    /// loading will; returns `None` if the format rejects them.
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

/// Returns the kind for a student's file; a file without an adapter stays readable by older programs.
fn kind(description: &EncoderDescription) -> StudentKind {
    if description.adapter.is_some() { StudentKind::Tuned } else { StudentKind::Encoder }
}
