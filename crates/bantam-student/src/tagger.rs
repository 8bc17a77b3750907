//! Finds values in a text: scores every word for every slot, and takes the most probable sequence of tags that forms
//! whole values.
//!
//! A [`TaggerStudent`] scores words by an encoder's states, combined with a chain over the words themselves if that
//! helps; a [`LinearTagger`] uses only the chain; a [`Tagger`] is either of them. Values are copied from the text,
//! never made up: a [`Field`] states its position. As with [`crate::encoder`], the file does not contain the base, but
//! its hashes and the adapter that a trainer found.

mod backend;
mod certainty;
pub(crate) mod cut;
mod either;
mod format;
mod joined;
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

use crate::container::{self, LoadStudentError, LoadStudentErrorKind, SaveStudentError, StudentKind};
use crate::encoder::{AdapterDescription, BaseIdentity, Bases, EncoderBase};
use crate::hash::FileHash;
use crate::linear::Scratch;
use crate::linear::calibrate::{self, HeldOut};
use crate::linear::train::CREATED_BY;
use crate::seen::SeenTexts;
use crate::slots::{SlotExample, have_context};
pub use backend::TaggerBackend;
pub use certainty::Certainty;
pub use either::Tagger;
use joined::{Factors, HeldOutScores};
use lattice::Transitions;
pub use linear::{
    LinearTagger, LinearTaggerConfig, LinearTaggerDescription, TaggerProgress, TrainTaggerError, WordChain,
    learn_words, train, train_until,
};
use reading::Extraction;
pub use reading::Reading;
pub(crate) use reading::TaggerScratch;
pub use score::SlotScore;
pub use tags::Tags;
pub use words::{Sequence, TaggedWord, Windows, windows};

/// The most slots of a tagger.
pub(crate) const SLOTS_MAX: usize = 1000;

/// A value found in a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Field<'a> {
    /// The slot that it fills.
    pub name: &'a str,
    /// The value, copied from the text.
    pub value: &'a str,
    /// Its first byte in the text.
    pub start: usize,
    /// The byte after its last one.
    pub end: usize,
    /// The calibrated probability that exactly these words are a value of this slot.
    pub confidence: f32,
}

/// The description in a tagger's file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaggerDescription {
    /// Program and version that trained it.
    pub created_by: String,
    /// The base, whose weights are not in the file.
    pub base: BaseIdentity,
    /// The base's path when the student was saved, relative to the folder of the student's file.
    pub base_path: PathBuf,
    /// The base's adapter.
    pub adapter: AdapterDescription,
    /// The most tokens that the base reads at once; longer texts are read in overlapping windows.
    pub tokens_max: u32,
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

/// What training a tagger measured. The `held_out_` figures come from held-out rows, with the base as it is served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaggerReport {
    /// Rows trained on.
    pub rows: u64,
    /// Values in these rows.
    pub values: u64,
    /// Held-out rows measured.
    pub held_out_rows: u64,
    /// Micro-averaged F1 of slot and exact position.
    pub held_out_f1: f64,
    /// Share of values found that are right.
    pub held_out_precision: f64,
    /// Share of right values that are found.
    pub held_out_recall: f64,
    /// Logits are divided by this.
    pub temperature: f32,
    /// The factor on the word chain's scores before they are added to an encoder's; `None` if they do not help, or
    /// there is no encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words_factor: Option<f32>,
    /// The slots that nearly every row has a value of: every answer gets one too, even an improbable one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usual: Vec<String>,
    /// Passes over the rows.
    pub passes: u64,
    /// The calibration of whole answers; files of older programs have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certainty: Option<Certainty>,
}

/// A trained extractor with its base. Immutable and shared freely between threads.
#[derive(Debug, Clone)]
pub struct TaggerStudent {
    head: format::TaggerHead,
    tags: Tags,
    /// The chain's transitions, or uniform ones without a chain: an encoder's states already reflect neighbouring
    /// words.
    transitions: Transitions,
    exponentials: Transitions,
    /// The transitions for an encoder's scores alone.
    uniform: Transitions,
    body: Arc<[u8]>,
    hash: FileHash,
    base: Arc<EncoderBase>,
}

