//! From rows with slots to a linear tagger.

use std::collections::{BTreeSet, HashMap};

use super::features::Seen;
use super::fit::{Chain, Design, FitConfig, Weights, fit};
use super::scorer::Scorer;
use super::{LinearTagger, LinearTaggerConfig, LinearTaggerDescription, format};
use crate::container::{self, Kind};
use crate::linear::lookup::Table;
use crate::linear::train::CREATED_BY;
use crate::linear::{calibrate, folds, parallel};
use crate::seen::SeenTexts;
use crate::slots::{SlotExample, SlotSpan, have_context};
use crate::tagger::certainty::{Certainty, Evidence};
use crate::tagger::lattice::{Lattice, Steps};
use crate::tagger::reading::{Found, Reader};
use crate::tagger::tags::placed;
use crate::tagger::{SLOTS_MAX, SlotScore, TaggerReport, data_hash, usual_slots};

/// Rows that are needed to hold some back.
const ROWS_MIN: usize = 10;
const FOLDS: usize = 5;
/// Held-out rows that are enough to measure and to calibrate: of many rows not every fold is judged.
const HELD_OUT_ENOUGH: usize = 3000;
/// Rows from which on a feature must be on more than one word.
const ROWS_MANY: usize = 1000;
/// Scores that the search for the temperature looks at, at most.
const CELLS_MAX: usize = 8_000_000;
const TEMPERATURES: (f64, f64) = (0.5, 8.0);
const SEARCH_STEPS: usize = 16;

/// Why training refused.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TrainTaggerError {
    /// Too little to hold some back.
    #[error("{rows} rows are too few: at least {ROWS_MIN} are needed")]
    TooFewRows {
        /// Rows given.
        rows: usize,
    },
    /// Nothing to find.
    #[error("no row has a value in its slots")]
    NoSlots,
    /// More slots than a student holds.
    #[error("there are {slots} slots; at most {SLOTS_MAX} can be told apart")]
    TooManySlots {
        /// Slots found.
        slots: usize,
    },
    /// More words or features than can be numbered.
    #[error("the rows hold more words than can be learnt from at once")]
    TooLarge,
    /// A setting that makes no sense, or numbers that no file may hold.
    #[error("training ended in numbers that no file may hold")]
    Unstorable,
}

impl TrainTaggerError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::TooFewRows { .. } => "add rows; a hundred for each slot are a good start",
            Self::NoSlots => {
                "a row is one line such as {\"text\": \"a table for two\", \"slots\": {\"people\": [\"two\"]}}"
            }
            Self::TooManySlots { .. } => "check that names and values of the slots are not swapped",
            Self::TooLarge => "train on a sample of the rows",
            Self::Unstorable => "start from the recommended settings",
        }
    }
}

/// How far training has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaggerProgress {
    /// Passes that are done, over all models.
    pub done: usize,
    /// Passes there will be.
    pub passes: usize,
}

