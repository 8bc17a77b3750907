//! Tunes a text classifier.

use std::collections::BTreeMap;
use std::sync::Arc;

use bantam_engine::EncoderAdapter;
use bantam_kernels::Pool;
use bantam_student::encoder::{
    BasePooling, Blend, EncoderBase, TunedHead, TunedParts, assemble_tuned, blend,
};
use bantam_student::linear::{TrainLinearError, TrainingReport};
use bantam_student::{EncoderStudent, Example, ROWS_PER_LABEL_MIN};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use super::phase::{Note, PhaseRun, resumed};
use super::{Listener, Measurement, Phase, TuneError, TuningJob, base_parts, check_served, facts, split};
use crate::checkpoint::RunId;
use crate::classify::Classifier;
use crate::encoder::EncoderNetwork;
use crate::layout::Layout;
use crate::ops::PoolKind;
use crate::run::{Objective, State};

/// About how many rows the final student's head is compared on with the trained one.
const REPLAYED_ROWS: usize = 500;

/// Tunes the job's base on `rows`. Returns the student, and the report on held-out rows as it is served. Equal rows
/// and settings give equal bytes on machines with the same instruction set, with any number of threads.
///
/// # Errors
/// [`TuneError`]; the checkpoint holds the progress so far.
pub fn tune_classifier(
    rows: &[Example],
    job: &TuningJob<'_>,
    listener: Listener<'_>,
) -> Result<(EncoderStudent, TrainingReport), TuneError> {
    let groups = groups(rows)?;
    let labels: Vec<&str> = groups.keys().copied().collect();
    let all: Vec<Vec<usize>> = groups.values().cloned().collect();
    let (training, held_out) = split(&all, job.config.held_out, 2, job.config.run.seed);
    if held_out.is_empty() {
        return Err(TuneError::TooFewRows { rows: rows.len(), least: 4 * labels.len() });
    }
    let tuning = ClassifierTuning { rows, labels, job, pool: super::pool(job), data: hash_rows(rows) };
    let final_run = tuning.prepare(&(0..rows.len()).collect::<Vec<_>>(), &[], Phase::Final)?;
    let (state, note, measurement) = match resumed(&final_run.0, &final_run.1, job.checkpoint)? {
        Some((state, note)) => {
            let measurement = serde_json::from_str(&note.measurement).ok();
            (Some(state), note, measurement)
        }
        None => (None, Note::default(), None),
    };
    let (measurement, note) = match measurement {
        Some(measurement) => (measurement, note),
        None => {
            let measurement = tuning.measure(&training, &held_out, listener)?;
            let json = serde_json::to_string(&measurement).unwrap_or_default();
            (measurement, Note { measurement: json, ..Note::default() })
        }
    };
    let student = tuning.finish(&final_run, (state, note), &measurement, listener)?;
    if let Some(checkpoint) = job.checkpoint {
        // No longer needed; a leftover does no harm.
        let _ = std::fs::remove_file(checkpoint.path);
    }
    Ok((student, measurement.found.report))
}

/// Returns the rows of each label, in the labels' order.
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
struct ClassifierTuning<'t> {
    rows: &'t [Example],
    labels: Vec<&'t str>,
    job: &'t TuningJob<'t>,
    pool: Pool,
    data: String,
}

/// A tuned base as it is served, with its adapter and head.
struct ServedBase {
    base: Arc<EncoderBase>,
    adapter: EncoderAdapter,
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl ServedBase {
    fn parts(&self) -> TunedParts<'_> {
        let head = TunedHead { weights: &self.weights, bias: &self.bias };
        TunedParts { base: &self.base, adapter: &self.adapter, head }
    }
}

