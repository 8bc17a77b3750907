//! Finds values in a text: an encoder's state of every word, a head that says which slot it belongs to, and the
//! likeliest sequence of tags that makes whole values.
//!
//! Values are copied from the text, never made up: a [`Field`] says where it stands. As with [`crate::encoder`], the
//! base is not in the file, but its hashes and the changes that a trainer found are.

mod format;
mod score;
mod tags;
mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bantam_engine::EncoderAdapter;
use serde::{Deserialize, Serialize};

use crate::container::{self, Kind, LoadStudentError, LoadStudentErrorKind, SaveStudentError};
use crate::encoder::{AdapterDescription, BaseIdentity, BaseScratch, Bases, EncoderBase};
use crate::hash::FileHash;
use crate::linear::Scratch;
use crate::linear::calibrate::{self, HeldOut};
use crate::linear::train::CREATED_BY;
use crate::seen::SeenTexts;
use crate::slots::SlotExample;
pub use score::SlotScore;
pub use tags::Tags;
pub use words::{Sequence, TaggedWord, sequence};

/// A value found in a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Field<'a> {
    /// The slot that it fills.
    pub name: &'a str,
    /// The value, as it stands in the text.
    pub value: &'a str,
    /// Its first byte in the text.
    pub start: usize,
    /// The byte after its last.
    pub end: usize,
    /// How sure the student is of its least sure word, as a calibrated probability.
    pub confidence: f32,
}

/// What a tagger's file says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaggerDescription {
    /// Program and version that trained it.
    pub created_by: String,
    /// The base, whose weights are not in the file.
    pub base: BaseIdentity,
    /// Where the base lay when the student was saved, seen from the folder of the student's file.
    pub base_path: PathBuf,
    /// How the base was changed.
    pub adapter: AdapterDescription,
    /// Every slot it can fill, in byte order.
    pub slots: Vec<String>,
    /// What training measured.
    pub report: TaggerReport,
    /// SHA-256 of the training rows, in order, as hexadecimal digits.
    pub data_hash: String,
    /// Hashes of the training texts, so that nobody certifies on them by mistake.
    pub seen: SeenTexts,
}

/// What training a tagger measured. The `held_out_` figures come from rows that the judged model had not seen, with
/// the base as it is served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaggerReport {
    /// Rows trained on.
    pub rows: u64,
    /// Values in them.
    pub values: u64,
    /// Held-out rows that judged.
    pub held_out_rows: u64,
    /// Micro-averaged F1 of slot and exact place.
    pub held_out_f1: f64,
    /// Share of values found that are right.
    pub held_out_precision: f64,
    /// Share of right values that are found.
    pub held_out_recall: f64,
    /// Logits are divided by this.
    pub temperature: f32,
    /// Passes over the rows.
    pub passes: u64,
}

/// A trained extractor with its base. Immutable and shared freely between threads.
#[derive(Debug, Clone)]
pub struct TaggerStudent {
    head: format::Head,
    tags: Tags,
    body: Arc<[u8]>,
    hash: FileHash,
    base: Arc<EncoderBase>,
}

/// What a trainer found.
#[derive(Debug, Clone, Copy)]
pub struct TaggerParts<'t> {
    /// The base, its changes added, in the precision it will be served in.
    pub base: &'t Arc<EncoderBase>,
    /// The changes.
    pub adapter: &'t EncoderAdapter,
    /// A row of the base's width for each tag, in the order of [`Tags`].
    pub weights: &'t [f32],
    /// One for each tag.
    pub bias: &'t [f32],
}

impl TaggerStudent {
    /// Makes a student of what was found on `rows`, whose base it will look for at `base_path`; None when the numbers
    /// are none that a file may hold.
    pub fn assemble(
        rows: &[SlotExample],
        tags: &Tags,
        parts: TaggerParts<'_>,
        base_path: PathBuf,
        report: TaggerReport,
    ) -> Option<Self> {
        let description = TaggerDescription {
            created_by: CREATED_BY.to_owned(),
            base: parts.base.identity().clone(),
            base_path,
            adapter: AdapterDescription::of(parts.adapter),
            slots: tags.slots().to_vec(),
            report,
            data_hash: data_hash(rows),
            seen: SeenTexts::of_texts(rows.iter().map(|row| row.text.as_str())),
        };
        let json = serde_json::to_vec(&description).ok()?;
        let body = format::encode(&json, parts.weights, parts.bias, parts.adapter);
        let (_, hash) = container::seal(Kind::Tagger, &body);
        let head = format::decode(&body).ok()?;
        Some(Self { head, tags: tags.clone(), body: body.into(), hash, base: Arc::clone(parts.base) })
    }

    /// Reads a tagger's file and checks all of it. The base is looked for in the folder `base` or, where none is
    /// named, where it lay beside the file when the student was trained.
    pub fn load(path: &Path, base: Option<&Path>, bases: &Bases) -> Result<Self, LoadStudentError> {
        Self::load_kind(path, base, bases).map_err(|kind| LoadStudentError { path: path.to_owned(), kind })
    }