/// Trains a linear tagger: parts of the rows are held out in turn to measure and to calibrate, then all are learnt. Equal
/// rows and settings give equal bytes, on any number of threads.
///
/// # Errors
/// [`TrainTaggerError`], when the rows cannot be learnt from.
pub fn train(
    rows: &[SlotExample],
    config: &LinearTaggerConfig,
    on_progress: &mut dyn FnMut(TaggerProgress),
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
    let lesson = Lesson::new(rows, &slots).ok_or(TrainTaggerError::TooLarge)?;
    let texts: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
    let folds = folds::assign(&texts, &vec![0; rows.len()], 1, FOLDS, config.seed);
    let judged = (HELD_OUT_ENOUGH.div_ceil(rows.len().div_ceil(FOLDS))).clamp(1, FOLDS);
    let fit_config = fit_config(config, rows.len());
    // The last job learns from all rows.
    let jobs: Vec<usize> = (0..=judged).map(|job| if job == judged { FOLDS } else { job }).collect();
    let part = |job: usize, held: bool| -> Vec<usize> {
        (0..rows.len()).filter(|row| (folds[*row] == job) == held).collect()
    };
    let work = |job: usize, send: &mut dyn FnMut(())| {
        fit(&lesson.design, &part(job, false), slots.len(), &fit_config, &mut |_| send(()))
    };
    let passes = jobs.len() * fit_config.passes;
    let mut done = 0;
    let mut chains = parallel::run(config.threads, jobs, work, &mut |()| {
        done += 1;
        on_progress(TaggerProgress { done, passes });
    });
    let whole = chains.pop().ok_or(TrainTaggerError::Unstorable)?;
    let held: Vec<(Chain, Vec<usize>)> =
        chains.into_iter().enumerate().map(|(job, chain)| (chain, part(job, true))).collect();
    let report = lesson.judge(rows, &slots, held, config.passes);
    let description = LinearTaggerDescription {
        created_by: CREATED_BY.to_owned(),
        config: config.clone(),
        data_hash: data_hash(rows),
        reads_context: have_context(rows),
        seen: SeenTexts::of_texts(texts.into_iter()),
        report,
        slots,
    };
    let (keys, chain) = lesson.stored(whole);
    let json = serde_json::to_vec(&description).map_err(|_| TrainTaggerError::Unstorable)?;
    let body = format::encode(&json, &keys, &chain);
    let (_, hash) = container::seal(Kind::LinearTagger, &body);
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

/// What words themselves say of their tags, as it was learnt: it stands beside an encoder in a tagger's file.
#[derive(Debug, Clone)]
pub struct WordChain {
    pub(crate) keys: Vec<u64>,
    pub(crate) chain: Chain,
}

impl WordChain {
    /// What it says of words; None where training would have made fingerprints repeat.
    pub(crate) fn scorer(&self) -> Option<Scorer> {
        let Chain { weights, steps } = self.chain.clone();
        Some(Scorer { table: Table::new(&self.keys, 0)?, weights, steps })
    }
}

/// Learns what words themselves say of the tags of `slots`, which are in byte order, from all rows. Equal rows and settings
/// give equal bits. Nothing is held out: whoever joins it with another reading measures both.
///
/// # Errors
/// [`TrainTaggerError::TooLarge`], when there are more words or features than can be numbered.
pub fn learn_words(
    rows: &[SlotExample],
    slots: &[String],
    config: &LinearTaggerConfig,
) -> Result<WordChain, TrainTaggerError> {
    let lesson = Lesson::new(rows, slots).ok_or(TrainTaggerError::TooLarge)?;
    let all: Vec<usize> = (0..rows.len()).collect();
    let chain = fit(&lesson.design, &all, slots.len(), &fit_config(config, rows.len()), &mut |_| ());
    let (keys, chain) = lesson.stored(chain);
    Ok(WordChain { keys, chain })
}

/// The right tag of every word, in planes.
pub(crate) fn targets(words: &[(usize, usize)], spans: &[SlotSpan], slots: &[String]) -> Vec<u32> {
    let tag = |(slot, is_first): (usize, bool)| (1 + slot + if is_first { 0 } else { slots.len() }) as u32;
    placed(words, spans, slots).into_iter().map(|of| of.map_or(0, tag)).collect()
}

/// The rows as numbers.
struct Lesson {
    design: Design,
    /// The fingerprint of every feature.
    keys: Vec<u64>,
    /// Where each row's words begin and end.
    words: Vec<(usize, usize)>,
}

impl Lesson {
    /// None, where there is more than 32 bits can number.
    fn new(rows: &[SlotExample], slots: &[String]) -> Option<Self> {
        let mut numbers: HashMap<u64, u32> = HashMap::new();
        let mut lesson = Self { design: Design::default(), keys: Vec::new(), words: Vec::new() };
        let (design, keys) = (&mut lesson.design, &mut lesson.keys);
        let mut seen = Seen::default();
        let mut number = |key: &u64| {
            *numbers.entry(*key).or_insert_with(|| {
                keys.push(*key);
                keys.len() as u32 - 1
            })
        };
        for row in rows {
            seen.look(&row.text, &row.context);
            for word in 0..seen.words.len() {
                design.features.extend(seen.of_word(word).iter().map(&mut number));
                design.word_ends.push(u32::try_from(design.features.len()).ok()?);
            }
            design.shared.extend(seen.of_text.iter().map(&mut number));
            design.shared_ends.push(u32::try_from(design.shared.len()).ok()?);
            design.targets.extend(targets(&seen.words, &row.spans, slots));
            design.row_ends.push(u32::try_from(design.word_ends.len()).ok()?);
            lesson.words.extend(&seen.words);
        }
        design.count = lesson.keys.len();
        Some(lesson)
    }

    /// What held-out rows say of the chains that have not seen them.
    fn judge(
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
        let (mut lattice, mut scores, mut seen) = (Lattice::default(), Vec::new(), Vec::new());
        for (mut chain, rows_held) in held {
            chain.cool(temperature);
            let powers = chain.steps.powers();
            let reader = Reader { slots, steps: &chain.steps, powers: &powers, usual: &usual };
            known(&chain.weights, &mut seen);
            for row in rows_held {
                let words = self.design.words(row);
                if words.is_empty() {
                    score.add(&rows[row], &[]);
                    continue;
                }
                chain.score(&self.design, row, &mut scores);
                let places = &self.words[words.clone()];
                let read = reader.read(&rows[row].text, places, &scores, &mut lattice);
                let Found { fields, mut evidence, .. } = read;
                let unknown = words.clone().filter(|word| !seen[self.design.of_word(*word)[0] as usize]);
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

    /// The temperature under which the right sequences of held-out rows are likeliest, by golden-section search over its
    /// logarithm. As if one row more spoke for 1: a few rows do not prove certainty.
    fn temperature(&self, held: &[(Chain, Vec<usize>)]) -> f32 {
        let mut cells = 0;
        let mut cached: Vec<(&Chain, usize, Vec<f32>)> = Vec::new();
        for (chain, row) in held.iter().flat_map(|(chain, rows)| rows.iter().map(move |row| (chain, *row))) {
            let count = self.design.words(row).len() * chain.steps.tags();
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
            let mut steps: Option<(&Chain, Steps, Steps)> = None;
            for (chain, row, scores) in &cached {
                if !matches!(&steps, Some((of, ..)) if std::ptr::eq(*of, *chain)) {
                    let mut cooled = chain.steps.clone();
                    cooled.parts_mut().into_iter().flatten().for_each(|step| *step *= inverse);
                    let powers = cooled.powers();
                    steps = Some((*chain, cooled, powers));
                }
                let Some((_, cooled, powers)) = &steps else { continue };
                let scores: Vec<f32> = scores.iter().map(|score| score * inverse).collect();
                lattice.sum(&scores, powers);
                let right: Vec<usize> =
                    self.design.targets[self.design.words(*row)].iter().map(|tag| *tag as usize).collect();
                total += lattice.total - cooled.score_of(&right, &scores);
            }
            total
        };
        let (low, high) = TEMPERATURES;
        calibrate::least(low.ln(), high.ln(), SEARCH_STEPS, loss).exp() as f32
    }

    /// The features that have weights, in the order of their fingerprints, and the chain over them.
    fn stored(&self, chain: Chain) -> (Vec<u64>, Chain) {
        let mut order: Vec<(u64, u32)> = self.keys.iter().copied().zip(0..).collect();
        order.retain(|(_, feature)| !chain.weights.of(*feature).is_empty());
        order.sort_unstable();
        let mut weights = Weights::default();
        for (_, feature) in &order {
            weights.entries.extend_from_slice(&chain.weights.entries[chain.weights.of(*feature)]);
            weights.ends.push(weights.entries.len() as u32);
        }
        (order.into_iter().map(|(key, _)| key).collect(), Chain { weights, steps: chain.steps })
    }
}

/// Which features have weights.
fn known(weights: &Weights, into: &mut Vec<bool>) {
    into.clear();
    into.extend((0..weights.ends.len()).map(|feature| !weights.of(feature as u32).is_empty()));
}
