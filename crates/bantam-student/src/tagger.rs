//! Finds values in a text: scores of every word for every slot, and the likeliest sequence of tags that makes whole
//! values.
//!
//! A [`TaggerStudent`] takes the scores from an encoder's state of every word, joined with what words themselves say where
//! that helps; a [`LinearTagger`] takes them from the words alone; a [`Tagger`] is either of them. Values are copied from
//! the text, never made up: a [`Field`] says where it stands. As with [`crate::encoder`], the base is not in the file, but
//! its hashes and the changes that a trainer found are.

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

use crate::container::{self, Kind, LoadStudentError, LoadStudentErrorKind, SaveStudentError};
use crate::encoder::{AdapterDescription, BaseIdentity, Bases, Embedding, EncoderBase};
use crate::hash::FileHash;
use crate::linear::Scratch;
use crate::linear::calibrate::{self, HeldOut};
use crate::linear::train::CREATED_BY;
use crate::seen::SeenTexts;
use crate::slots::{SlotExample, have_context};
pub use backend::TaggerBackend;
pub use certainty::Certainty;
pub use either::Tagger;
use joined::{Factors, Judged};
use lattice::Steps;
pub use linear::{
    LinearTagger, LinearTaggerConfig, LinearTaggerDescription, TaggerProgress, TrainTaggerError, WordChain,
    learn_words, train,
};
use reading::Found;
pub use reading::Reading;
pub(crate) use reading::TaggerScratch;
pub use score::SlotScore;
pub use tags::Tags;
pub use words::{Sequence, TaggedWord, Windows, windows};

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
    /// Tokens that the base reads at once; longer texts are read in parts that overlap.
    pub tokens_max: u32,
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
    /// What the scores of the words themselves are multiplied with before they are added to an encoder's; none, where
    /// they do not help or nothing stands beside them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words_factor: Option<f32>,
    /// The slots that nearly every row has a value of: every answer has one too, be it an unlikely one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub usual: Vec<String>,
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
    /// Steps that prefer nothing, where there is no chain: an encoder's states have seen the words beside them.
    steps: Steps,
    powers: Steps,
    /// What an encoder's scores alone are read with.
    even: Steps,
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
    /// What the words themselves say; kept where the report has a factor for it.
    pub words: Option<&'t WordChain>,
    /// Tokens that the base reads at once.
    pub tokens_max: usize,
}