    fn load_kind(path: &Path, folder: Option<&Path>, bases: &Bases) -> Result<Self, LoadStudentErrorKind> {
        let bytes = container::read(path)?;
        let (kind, body, hash) = container::open(&bytes)?;
        if kind != Kind::Tagger {
            return Err(LoadStudentErrorKind::OtherKind);
        }
        let head = format::decode(body)?;
        let beside = || path.parent().unwrap_or(Path::new("")).join(&head.description.base_path);
        let folder = folder.map_or_else(beside, Path::to_owned);
        let base =
            bases.open_meant(&folder, &head.description.base, Some(&head.adapter)).map_err(Box::new)?;
        let tags = Tags::new(head.description.slots.clone());
        Ok(Self { head, tags, body: body.into(), hash, base })
    }

    /// What a body says about its student, without the base.
    pub(crate) fn description(body: &[u8]) -> Result<TaggerDescription, LoadStudentErrorKind> {
        Ok(format::decode(body)?.description)
    }

    /// Finds the values in a text. Computes the text's states on this thread and the base's, which takes
    /// milliseconds. What of a text is beyond the base's tokens is not read.
    pub fn extract<'a>(&'a self, text: &'a str, context: &str, scratch: &mut Scratch) -> Vec<Field<'a>> {
        let (words, mut logits) = self.logits(text, context, &mut scratch.of_base);
        let inverse = 1.0 / self.head.description.report.temperature;
        logits.iter_mut().for_each(|logit| *logit *= inverse);
        self.tags.fields(text, &words, &logits)
    }

    /// The words of a text and each one's logits, before temperature.
    pub(crate) fn logits(
        &self,
        text: &str,
        context: &str,
        scratch: &mut BaseScratch,
    ) -> (Vec<TaggedWord>, Vec<f32>) {
        let tokens_max = self.base.identity().tokens_max as usize;
        let Sequence { ids, words } = sequence(self.base.tokenizer(), text, context, tokens_max);
        let states = self.base.states(&ids, scratch);
        let width = self.base.identity().width as usize;
        let mut logits = Vec::with_capacity(words.len() * self.tags.len());
        for word in &words {
            let state = states.get(word.token * width..(word.token + 1) * width).unwrap_or_default();
            for (weights, bias) in self.head.weights.chunks_exact(width).zip(&self.head.bias) {
                logits.push(
                    bias + weights.iter().zip(state).map(|(weight, number)| weight * number).sum::<f32>(),
                );
            }
        }
        (words, logits)
    }

    /// Returns the temperature under which the words' right tags on `rows` are likeliest, the share of the words whose
    /// likeliest tag is right, each on its own, and how many words there are.
    pub fn calibrate(&self, rows: &[SlotExample]) -> (f32, f64, usize) {
        let mut scratch = Scratch::default();
        let mut held_out = HeldOut { classes: self.tags.len(), ..HeldOut::default() };
        for row in rows {
            let (words, logits) = self.logits(&row.text, &row.context, &mut scratch.of_base);
            held_out.targets.extend(self.tags.of_words(&words, &row.spans));
            held_out.logits.extend(logits);
        }
        let temperature = held_out.best_temperature();
        let right = calibrate::accuracy(&held_out.outcomes(1.0, None));
        (temperature, right, held_out.targets.len())
    }

    /// Scores the student on rows.
    pub fn score(&self, rows: &[SlotExample]) -> SlotScore {
        let mut scratch = Scratch::default();
        let mut score = SlotScore::default();
        rows.iter().for_each(|row| score.add(row, &self.extract(&row.text, &row.context, &mut scratch)));
        score
    }

    /// Where it comes from, on which base it stands, and how well it did on held-out rows.
    pub fn describe(&self) -> &TaggerDescription {
        &self.head.description
    }

    /// How its base was changed.
    pub fn adapter(&self) -> &EncoderAdapter {
        &self.head.adapter
    }

    /// Every slot it can fill, in byte order.
    pub fn slots(&self) -> &[String] {
        &self.head.description.slots
    }

    /// Names the content; what was measured about a student holds for one hash only.
    pub fn hash(&self) -> FileHash {
        self.hash
    }

    /// Writes the student's file: the path holds all of it or what it held before.
    pub fn save(&self, path: &Path) -> Result<FileHash, SaveStudentError> {
        container::write(path, &container::seal(Kind::Tagger, &self.body).0)?;
        Ok(self.hash)
    }
}

/// Returns the hash that names rows: lengths keep two texts from being mistaken for one.
pub fn data_hash(rows: &[SlotExample]) -> String {
    let mut bytes = Vec::new();
    let mut part = |text: &str| {
        bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(text.as_bytes());
    };
    for row in rows {
        part(&row.text);
        part(&row.context);
        for span in &row.spans {
            part(&span.slot);
            part(&format!("{}..{}", span.range.start, span.range.end));
        }
    }
    FileHash::of(&[&bytes]).to_hex()
}
