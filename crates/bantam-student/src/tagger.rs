//! Finds values in a text: scores of every word for every slot, and the likeliest sequence of tags that makes whole
//! values.
//!
//! A [`TaggerStudent`] takes the scores from an encoder's state of every word, a [`LinearTagger`] from the words
//! themselves; a [`Tagger`] is either of them. Values are copied from the text, never made up: a [`Field`] says where it stands. As with [`crate::encoder`], the
//! base is not in the file, but its hashes and the changes that a trainer found are.

mod backend;
mod certainty;
pub(crate) mod cut;
mod either;
mod format;
mod lattice;
pub mod linear;
mod reading;
mod score;
mod tags;
mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bantam_engine::EncoderAdapter;
use serde::{Deserialize, Serialize};

use crate::container::{self, Kind, LoadStudentError, LoadStudentErrorKind, SaveStudentError};
use crate::encoder::{AdapterDescription, BaseIdentity, BaseScratch, Bases, Embedding, EncoderBase};
use crate::hash::FileHash;
use crate::linear::Scratch;
use crate::linear::calibrate::{self, HeldOut};
use crate::linear::train::CREATED_BY;
use crate::seen::SeenTexts;
use crate::slots::SlotExample;
pub use backend::TaggerBackend;
pub use certainty::Certainty;
pub use either::Tagger;
use lattice::Steps;
pub use linear::{
    LinearTagger, LinearTaggerConfig, LinearTaggerDescription, TaggerProgress, TrainTaggerError, train,
};
pub use reading::Reading;
pub(crate) use reading::TaggerScratch;
pub use score::SlotScore;
pub use tags::Tags;
pub use words::{Sequence, TaggedWord, sequence};

/// Slots that a tagger can tell apart.
pub(crate) const SLOTS_MAX: usize = 1000;

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
    /// The calibrated probability that exactly these words are a value of this slot.
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
    /// How sure whole answers are, and how well that ranks them; files of older programs have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certainty: Option<Certainty>,
}

