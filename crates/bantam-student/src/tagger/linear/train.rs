//! Trains a linear tagger on rows with slots.

use std::collections::{BTreeSet, HashMap};

use bantam_types::Cancel;

use super::features::TextFeatures;
use super::fit::{Chain, Design, FitConfig, Weights, fit};
use super::scorer::Scorer;
use super::{LinearTagger, LinearTaggerConfig, LinearTaggerDescription, format};
use crate::container::{self, StudentKind};
use crate::linear::lookup::Table;
use crate::linear::train::CREATED_BY;
use crate::linear::{calibrate, folds, parallel};
use crate::seen::SeenTexts;
use crate::slots::{SlotExample, SlotSpan, have_context};
use crate::tagger::certainty::{Certainty, Evidence};
use crate::tagger::lattice::{Lattice, Transitions};
use crate::tagger::reading::{Extraction, Reader};
use crate::tagger::tags::slot_of_words;
use crate::tagger::{SLOTS_MAX, SlotScore, TaggerReport, data_hash, usual_slots};

/// The fewest rows that training needs to hold some out.
const ROWS_MIN: usize = 10;
const FOLDS: usize = 5;
/// Enough held-out rows to measure and calibrate; with many rows, not every fold is held out.
const HELD_OUT_ENOUGH: usize = 3000;
/// With at least this many rows, a feature must occur on more than one word.
const ROWS_MANY: usize = 1000;
/// The most scores that the search for the temperature uses.
const CELLS_MAX: usize = 8_000_000;
const TEMPERATURES: (f64, f64) = (0.5, 8.0);
const SEARCH_STEPS: usize = 16;

/// Why training failed.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TrainTaggerError {
    /// There are too few rows to hold some out.
    #[error("{rows} rows are too few: at least {ROWS_MIN} are needed")]
    TooFewRows {
        /// The number of rows.
        rows: usize,
    },
    /// The rows hold no values at all.
    #[error("no row has a value in its slots")]
    NoSlots,
    /// There are more slots than a student can have.
    #[error("there are {slots} slots; at most {SLOTS_MAX} are supported")]
    TooManySlots {
        /// The number of slots.
        slots: usize,
    },
    /// There are more words or features than 32 bits can number.
    #[error("the rows have more words than one training run can handle")]
    TooLarge,
    /// A setting is invalid, or the file format rejects the trained numbers.
    #[error("training produced numbers that the file format cannot store")]
    Unstorable,
    /// The caller cancelled it.
    #[error("training was stopped")]
    Stopped,
}

impl TrainTaggerError {
    /// Returns what the user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::TooFewRows { .. } => "add rows; a hundred for each slot is a good start",
            Self::NoSlots => {
                "a row is one line such as {\"text\": \"a table for two\", \"slots\": {\"people\": [\"two\"]}}"
            }
            Self::TooManySlots { .. } => "check that names and values of the slots are not swapped",
            Self::TooLarge => "train on a sample of the rows",
            Self::Unstorable => "start from the recommended settings",
            Self::Stopped => "train again",
        }
    }
}

/// The progress of training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaggerProgress {
    /// Passes done, over all models.
    pub done: usize,
    /// The total number of passes.
    pub passes: usize,
}

/// Trains a linear tagger: measures and calibrates by cross-validation, and fits the final model to all rows. Equal
/// rows and settings give equal bytes, on any number of threads.
///
/// # Errors
/// [`TrainTaggerError`] if the rows cannot be trained on.
pub fn train(
    rows: &[SlotExample],
    config: &LinearTaggerConfig,
    on_progress: &mut dyn FnMut(TaggerProgress),
) -> Result<LinearTagger, TrainTaggerError> {
    train_until(rows, config, on_progress, &Cancel::new())
}