/// What held-out rows settle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settled {
    /// For [`TaggerReport::temperature`].
    pub temperature: f32,
    /// For [`TaggerReport::words_factor`].
    pub words_factor: Option<f32>,
    /// The share of the words whose likeliest tag is right by the encoder alone, each on its own.
    pub right: f64,
    /// Words judged.
    pub words: usize,
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
        let of_words = head.words.as_ref().map(|words| words.steps.clone());
        let even = Steps::even(tags.slots().len());
        let steps = of_words.unwrap_or_else(|| even.clone());
        let powers = steps.powers();
        Self { head, tags, steps, powers, even, body: body.into(), hash, base }
    }

    /// What a body says about its student, without the base.
    pub(crate) fn description(body: &[u8]) -> Result<TaggerDescription, LoadStudentErrorKind> {
        Ok(format::decode(body)?.description)
    }

    /// Finds the values in a text. Computes the text's states on this thread and the base's, which takes
    /// milliseconds for each window of it.
    pub fn read<'a>(&'a self, text: &'a str, context: &str, scratch: &mut Scratch) -> Reading<'a> {
        let windows = self.windows(text, context);
        let logits = self.logits(&windows, scratch);
        self.read_with((text, context), &windows, &logits, scratch)
    }

    /// The values that [`Self::read`] finds.
    pub fn extract<'a>(&'a self, text: &'a str, context: &str, scratch: &mut Scratch) -> Vec<Field<'a>> {
        self.read(text, context, scratch).fields
    }

    /// Finds the values in a text, with its context, whose logits are known; takes microseconds.
    pub(crate) fn read_with<'a>(
        &'a self,
        text: (&'a str, &str),
        windows: &Windows,
        logits: &[f32],
        scratch: &mut Scratch,
    ) -> Reading<'a> {
        let (found, is_whole) = self.found(text, windows, logits, scratch);
        let certainty = self.head.description.report.certainty.as_ref();
        Reading::new(found.fields, &found.evidence, certainty, is_whole)
    }

    /// What is found, and whether all of the text was read.
    fn found<'a>(
        &'a self,
        (text, context): (&'a str, &str),
        windows: &Windows,
        logits: &[f32],
        scratch: &mut Scratch,
    ) -> (Found<'a>, bool) {
        let TaggerScratch { seen, scores, others, lattice } = &mut scratch.of_tagger;
        let usual = &self.head.description.report.usual;
        let reader =
            reading::Reader { slots: self.tags.slots(), steps: &self.steps, powers: &self.powers, usual };
        let of_encoder = self.planes(logits, 1.0 / self.head.description.report.temperature);
        let Some(words) = &self.head.words else {
            let places: Vec<(usize, usize)> = windows.words().map(|word| (word.start, word.end)).collect();
            return (reader.read(text, &places, &of_encoder, lattice), windows.is_whole);
        };
        seen.look(text, context);
        words.score(seen, scores);
        let (by_words, _) = lattice.best(scores, &self.steps);
        joined::at_places(windows, &of_encoder, self.tags.len(), &seen.words, others);
        let (by_encoder, _) = lattice.best(others, &self.even);
        scores.iter_mut().zip(&*others).for_each(|(score, other)| *score += other);
        let mut found = reader.read(text, &seen.words, scores, lattice);
        let agreeing = [by_words, by_encoder].iter().filter(|path| **path == found.path).count();
        found.evidence.agreement = agreeing as f32 / 2.0;
        found.evidence.unknown = words.unknown(seen);
        (found, seen.is_whole && windows.is_whole)
    }

    /// Logits in planes, times a factor.
    fn planes(&self, logits: &[f32], factor: f32) -> Vec<f32> {
        let mut planes = Vec::with_capacity(logits.len());
        logits.chunks_exact(self.tags.len()).for_each(|row| self.tags.to_planes(row, &mut planes));
        planes.iter_mut().for_each(|score| *score *= factor);
        planes
    }

    /// What the base reads of a text.
    pub(crate) fn windows(&self, text: &str, context: &str) -> Windows {
        windows(self.base.tokenizer(), text, context, self.head.description.tokens_max as usize)
    }

    /// The states of a sequence, computed by the base's own thread; None when too many wait.
    pub(crate) fn states_soon(&self, ids: Vec<u32>) -> Option<Embedding> {
        self.base.states_soon(ids).ok()
    }

    /// The logits of all words, before temperature.
    fn logits(&self, windows: &Windows, scratch: &mut Scratch) -> Vec<f32> {
        let mut logits = Vec::new();
        for sequence in &windows.sequences {
            let states = self.base.states(&sequence.ids, &mut scratch.of_base);
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

    /// Settles on `rows`, which neither this student nor `words` has learnt from, how much the encoder's scores count
    /// and those of the words beside them.
    pub fn settle(&self, rows: &[SlotExample], words: Option<&WordChain>) -> Settled {
        let mut scratch = Scratch::default();
        let mut held_out = HeldOut { classes: self.tags.len(), ..HeldOut::default() };
        let chain = words.and_then(WordChain::scorer);
        let mut judged: Vec<Judged> = Vec::new();
        for row in rows {
            let windows = self.windows(&row.text, &row.context);
            let logits = self.logits(&windows, &mut scratch);
            let tagged: Vec<TaggedWord> = windows.words().copied().collect();
            held_out.targets.extend(self.tags.of_words(&tagged, &row.spans));
            if let Some(chain) = &chain {
                let TaggerScratch { seen, scores, others, .. } = &mut scratch.of_tagger;
                seen.look(&row.text, &row.context);
                chain.score(seen, scores);
                let of_encoder = self.planes(&logits, 1.0);
                joined::at_places(&windows, &of_encoder, self.tags.len(), &seen.words, others);
                if !seen.words.is_empty() {
                    judged.push(Judged {
                        encoder: others.clone(),
                        words: scores.clone(),
                        targets: linear::targets(&seen.words, &row.spans, self.tags.slots()),
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
        let Some(chain) = chain.filter(|_| !judged.is_empty()) else { return settled };
        let Factors { encoder, words } = joined::fit(&judged, &chain.steps);
        if words < joined::OF_WORDS_MIN {
            return settled;
        }
        Settled { temperature: 1.0 / encoder, words_factor: Some(words), ..settled }
    }

    /// Returns how sure its answers are, fitted on rows that it has not seen; None without rows.
    pub fn fit_certainty(&self, rows: &[SlotExample]) -> Option<Certainty> {
        let mut scratch = Scratch::default();
        let judge = |row: &SlotExample| {
            let windows = self.windows(&row.text, &row.context);
            let logits = self.logits(&windows, &mut scratch);
            let (found, _) = self.found((&row.text, &row.context), &windows, &logits, &mut scratch);
            let mut score = SlotScore::default();
            score.add(row, &found.fields);
            (found.evidence, score.rows_right == 1)
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

/// The share of the rows that must have a value of a slot for it to be a usual one.
const USUAL: f64 = 0.9;

/// Returns the slots that nearly every row has a value of.
pub fn usual_slots(rows: &[SlotExample], slots: &[String]) -> Vec<String> {
    let is_usual = |slot: &&String| {
        let with = rows.iter().filter(|row| row.spans.iter().any(|span| span.slot == **slot)).count();
        with as f64 >= USUAL * rows.len() as f64
    };
    slots.iter().filter(is_usual).cloned().collect()
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
