//! A student that labels texts.

use std::collections::BTreeMap;
use std::sync::Arc;

use bantam_engine::EncoderAdapter;
use bantam_kernels::Pool;
use bantam_student::encoder::{
    BasePooling, Blend, EncoderBase, TunedHead, TunedParts, assemble_tuned, blend,
};
use bantam_student::linear::{TrainLinearError, TrainingReport};
use bantam_student::{EncoderStudent, Example, ROWS_PER_LABEL_MIN};
use sha2::{Digest, Sha256};

use super::phase::{Note, Run, resumed};
use super::{Lesson, Listener, Phase, Shown, TuneError, base_parts, check_served, facts, split};
use crate::checkpoint::RunId;
use crate::classify::Classifier;
use crate::encoder::EncoderNetwork;
use crate::layout::Layout;
use crate::ops::PoolKind;
use crate::run::{Objective, State};

/// Rows on which the last student's head is compared with what was trained.
const REPLAYED_ROWS: usize = 500;

/// Tunes the lesson's base on `rows` and returns the student, with what was measured on held-out rows as it is served.
/// Equal rows and settings give equal bytes on machines with the same instructions, on any number of threads.
///
/// # Errors
/// [`TuneError`]; what was learnt until then is in the checkpoint.
pub fn tune_classifier(
    rows: &[Example],
    lesson: &Lesson<'_>,
    listener: Listener<'_>,
) -> Result<(EncoderStudent, TrainingReport), TuneError> {
    let groups = groups(rows)?;
    let labels: Vec<&str> = groups.keys().copied().collect();
    let all: Vec<Vec<usize>> = groups.values().cloned().collect();
    let (learnt, held) = split(&all, lesson.config.held_out, 2, lesson.config.run.seed);
    if held.is_empty() {
        return Err(TuneError::TooFewRows { rows: rows.len(), least: 4 * labels.len() });
    }
    let work = Work { rows, labels, lesson, pool: super::pool(lesson), data: hash_rows(rows) };
    let whole = work.run_on(&(0..rows.len()).collect::<Vec<_>>(), &[], Phase::Final)?;
    let begun = resumed(&whole.0, &whole.1, lesson.checkpoint)?;
    let (state, note, shown) = match begun {
        Some((state, note)) => {
            let shown = serde_json::from_str(&note.shown).ok();
            (Some(state), note, shown)
        }
        None => (None, Note::default(), None),
    };
    let (shown, note) = match shown {
        Some(shown) => (shown, note),
        None => {
            let shown = work.measure(&learnt, &held, listener)?;
            let note = Note { shown: serde_json::to_string(&shown).unwrap_or_default(), ..Note::default() };
            (shown, note)
        }
    };
    let student = work.last(&whole, (state, note), &shown, listener)?;
    if let Some(checkpoint) = lesson.checkpoint {
        // It has served; what cannot be removed does no harm.
        let _ = std::fs::remove_file(checkpoint.path);
    }
    Ok((student, shown.found.report))
}

/// The rows of each label, in the labels' order.
fn groups(rows: &[Example]) -> Result<BTreeMap<&str, Vec<usize>>, TuneError> {
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        groups.entry(row.label.as_str()).or_default().push(index);
    }
    if let Some((label, rows)) = groups.iter().find(|(_, rows)| rows.len() < ROWS_PER_LABEL_MIN) {
        return Err(TrainLinearError::LabelTooRare { label: (*label).to_owned(), rows: rows.len() }.into());
    }
    match groups.len() {
        0 => Err(TrainLinearError::NoRows.into()),
        1 => Err(TrainLinearError::OneLabel { label: rows[0].label.clone() }.into()),
        _ => Ok(groups),
    }
}

/// What both runs share.
struct Work<'w> {
    rows: &'w [Example],
    labels: Vec<&'w str>,
    lesson: &'w Lesson<'w>,
    pool: Pool,
    data: String,
}

/// A tuned base as it is served, with its changes and head.
struct Served {
    base: Arc<EncoderBase>,
    adapter: EncoderAdapter,
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl Served {
    fn parts(&self) -> TunedParts<'_> {
        let head = TunedHead { weights: &self.weights, bias: &self.bias };
        TunedParts { base: &self.base, adapter: &self.adapter, head }
    }
}