/// Like [`train`], but `cancel` ends it after the current pass.
///
/// # Errors
/// [`TrainTaggerError`]; [`TrainTaggerError::Stopped`] if it was cancelled.
pub fn train_until(
    rows: &[SlotExample],
    config: &LinearTaggerConfig,
    on_progress: &mut dyn FnMut(TaggerProgress),
    cancel: &Cancel,
) -> Result<LinearTagger, TrainTaggerError> {
    let slots: BTreeSet<&str> = rows.iter().flat_map(|row| &row.spans).map(|span| &*span.slot).collect();
    let slots: Vec<String> = slots.into_iter().map(str::to_owned).collect();
    if rows.len() < ROWS_MIN {
        return Err(TrainTaggerError::TooFewRows { rows: rows.len() });
    }
    if slots.is_empty() {
        return Err(TrainTaggerError::NoSlots);
    }
    if slots.len() > SLOTS_MAX {
        return Err(TrainTaggerError::TooManySlots { slots: slots.len() });
    }
    let tagger_rows = TaggerRows::new(rows, &slots).ok_or(TrainTaggerError::TooLarge)?;
    let texts: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
    let folds = folds::assign(&texts, &vec![0; rows.len()], 1, FOLDS, config.seed);
    let held_out_folds = (HELD_OUT_ENOUGH.div_ceil(rows.len().div_ceil(FOLDS))).clamp(1, FOLDS);
    let fit_config = fit_config(config, rows.len());
    // The last job trains on all rows.
    let jobs: Vec<usize> =
        (0..=held_out_folds).map(|job| if job == held_out_folds { FOLDS } else { job }).collect();
    let part = |job: usize, held: bool| -> Vec<usize> {
        (0..rows.len()).filter(|row| (folds[*row] == job) == held).collect()
    };
    let work = |job: usize, send: &mut dyn FnMut(())| {
        fit(&tagger_rows.design, &part(job, false), slots.len(), &fit_config, (&mut |_| send(()), cancel))
    };
    let passes = jobs.len() * fit_config.passes;
    let mut done = 0;
    let mut chains = parallel::run(config.threads, jobs, work, &mut |()| {
        done += 1;
        on_progress(TaggerProgress { done, passes });
    });
    if cancel.is_cancelled() {
        return Err(TrainTaggerError::Stopped);
    }
    let whole = chains.pop().ok_or(TrainTaggerError::Unstorable)?;
    let held: Vec<(Chain, Vec<usize>)> =
        chains.into_iter().enumerate().map(|(job, chain)| (chain, part(job, true))).collect();
    let report = tagger_rows.evaluate(rows, &slots, held, config.passes);
    let description = LinearTaggerDescription {
        created_by: CREATED_BY.to_owned(),
        config: config.clone(),
        data_hash: data_hash(rows),
        reads_context: have_context(rows),
        seen: SeenTexts::of_texts(texts.into_iter()),
        report,
        slots,
    };
    let (keys, chain) = tagger_rows.stored(whole);
    let json = serde_json::to_vec(&description).map_err(|_| TrainTaggerError::Unstorable)?;
    let body = format::encode(&json, &keys, &chain);
    let (_, hash) = container::seal(StudentKind::LinearTagger, &body);
    LinearTagger::from_body(&body, hash).map_err(|_| TrainTaggerError::Unstorable)
}

fn fit_config(config: &LinearTaggerConfig, rows: usize) -> FitConfig {
    FitConfig {
        passes: config.passes as usize,
        rate: config.rate,
        penalty: config.penalty,
        words_min: if rows < ROWS_MANY { 1 } else { config.words_min },
        seed: config.seed,
    }
}

/// A trained chain over words, which a tagger's file can hold in addition to an encoder's head.
#[derive(Debug, Clone)]
pub struct WordChain {
    pub(crate) keys: Vec<u64>,
    pub(crate) chain: Chain,
}

impl WordChain {
    /// Returns its scorer, or `None` if fingerprints repeat.
    pub(crate) fn scorer(&self) -> Option<Scorer> {
        let Chain { weights, transitions } = self.chain.clone();
        Some(Scorer { table: Table::new(&self.keys, 0)?, weights, transitions })
    }
}