/// The trained parts of a tagger.
#[derive(Debug, Clone, Copy)]
pub struct TaggerParts<'t> {
    /// The base with the adapter applied, in the precision it will be served in.
    pub base: &'t Arc<EncoderBase>,
    /// The adapter.
    pub adapter: &'t EncoderAdapter,
    /// One row of the base's width for each tag, in the order of [`Tags`].
    pub weights: &'t [f32],
    /// One number for each tag.
    pub bias: &'t [f32],
    /// The chain over words; kept if the report has a factor for it.
    pub words: Option<&'t WordChain>,
    /// The most tokens that the base reads at once.
    pub tokens_max: usize,
}

/// What is fitted on held-out rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settled {
    /// For [`TaggerReport::temperature`].
    pub temperature: f32,
    /// For [`TaggerReport::words_factor`].
    pub words_factor: Option<f32>,
    /// The share of words whose most probable tag is right, by the encoder alone and each word on its own.
    pub right: f64,
    /// Words measured.
    pub words: usize,
}

impl TaggerStudent {
    /// Makes a student of parts trained on `rows`. The student will look for its base at `base_path`. Returns `None` if
    /// the file format rejects the numbers.
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
            tokens_max: parts.tokens_max as u32,
            slots: tags.slots().to_vec(),
            report,
            data_hash: data_hash(rows),
            reads_context: have_context(rows),
            seen: SeenTexts::of_texts(rows.iter().map(|row| row.text.as_str())),
        };
        let json = serde_json::to_vec(&description).ok()?;
        let words = parts.words.filter(|_| description.report.words_factor.is_some());
        let body = format::encode(&json, (parts.weights, parts.bias), parts.adapter, words);
        let (_, hash) = container::seal(StudentKind::Tagger, &body);
        let head = format::decode(&body).ok()?;
        Some(Self::of(head, &body, hash, Arc::clone(parts.base)))
    }

    /// Reads and checks a tagger's file. The base is looked for in the folder `base`, or else at the path that the file
    /// states relative to itself.
    pub fn load(path: &Path, base: Option<&Path>, bases: &Bases) -> Result<Self, LoadStudentError> {
        Self::load_kind(path, base, bases).map_err(|kind| LoadStudentError { path: path.to_owned(), kind })
    }

    fn load_kind(path: &Path, folder: Option<&Path>, bases: &Bases) -> Result<Self, LoadStudentErrorKind> {
        let bytes = container::read(path)?;
        let (kind, body, hash) = container::open(&bytes)?;
        match kind {
            StudentKind::Tagger => Self::from_body(body, hash, path, folder, bases),
            other => Err(LoadStudentErrorKind::OtherKind {
                found: other.name(),
                wanted: "a tagger over an encoder",
            }),
        }
    }

    /// Reads a student from a body whose hash was checked; `path` is the path of its file.
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
            bases.open_expected(&folder, &head.description.base, Some(&head.adapter)).map_err(Box::new)?;
        Ok(Self::of(head, body, hash, base))
    }

    fn of(head: format::TaggerHead, body: &[u8], hash: FileHash, base: Arc<EncoderBase>) -> Self {
        let tags = Tags::new(head.description.slots.clone());
        let uniform = Transitions::uniform(tags.slots().len());
        let transitions =
            head.words.as_ref().map_or_else(|| uniform.clone(), |words| words.transitions.clone());
        let exponentials = transitions.exponentials();
        Self { head, tags, transitions, exponentials, uniform, body: body.into(), hash, base }
    }

    /// Returns a body's description without opening the base.
    pub(crate) fn description(body: &[u8]) -> Result<TaggerDescription, LoadStudentErrorKind> {
        Ok(format::decode(body)?.description)
    }

    /// Finds the values in a text. Computes the text's states on this thread and the pool's, which takes milliseconds
    /// per window.
    pub fn read<'a>(&'a self, text: &'a str, context: &str, scratch: &mut Scratch) -> Reading<'a> {
        let windows = self.windows(text, context);
        let logits = self.logits(&windows, scratch);
        self.read_with((text, context), &windows, &logits, scratch)
    }

    /// Returns the values that [`Self::read`] finds.
    pub fn extract<'a>(&'a self, text: &'a str, context: &str, scratch: &mut Scratch) -> Vec<Field<'a>> {
        self.read(text, context, scratch).fields
    }

    /// Finds the values in a text with a context, given its logits. Takes microseconds.
    pub(crate) fn read_with<'a>(
        &'a self,
        text: (&'a str, &str),
        windows: &Windows,
        logits: &[f32],
        scratch: &mut Scratch,
    ) -> Reading<'a> {
        let (extraction, is_whole) = self.extract_with(text, windows, logits, scratch);
        let certainty = self.head.description.report.certainty.as_ref();
        Reading::new(extraction.fields, &extraction.evidence, certainty, is_whole)
    }

    /// Returns what is found, and whether all of the text was read.
    fn extract_with<'a>(
        &'a self,
        (text, context): (&'a str, &str),
        windows: &Windows,
        logits: &[f32],
        scratch: &mut Scratch,
    ) -> (Extraction<'a>, bool) {
        let TaggerScratch { features, scores, encoder_scores, lattice } = &mut scratch.tagger;
        let reader = reading::Reader {
            slots: self.tags.slots(),
            transitions: &self.transitions,
            exponentials: &self.exponentials,
            usual: &self.head.description.report.usual,
        };
        let planes = self.planes(logits, 1.0 / self.head.description.report.temperature);
        let Some(words) = &self.head.words else {
            let spans: Vec<(usize, usize)> = windows.words().map(|word| (word.start, word.end)).collect();
            return (reader.read(text, &spans, &planes, lattice), windows.is_whole);
        };
        features.set(text, context);
        words.score(features, scores);
        let (word_path, _) = lattice.best(scores, &self.transitions);
        joined::scores_of_words(windows, &planes, self.tags.len(), &features.words, encoder_scores);
        let (encoder_path, _) = lattice.best(encoder_scores, &self.uniform);
        scores.iter_mut().zip(&*encoder_scores).for_each(|(score, encoder)| *score += encoder);
        let mut extraction = reader.read(text, &features.words, scores, lattice);
        let agreeing = [word_path, encoder_path].iter().filter(|path| **path == extraction.path).count();
        extraction.evidence.agreement = agreeing as f32 / 2.0;
        extraction.evidence.unknown = words.unknown(features);
        (extraction, features.is_whole && windows.is_whole)
    }

    /// Returns logits in planes, times a factor.
    fn planes(&self, logits: &[f32], factor: f32) -> Vec<f32> {
        let mut planes = Vec::with_capacity(logits.len());
        logits.chunks_exact(self.tags.len()).for_each(|row| self.tags.to_planes(row, &mut planes));
        planes.iter_mut().for_each(|score| *score *= factor);
        planes
    }

    /// Returns the windows in which the base reads a text.
    pub(crate) fn windows(&self, text: &str, context: &str) -> Windows {
        windows(self.base.tokenizer(), text, context, self.head.description.tokens_max as usize)
    }

    /// Returns the base.
    pub(crate) fn base(&self) -> &EncoderBase {
        &self.base
    }

    /// Returns the logits of all words, before temperature.
    fn logits(&self, windows: &Windows, scratch: &mut Scratch) -> Vec<f32> {
        let mut logits = Vec::new();
        for sequence in &windows.sequences {
            let states = self.base.states(&sequence.ids, &mut scratch.base);
            self.add_logits(sequence, states, &mut logits);
        }
        logits
    }

    /// Appends the logits of a sequence's words, before temperature.
    pub(crate) fn add_logits(&self, sequence: &Sequence, states: &[f32], logits: &mut Vec<f32>) {
        let width = self.base.identity().width as usize;
        for word in &sequence.words {
            let state = states.get(word.token * width..(word.token + 1) * width).unwrap_or_default();
            for (weights, bias) in self.head.weights.chunks_exact(width).zip(&self.head.bias) {
                logits.push(
                    bias + weights.iter().zip(state).map(|(weight, number)| weight * number).sum::<f32>(),
                );
            }
        }
    }

    /// Fits the weights of the encoder's scores and of the word chain's on held-out `rows`, which neither this student
    /// nor `words` was trained on.
    pub fn settle(&self, rows: &[SlotExample], words: Option<&WordChain>) -> Settled {
        let mut scratch = Scratch::default();
        let mut held_out = HeldOut { classes: self.tags.len(), ..HeldOut::default() };
        let chain = words.and_then(WordChain::scorer);
        let mut held_out_scores: Vec<HeldOutScores> = Vec::new();
        for row in rows {
            let windows = self.windows(&row.text, &row.context);
            let logits = self.logits(&windows, &mut scratch);
            let tagged: Vec<TaggedWord> = windows.words().copied().collect();
            held_out.targets.extend(self.tags.of_words(&tagged, &row.spans));
            if let Some(chain) = &chain {
                let TaggerScratch { features, scores, encoder_scores, .. } = &mut scratch.tagger;
                features.set(&row.text, &row.context);
                chain.score(features, scores);
                let planes = self.planes(&logits, 1.0);
                let words = &features.words;
                joined::scores_of_words(&windows, &planes, self.tags.len(), words, encoder_scores);
                if !words.is_empty() {
                    held_out_scores.push(HeldOutScores {
                        encoder: encoder_scores.clone(),
                        words: scores.clone(),
                        targets: linear::targets(words, &row.spans, self.tags.slots()),
                    });
                }
            }
            held_out.logits.extend(logits);
        }
        let settled = Settled {
            temperature: held_out.best_temperature(),
            words_factor: None,
            right: calibrate::accuracy(&held_out.outcomes(1.0, None)),
            words: held_out.targets.len(),
        };
        let Some(chain) = chain.filter(|_| !held_out_scores.is_empty()) else { return settled };
        let Factors { encoder, words } = joined::fit(&held_out_scores, &chain.transitions);
        if words < joined::WORDS_FACTOR_MIN {
            return settled;
        }
        Settled { temperature: 1.0 / encoder, words_factor: Some(words), ..settled }
    }

    /// Fits the calibration of whole answers on held-out rows; returns `None` without rows.
    pub fn fit_certainty(&self, rows: &[SlotExample]) -> Option<Certainty> {
        let mut scratch = Scratch::default();
        let judge = |row: &SlotExample| {
            let windows = self.windows(&row.text, &row.context);
            let logits = self.logits(&windows, &mut scratch);
            let (extraction, _) =
                self.extract_with((&row.text, &row.context), &windows, &logits, &mut scratch);
            let mut score = SlotScore::default();
            score.add(row, &extraction.fields);
            (extraction.evidence, score.rows_right == 1)
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

    /// Returns where it comes from, its base, and its results on held-out rows.
    pub fn describe(&self) -> &TaggerDescription {
        &self.head.description
    }

    /// Returns its base's adapter.
    pub fn adapter(&self) -> &EncoderAdapter {
        &self.head.adapter
    }

    /// Returns every slot it can fill, in byte order.
    pub fn slots(&self) -> &[String] {
        &self.head.description.slots
    }

    /// Returns the hash of the content. What was measured about a student holds for one hash only.
    pub fn hash(&self) -> FileHash {
        self.hash
    }

    /// Writes the student's file atomically.
    pub fn save(&self, path: &Path) -> Result<FileHash, SaveStudentError> {
        container::write(path, &container::seal(StudentKind::Tagger, &self.body).0)?;
        Ok(self.hash)
    }
}

/// The share of rows that must have a value of a slot for it to count as usual.
const USUAL: f64 = 0.9;

/// Returns the slots that nearly every row has a value of.
pub fn usual_slots(rows: &[SlotExample], slots: &[String]) -> Vec<String> {
    let is_usual = |slot: &&String| {
        let with = rows.iter().filter(|row| row.spans.iter().any(|span| span.slot == **slot)).count();
        with as f64 >= USUAL * rows.len() as f64
    };
    slots.iter().filter(is_usual).cloned().collect()
}

/// Returns the hash of rows. Lengths are hashed too, so that no two sets of rows have the same hash input.
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