impl Work<'_> {
    /// What learns from some rows and may be asked about others, and the name of its run.
    fn run_on(
        &self,
        learnt: &[usize],
        held: &[usize],
        phase: Phase,
    ) -> Result<(Classifier, RunId), TuneError> {
        let config = self.lesson.config;
        let (parts, tokens_max) = base_parts(self.lesson)?;
        let facts = facts(self.lesson, &parts, &self.data, phase);
        let mut layout = Layout::default();
        let network = EncoderNetwork::load(parts.config, parts.weights, config.lora, &mut layout)?;
        let class = |row: &Example| self.labels.binary_search(&row.label.as_str()).unwrap_or_default() as u32;
        let row = |index: &usize| {
            let row = &self.rows[*index];
            let mut ids = Vec::new();
            parts.tokenizer.encode(&row.text, tokens_max, &mut ids);
            (ids, class(row))
        };
        let pooling = match parts.identity.pooling {
            BasePooling::Mean => PoolKind::Mean,
            BasePooling::Cls => PoolKind::First,
        };
        let rows = learnt.iter().chain(held).map(row).collect();
        let shape = (rows, learnt.len(), self.labels.len());
        let noise = (config.smoothing, config.head_dropout);
        let classifier = Classifier::new(network, layout, pooling, shape, noise);
        let id = RunId::of(&facts.each_ref().map(String::as_str), classifier.layout());
        Ok((classifier, id))
    }

    /// The first run, and what it shows.
    fn measure(
        &self,
        learnt: &[usize],
        held: &[usize],
        listener: Listener<'_>,
    ) -> Result<Shown<Blend>, TuneError> {
        let (classifier, id) = self.run_on(learnt, held, Phase::Measure)?;
        let run = self.told(Phase::Measure, id, None);
        let begun = resumed(&classifier, &run.id, self.lesson.checkpoint)?;
        let begun = begun.unwrap_or_else(|| (self.initial(&classifier), Note::default()));
        let judge = |parameters: &[f32]| classifier.held_out_accuracy(parameters, &self.pool);
        let (parameters, epoch) = run.finish(&classifier, begun, &self.pool, &judge, listener)?;
        let trained = judge(&parameters);
        let served = self.served(&classifier, &parameters)?;
        let of = |rows: &[usize]| rows.iter().map(|row| self.rows[*row].clone()).collect::<Vec<_>>();
        let found = blend(&of(learnt), &of(held), served.parts(), &self.lesson.config.student)?;
        check_served(trained, found.tuned_accuracy, held.len())?;
        let report = TrainingReport { passes: u64::from(epoch), ..found.report };
        Ok(Shown { epoch, found: Blend { report, ..found } })
    }

    /// The second run, and its student.
    fn last(
        &self,
        (classifier, id): &(Classifier, RunId),
        (state, note): (Option<State>, Note),
        shown: &Shown<Blend>,
        listener: Listener<'_>,
    ) -> Result<EncoderStudent, TuneError> {
        let run = self.told(Phase::Final, id.clone(), Some(shown.epoch));
        let state = match state {
            Some(state) => state,
            None => {
                let state = self.initial(classifier);
                run.keep(&state, &note)?;
                state
            }
        };
        let (parameters, _) = run.finish(classifier, (state, note), &self.pool, &|_| 0.0, listener)?;
        let served = self.served(classifier, &parameters)?;
        self.replay(classifier, &parameters, &served)?;
        let base_path = self.lesson.base_path.to_owned();
        let config = &self.lesson.config.student;
        Ok(assemble_tuned(self.rows, served.parts(), base_path, &shown.found, config)?)
    }

    /// Compares some rows' labels by the head as it is served with those in training: the rows were learnt, so either
    /// has most of them right, and only the way of computing differs.
    fn replay(&self, classifier: &Classifier, parameters: &[f32], served: &Served) -> Result<(), TuneError> {
        let step = (self.rows.len() / REPLAYED_ROWS).max(1);
        let sample: Vec<usize> = (0..self.rows.len()).step_by(step).collect();
        let right = |found: &[u32]| {
            let is_right =
                |(row, class): (&usize, &u32)| self.labels[*class as usize] == self.rows[*row].label;
            sample.iter().zip(found).filter(|pair| is_right(*pair)).count() as f64 / sample.len() as f64
        };
        let trained = right(&classifier.predict(parameters, &sample, &self.pool));
        let texts: Vec<&str> = sample.iter().map(|row| self.rows[*row].text.as_str()).collect();
        let labels = served.parts().labels(&texts);
        check_served(trained, right(&labels), sample.len())
    }

    fn told(&self, phase: Phase, id: RunId, ends_after: Option<u32>) -> Run<'_> {
        let (config, checkpoint) = (&self.lesson.config.run, self.lesson.checkpoint);
        Run { phase, id, config, checkpoint, ends_after, patience: self.lesson.config.patience }
    }

    fn initial(&self, classifier: &Classifier) -> State {
        let config = self.lesson.config;
        State::new(classifier.initial(config.run.seed, config.sharpness, &self.pool))
    }

    fn served(&self, classifier: &Classifier, parameters: &[f32]) -> Result<Served, TuneError> {
        let adapter = classifier.network().adapter(classifier.layout(), parameters);
        let (weights, bias) = classifier.head(parameters);
        let (weights, bias) = (weights.to_vec(), bias.to_vec());
        let precision = self.lesson.config.precision;
        let base =
            self.lesson.bases.open_adapted(self.lesson.folder, precision, &adapter).map_err(Box::new)?;
        Ok(Served { base, adapter, weights, bias })
    }
}

/// Names the rows: lengths keep two texts from being mistaken for one.
fn hash_rows(rows: &[Example]) -> String {
    let mut hash = Sha256::new();
    for row in rows {
        for part in [&row.text, &row.label] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