/// Trains a chain over words for `slots`, which are in byte order, on all rows. Equal rows and settings give equal
/// bits. Nothing is held out, because the caller measures the chain together with another model.
///
/// # Errors
/// [`TrainTaggerError::TooLarge`] if there are more words or features than 32 bits can number.
pub fn learn_words(
    rows: &[SlotExample],
    slots: &[String],
    config: &LinearTaggerConfig,
) -> Result<WordChain, TrainTaggerError> {
    let tagger_rows = TaggerRows::new(rows, slots).ok_or(TrainTaggerError::TooLarge)?;
    let all: Vec<usize> = (0..rows.len()).collect();
    let fit_config = fit_config(config, rows.len());
    let chain = fit(&tagger_rows.design, &all, slots.len(), &fit_config, (&mut |_| (), &Cancel::new()));
    let (keys, chain) = tagger_rows.stored(chain);
    Ok(WordChain { keys, chain })
}

/// Returns the right tag of every word, in planes.
pub(crate) fn targets(words: &[(usize, usize)], spans: &[SlotSpan], slots: &[String]) -> Vec<u32> {
    let tag = |(slot, is_first): (usize, bool)| (1 + slot + if is_first { 0 } else { slots.len() }) as u32;
    slot_of_words(words, spans, slots).into_iter().map(|of| of.map_or(0, tag)).collect()
}

/// The rows in the solver's format.
struct TaggerRows {
    design: Design,
    /// The fingerprint of every feature.
    keys: Vec<u64>,
    /// The byte ranges of all words.
    words: Vec<(usize, usize)>,
}

impl TaggerRows {
    /// Returns `None` if there is more than 32 bits can number.
    fn new(rows: &[SlotExample], slots: &[String]) -> Option<Self> {
        let mut numbers: HashMap<u64, u32> = HashMap::new();
        let mut tagger_rows = Self { design: Design::default(), keys: Vec::new(), words: Vec::new() };
        let (design, keys) = (&mut tagger_rows.design, &mut tagger_rows.keys);
        let mut features = TextFeatures::default();
        let mut number = |key: &u64| {
            *numbers.entry(*key).or_insert_with(|| {
                keys.push(*key);
                keys.len() as u32 - 1
            })
        };
        for row in rows {
            features.set(&row.text, &row.context);
            for word in 0..features.words.len() {
                design.features.extend(features.of_word(word).iter().map(&mut number));
                design.word_ends.push(u32::try_from(design.features.len()).ok()?);
            }
            design.shared.extend(features.shared.iter().map(&mut number));
            design.shared_ends.push(u32::try_from(design.shared.len()).ok()?);
            design.targets.extend(targets(&features.words, &row.spans, slots));
            design.row_ends.push(u32::try_from(design.word_ends.len()).ok()?);
            tagger_rows.words.extend(&features.words);
        }
        design.count = tagger_rows.keys.len();
        Some(tagger_rows)
    }

    /// Evaluates each chain on its held-out rows.
    fn evaluate(
        &self,
        rows: &[SlotExample],
        slots: &[String],
        held: Vec<(Chain, Vec<usize>)>,
        passes: u32,
    ) -> TaggerReport {
        let temperature = self.temperature(&held);
        let usual = usual_slots(rows, slots);
        let mut score = SlotScore::default();
        let mut found: Vec<(Evidence, bool)> = Vec::new();
        let (mut lattice, mut scores, mut has_weights) = (Lattice::default(), Vec::new(), Vec::new());
        for (mut chain, rows_held) in held {
            chain.cool(temperature);
            let exponentials = chain.transitions.exponentials();
            let reader =
                Reader { slots, transitions: &chain.transitions, exponentials: &exponentials, usual: &usual };
            set_known_features(&chain.weights, &mut has_weights);
            for row in rows_held {
                let words = self.design.words(row);
                if words.is_empty() {
                    score.add(&rows[row], &[]);
                    continue;
                }
                chain.score(&self.design, row, &mut scores);
                let spans = &self.words[words.clone()];
                let extraction = reader.read(&rows[row].text, spans, &scores, &mut lattice);
                let Extraction { fields, mut evidence, .. } = extraction;
                let unknown =
                    words.clone().filter(|word| !has_weights[self.design.of_word(*word)[0] as usize]);
                evidence.unknown = unknown.count() as f32 / words.len() as f32;
                let before = score.rows_right;
                score.add(&rows[row], &fields);
                found.push((evidence, score.rows_right > before));
            }
        }
        TaggerReport {
            rows: rows.len() as u64,
            values: rows.iter().map(|row| row.spans.len() as u64).sum(),
            held_out_rows: score.rows,
            held_out_f1: score.f1(),
            held_out_precision: score.precision(),
            held_out_recall: score.recall(),
            temperature,
            words_factor: None,
            usual,
            passes: u64::from(passes),
            certainty: Certainty::fit(&found),
        }
    }