impl ClassifierTuning<'_> {
    /// Returns a classifier that trains on some rows and holds out others, and the id of its run.
    fn prepare(
        &self,
        training: &[usize],
        held_out: &[usize],
        phase: Phase,
    ) -> Result<(Classifier, RunId), TuneError> {
        let config = self.job.config;
        let (parts, tokens_max) = base_parts(self.job)?;
        let facts = facts(self.job, &parts, &self.data, phase);
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
        let rows = training.iter().chain(held_out).map(row).collect();
        let shape = (rows, training.len(), self.labels.len());
        let noise = (config.smoothing, config.head_dropout);
        let classifier = Classifier::new(network, layout, pooling, shape, noise);
        let id = RunId::of(&facts.each_ref().map(String::as_str), classifier.layout());
        Ok((classifier, id))
    }

    /// Performs the first run.
    fn measure(
        &self,
        training: &[usize],
        held_out: &[usize],
        listener: Listener<'_>,
    ) -> Result<Measurement<Blend>, TuneError> {
        let (classifier, id) = self.prepare(training, held_out, Phase::Measure)?;
        let run = self.phase_run(Phase::Measure, id, None);
        let start = resumed(&classifier, &run.id, self.job.checkpoint)?;
        let start = start.unwrap_or_else(|| (self.initial(&classifier), Note::default()));
        let accuracy = |parameters: &[f32]| classifier.held_out_accuracy(parameters, &self.pool);
        let (parameters, epoch) = run.finish(&classifier, start, &self.pool, &accuracy, listener)?;
        let trained = accuracy(&parameters);
        let served = self.served(&classifier, &parameters)?;
        let select = |rows: &[usize]| rows.iter().map(|row| self.rows[*row].clone()).collect::<Vec<_>>();
        let student = &self.job.config.student;
        let found = blend(&select(training), &select(held_out), served.parts(), student)?;
        check_served(trained, found.tuned_accuracy, held_out.len())?;
        let report = TrainingReport { passes: u64::from(epoch), ..found.report };
        Ok(Measurement { epoch, found: Blend { report, ..found } })
    }

    /// Performs the second run and returns its student.
    fn finish(
        &self,
        (classifier, id): &(Classifier, RunId),
        (state, note): (Option<State>, Note),
        measurement: &Measurement<Blend>,
        listener: Listener<'_>,
    ) -> Result<EncoderStudent, TuneError> {
        let run = self.phase_run(Phase::Final, id.clone(), Some(measurement.epoch));
        let state = match state {
            Some(state) => state,
            None => {
                let state = self.initial(classifier);
                run.save(&state, &note)?;
                state
            }
        };
        let (parameters, _) = run.finish(classifier, (state, note), &self.pool, &|_| 0.0, listener)?;
        let served = self.served(classifier, &parameters)?;
        self.replay(classifier, &parameters, &served)?;
        let base_path = self.job.base_path.to_owned();
        let config = &self.job.config.student;
        Ok(assemble_tuned(self.rows, served.parts(), base_path, &measurement.found, config)?)
    }

    /// Compares the labels that the served head gives some rows with those in training. Both were trained on these
    /// rows, so both label most of them correctly and differ only in how they compute.
    fn replay(
        &self,
        classifier: &Classifier,
        parameters: &[f32],
        served: &ServedBase,
    ) -> Result<(), TuneError> {
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

    fn phase_run(&self, phase: Phase, id: RunId, ends_after: Option<u32>) -> PhaseRun<'_> {
        let (config, checkpoint) = (&self.job.config.run, self.job.checkpoint);
        PhaseRun { phase, id, config, checkpoint, ends_after, patience: self.job.config.patience }
    }

    fn initial(&self, classifier: &Classifier) -> State {
        let config = self.job.config;
        State::new(classifier.initial(config.run.seed, config.sharpness, &self.pool))
    }

    fn served(&self, classifier: &Classifier, parameters: &[f32]) -> Result<ServedBase, TuneError> {
        let adapter = classifier.network().adapter(classifier.layout(), parameters);
        let (weights, bias) = classifier.head(parameters);
        let (weights, bias) = (weights.to_vec(), bias.to_vec());
        let base =
            self.job.bases.open_adapted(self.job.folder, self.job.identity, &adapter).map_err(Box::new)?;
        Ok(ServedBase { base, adapter, weights, bias })
    }
}

/// Hashes the rows. Each text is preceded by its length, so that no two lists of texts hash alike.
fn hash_rows(rows: &[Example]) -> String {
    let mut hash = Sha256::new();
    for row in rows {
        for part in [&row.text, &row.label] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
    }
    HEXLOWER.encode(&hash.finalize())
}
