//! Tunes a slot tagger.

use std::collections::BTreeSet;
use std::sync::Arc;

use bantam_engine::EncoderAdapter;
use bantam_kernels::Pool;
use bantam_student::encoder::EncoderBase;
use bantam_student::tagger::{
    LinearTaggerConfig, TaggedWord, TaggerParts, TaggerReport, TaggerStudent, Tags, TrainTaggerError,
    WordChain, data_hash, learn_words, usual_slots, windows,
};
use bantam_student::{Features, SlotExample};

use super::phase::{Note, PhaseRun, resumed};
use super::{Listener, Measurement, Phase, TuneError, TuningJob, base_parts, check_served, facts, split};
use crate::checkpoint::RunId;
use crate::encoder::EncoderNetwork;
use crate::layout::Layout;
use crate::run::{Objective, State};
use crate::tag::{TagRow, Tagger};

/// Minimum number of rows, so that some can be held out.
const ROWS_MIN: usize = 10;

/// Tunes the job's base on `rows` and returns the student, whose report covers held-out rows as they are served.
/// Equal rows and settings give equal bytes on machines with the same instruction set, with any number of threads.
///
/// # Errors
/// [`TuneError`]; the checkpoint holds the progress so far.
pub fn tune_tagger(
    rows: &[SlotExample],
    job: &TuningJob<'_>,
    listener: Listener<'_>,
) -> Result<TaggerStudent, TuneError> {
    let slots: BTreeSet<String> =
        rows.iter().flat_map(|row| &row.spans).map(|span| span.slot.clone()).collect();
    if rows.len() < ROWS_MIN {
        return Err(TuneError::TooFewRows { rows: rows.len(), least: ROWS_MIN });
    }
    if slots.is_empty() {
        return Err(TrainTaggerError::NoSlots.into());
    }
    let all: Vec<usize> = (0..rows.len()).collect();
    let (training, held_out) = split(std::slice::from_ref(&all), job.config.held_out, 1, job.config.run.seed);
    let tags = Tags::new(slots.into_iter().collect());
    let tuning = TaggerTuning { rows, tags, job, pool: super::pool(job), data: data_hash(rows) };
    let final_run = tuning.prepare(&all, &[], Phase::Final)?;
    let start = resumed(&final_run.0, &final_run.1, job.checkpoint)?;
    let measurement = start.as_ref().and_then(|(_, note)| serde_json::from_str(&note.measurement).ok());
    let (measurement, start): (Measurement<TaggerReport>, _) = match measurement {
        Some(measurement) => (measurement, start),
        None => (tuning.measure(&training, &held_out, listener)?, None),
    };
    let student = tuning.finish(&final_run, start, &measurement, listener)?;
    if let Some(checkpoint) = job.checkpoint {
        // No longer needed; a leftover does no harm.
        let _ = std::fs::remove_file(checkpoint.path);
    }
    Ok(student)
}

/// What both runs share.
struct TaggerTuning<'t> {
    rows: &'t [SlotExample],
    tags: Tags,
    job: &'t TuningJob<'t>,
    pool: Pool,
    data: String,
}