    /// Returns the temperature that maximises the likelihood of the right sequences of held-out rows, by golden-section
    /// search over its logarithm. A prior with the weight of about one row pulls it towards 1, because a few rows do
    /// not prove certainty.
    fn temperature(&self, held: &[(Chain, Vec<usize>)]) -> f32 {
        let mut cells = 0;
        let mut cached: Vec<(&Chain, usize, Vec<f32>)> = Vec::new();
        for (chain, row) in held.iter().flat_map(|(chain, rows)| rows.iter().map(move |row| (chain, *row))) {
            let count = self.design.words(row).len() * chain.transitions.tags();
            if count > 0 && cells + count <= CELLS_MAX {
                let mut scores = Vec::new();
                chain.score(&self.design, row, &mut scores);
                cached.push((chain, row, scores));
                cells += count;
            }
        }
        let mut lattice = Lattice::default();
        let loss = |logarithm: f64| {
            let inverse = (-logarithm).exp() as f32;
            let mut total = logarithm * logarithm;
            let mut current: Option<(&Chain, Transitions, Transitions)> = None;
            for (chain, row, scores) in &cached {
                if !matches!(&current, Some((of, ..)) if std::ptr::eq(*of, *chain)) {
                    let mut cooled = chain.transitions.clone();
                    cooled.parts_mut().into_iter().flatten().for_each(|step| *step *= inverse);
                    let exponentials = cooled.exponentials();
                    current = Some((*chain, cooled, exponentials));
                }
                let Some((_, cooled, exponentials)) = &current else { continue };
                let scores: Vec<f32> = scores.iter().map(|score| score * inverse).collect();
                lattice.sum(&scores, exponentials);
                let right: Vec<usize> =
                    self.design.targets[self.design.words(*row)].iter().map(|tag| *tag as usize).collect();
                total += lattice.total - cooled.score_of(&right, &scores);
            }
            total
        };
        let (low, high) = TEMPERATURES;
        calibrate::least(low.ln(), high.ln(), SEARCH_STEPS, loss).exp() as f32
    }

    /// Returns the features that have weights, in the order of their fingerprints, and the chain over them.
    fn stored(&self, chain: Chain) -> (Vec<u64>, Chain) {
        let mut order: Vec<(u64, u32)> = self.keys.iter().copied().zip(0..).collect();
        order.retain(|(_, feature)| !chain.weights.of(*feature).is_empty());
        order.sort_unstable();
        let mut weights = Weights::default();
        for (_, feature) in &order {
            weights.entries.extend_from_slice(&chain.weights.entries[chain.weights.of(*feature)]);
            weights.ends.push(weights.entries.len() as u32);
        }
        (order.into_iter().map(|(key, _)| key).collect(), Chain { weights, transitions: chain.transitions })
    }
}

/// Sets `into` to whether each feature has weights.
fn set_known_features(weights: &Weights, into: &mut Vec<bool>) {
    into.clear();
    into.extend((0..weights.ends.len()).map(|feature| !weights.of(feature as u32).is_empty()));
}