/// A trained extractor with its base. Immutable and shared freely between threads.
#[derive(Debug, Clone)]
pub struct TaggerStudent {
    head: format::Head,
    tags: Tags,
    /// An encoder's states have seen the words beside them: the steps prefer nothing.
    steps: Steps,
    powers: Steps,
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
        Some(Self::of(head, &body, hash, Arc::clone(parts.base)))
    }

    /// Reads a tagger's file and checks all of it. The base is looked for in the folder `base` or, where none is
    /// named, where it lay beside the file when the student was trained.
    pub fn load(path: &Path, base: Option<&Path>, bases: &Bases) -> Result<Self, LoadStudentError> {
        Self::load_kind(path, base, bases).map_err(|kind| LoadStudentError { path: path.to_owned(), kind })
    }

    fn load_kind(path: &Path, folder: Option<&Path>, bases: &Bases) -> Result<Self, LoadStudentErrorKind> {
        let bytes = container::read(path)?;
        let (kind, body, hash) = container::open(&bytes)?;
        match kind {
            Kind::Tagger => Self::from_body(body, hash, path, folder, bases),
            other => Err(LoadStudentErrorKind::OtherKind {
                found: other.name(),
                wanted: "a tagger over an encoder",
            }),
        }
    }

    /// A student from a body whose hash is known to be right; `path` is where its file lies.
    pub(crate) fn from_body(
        body: &[u8],
        hash: FileHash,
        path: &Path,
        folder: Option<&Path>,
        bases: &Bases,
    ) -> Result<Self, LoadStudentErrorKind> {
        let head = format::decode(body)?;
        let beside = || path.parent().unwrap_or(Path::new("")).join(&head.description.base_path);
        let folder = folder.map_or_else(beside, Path::to_owned);
        let base =
            bases.open_meant(&folder, &head.description.base, Some(&head.adapter)).map_err(Box::new)?;
        Ok(Self::of(head, body, hash, base))
    }

    fn of(head: format::Head, body: &[u8], hash: FileHash, base: Arc<EncoderBase>) -> Self {
        let tags = Tags::new(head.description.slots.clone());
        let steps = Steps::even(tags.slots().len());
        let powers = steps.powers();
        Self { head, tags, steps, powers, body: body.into(), hash, base }
    }

    /// What a body says about its student, without the base.
    pub(crate) fn description(body: &[u8]) -> Result<TaggerDescription, LoadStudentErrorKind> {
        Ok(format::decode(body)?.description)
    }

    /// Finds the values in a text. Computes the text's states on this thread and the base's, which takes
    /// milliseconds. What of a text is beyond the base's tokens is not read.
    pub fn read<'a>(&'a self, text: &'a str, context: &str, scratch: &mut Scratch) -> Reading<'a> {
        let read = self.sequence(text, context);
        let mut of_base = std::mem::take(&mut scratch.of_base);
        let reading = self.read_with(text, &read, self.base.states(&read.ids, &mut of_base), scratch);
        scratch.of_base = of_base;
        reading
    }

    /// The values that [`Self::read`] finds.
    pub fn extract<'a>(&'a self, text: &'a str, context: &str, scratch: &mut Scratch) -> Vec<Field<'a>> {
        self.read(text, context, scratch).fields
    }

    /// Finds the values in a text whose states are known; takes microseconds.
    pub(crate) fn read_with<'a>(
        &'a self,
        text: &'a str,
        read: &Sequence,
        states: &[f32],
        scratch: &mut Scratch,
    ) -> Reading<'a> {
        let report = &self.head.description.report;
        let (fields, evidence) = self.found(text, read, states, report.temperature, scratch);
        Reading::new(fields, &evidence, report.certainty.as_ref(), read.is_whole)
    }

    fn found<'a>(
        &'a self,
        text: &'a str,
        read: &Sequence,
        states: &[f32],
        temperature: f32,
        scratch: &mut Scratch,
    ) -> (Vec<Field<'a>>, certainty::Evidence) {
        let TaggerScratch { scores, lattice, .. } = &mut scratch.of_tagger;
        scores.clear();
        let logits = self.logits(&read.words, states);
        logits.chunks_exact(self.tags.len()).for_each(|row| self.tags.to_planes(row, scores));
        scores.iter_mut().for_each(|score| *score /= temperature);
        let words: Vec<(usize, usize)> = read.words.iter().map(|word| (word.start, word.end)).collect();
        let reader = reading::Reader { slots: self.tags.slots(), steps: &self.steps, powers: &self.powers };
        reader.read(text, &words, scores, lattice)
    }

    /// What the base reads of a text.
    pub(crate) fn sequence(&self, text: &str, context: &str) -> Sequence {
        sequence(self.base.tokenizer(), text, context, self.base.identity().tokens_max as usize)
    }

    /// The states of a sequence, computed by the base's own thread; None when too many wait.
    pub(crate) fn states_soon(&self, ids: Vec<u32>) -> Option<Embedding> {
        self.base.states_soon(ids).ok()
    }

    /// Each word's logits, before temperature.
    fn logits(&self, words: &[TaggedWord], states: &[f32]) -> Vec<f32> {
        let width = self.base.identity().width as usize;
        let mut logits = Vec::with_capacity(words.len() * self.tags.len());
        for word in words {
            let state = states.get(word.token * width..(word.token + 1) * width).unwrap_or_default();
            for (weights, bias) in self.head.weights.chunks_exact(width).zip(&self.head.bias) {
                logits.push(
                    bias + weights.iter().zip(state).map(|(weight, number)| weight * number).sum::<f32>(),
                );
            }
        }
        logits
    }

    /// Returns the temperature under which the words' right tags on `rows` are likeliest, the share of the words whose
    /// likeliest tag is right, each on its own, and how many words there are.
    pub fn calibrate(&self, rows: &[SlotExample]) -> (f32, f64, usize) {
        let mut scratch = Scratch::default();
        let mut held_out = HeldOut { classes: self.tags.len(), ..HeldOut::default() };
        for row in rows {
            let read = self.sequence(&row.text, &row.context);
            let states = self.base.states(&read.ids, &mut scratch.of_base);
            held_out.logits.extend(self.logits(&read.words, states));
            held_out.targets.extend(self.tags.of_words(&read.words, &row.spans));
        }
        let temperature = held_out.best_temperature();
        let right = calibrate::accuracy(&held_out.outcomes(1.0, None));
        (temperature, right, held_out.targets.len())
    }

    /// Returns how sure its answers are under a temperature, fitted on rows that it has not seen; None without rows.
    pub fn fit_certainty(&self, rows: &[SlotExample], temperature: f32) -> Option<Certainty> {
        let mut scratch = Scratch::default();
        let mut of_base = BaseScratch::default();
        let judge = |row: &SlotExample| {
            let read = self.sequence(&row.text, &row.context);
            let states = self.base.states(&read.ids, &mut of_base);
            let (fields, evidence) = self.found(&row.text, &read, states, temperature, &mut scratch);
            let mut score = SlotScore::default();
            score.add(row, &fields);
            (evidence, score.rows_right == 1)
        };
        Certainty::fit(&rows.iter().map(judge).collect::<Vec<_>>())
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