impl TaggerTuning<'_> {
    /// Returns a tagger that trains on some rows and holds out others, and the id of its run.
    fn prepare(
        &self,
        training: &[usize],
        held_out: &[usize],
        phase: Phase,
    ) -> Result<(Tagger, RunId), TuneError> {
        let config = self.job.config;
        let (parts, tokens_max) = base_parts(self.job)?;
        let facts = facts(self.job, &parts, &self.data, phase);
        let mut layout = Layout::default();
        let network = EncoderNetwork::load(parts.config, parts.weights, config.lora, &mut layout)?;
        let tag_rows = |indices: &[usize]| -> Vec<TagRow> {
            let windows = |index: &usize| {
                let row = &self.rows[*index];
                let read = windows(&parts.tokenizer, &row.text, &row.context, tokens_max);
                let words: Vec<TaggedWord> = read.words().copied().collect();
                let mut tags = self.tags.of_words(&words, &row.spans).into_iter();
                let mut tag_row = |sequence: bantam_student::tagger::Sequence| {
                    let tokens = sequence.words.iter().map(|word| word.token);
                    TagRow { words: tokens.zip(tags.by_ref()).collect(), ids: sequence.ids }
                };
                read.sequences.into_iter().map(&mut tag_row).collect::<Vec<_>>()
            };
            indices.iter().flat_map(windows).collect()
        };
        let (mut rows, held_out) = (tag_rows(training), tag_rows(held_out));
        let training_rows = rows.len();
        rows.extend(held_out);
        let shape = (rows, training_rows, self.tags.len());
        let tagger = Tagger::new(network, layout, shape, config.head_dropout);
        let id = RunId::of(&facts.each_ref().map(String::as_str), tagger.layout());
        Ok((tagger, id))
    }

    /// Performs the first run.
    fn measure(
        &self,
        training: &[usize],
        held_out: &[usize],
        listener: Listener<'_>,
    ) -> Result<Measurement<TaggerReport>, TuneError> {
        let (tagger, id) = self.prepare(training, held_out, Phase::Measure)?;
        let run = self.phase_run(Phase::Measure, id, None);
        let start = resumed(&tagger, &run.id, self.job.checkpoint)?;
        let start = start.unwrap_or_else(|| (self.initial(&tagger), Note::default()));
        let accuracy = |parameters: &[f32]| tagger.held_out_accuracy(parameters, &self.pool);
        let (parameters, epoch) = run.finish(&tagger, start, &self.pool, &accuracy, listener)?;
        let select = |rows: &[usize]| rows.iter().map(|row| self.rows[*row].clone()).collect::<Vec<_>>();
        let (training, held_out) = (select(training), select(held_out));
        let report = TaggerReport {
            rows: self.rows.len() as u64,
            values: self.rows.iter().map(|row| row.spans.len() as u64).sum(),
            held_out_rows: held_out.len() as u64,
            held_out_f1: 0.0,
            held_out_precision: 0.0,
            held_out_recall: 0.0,
            temperature: 1.0,
            words_factor: None,
            usual: usual_slots(self.rows, self.tags.slots()),
            passes: u64::from(epoch),
            certainty: None,
        };
        let words = self.words(&training)?;
        let student = |report: &TaggerReport| {
            self.student(&tagger, (&parameters, words.as_ref()), &training, report.clone())
        };
        let factors = student(&report)?.settle(&held_out, words.as_ref());
        check_served(accuracy(&parameters), factors.right, factors.words)?;
        let (temperature, words_factor) = (factors.temperature, factors.words_factor);
        let report = TaggerReport { temperature, words_factor, ..report };
        let student = student(&report)?;
        let score = student.score(&held_out);
        let report = TaggerReport {
            held_out_f1: score.f1(),
            held_out_precision: score.precision(),
            held_out_recall: score.recall(),
            certainty: student.fit_certainty(&held_out),
            ..report
        };
        Ok(Measurement { epoch, found: report })
    }

    /// Performs the second run and returns its student.
    fn finish(
        &self,
        (tagger, id): &(Tagger, RunId),
        start: Option<(State, Note)>,
        measurement: &Measurement<TaggerReport>,
        listener: Listener<'_>,
    ) -> Result<TaggerStudent, TuneError> {
        let run = self.phase_run(Phase::Final, id.clone(), Some(measurement.epoch));
        let start = match start {
            Some(start) => start,
            None => {
                let json = serde_json::to_string(measurement).unwrap_or_default();
                let start = (self.initial(tagger), Note { measurement: json, ..Note::default() });
                run.save(&start.0, &start.1)?;
                start
            }
        };
        let (parameters, _) = run.finish(tagger, start, &self.pool, &|_| 0.0, listener)?;
        let report = &measurement.found;
        let words = report.words_factor.and_then(|_| self.words(self.rows).transpose()).transpose()?;
        self.student(tagger, (&parameters, words.as_ref()), self.rows, report.clone())
    }

    /// Trains the linear model over words that complements the encoder; `None` if the settings exclude it.
    fn words(&self, rows: &[SlotExample]) -> Result<Option<WordChain>, TuneError> {
        if self.job.config.student.features == Features::Dense {
            return Ok(None);
        }
        let config =
            LinearTaggerConfig { seed: self.job.config.run.seed, ..LinearTaggerConfig::recommended() };
        Ok(Some(learn_words(rows, self.tags.slots(), &config)?))
    }

    fn phase_run(&self, phase: Phase, id: RunId, ends_after: Option<u32>) -> PhaseRun<'_> {
        let (config, checkpoint) = (&self.job.config.run, self.job.checkpoint);
        PhaseRun { phase, id, config, checkpoint, ends_after, patience: self.job.config.patience }
    }

    fn initial(&self, tagger: &Tagger) -> State {
        State::new(tagger.initial(self.job.config.run.seed))
    }

    fn student(
        &self,
        tagger: &Tagger,
        (parameters, words): (&[f32], Option<&WordChain>),
        rows: &[SlotExample],
        report: TaggerReport,
    ) -> Result<TaggerStudent, TuneError> {
        let adapter: EncoderAdapter = tagger.network().adapter(tagger.layout(), parameters);
        let (weights, bias) = tagger.head(parameters);
        let base: Arc<EncoderBase> =
            self.job.bases.open_adapted(self.job.folder, self.job.identity, &adapter).map_err(Box::new)?;
        let tokens_max = (base.identity().tokens_max as usize).min(self.job.config.tokens_max);
        let parts = TaggerParts { base: &base, adapter: &adapter, weights, bias, words, tokens_max };
        let base_path = self.job.base_path.to_owned();
        TaggerStudent::assemble(rows, &self.tags, parts, base_path, report).ok_or(TuneError::Unstorable)
    }
}
