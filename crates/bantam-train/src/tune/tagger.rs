//! A student that finds values.

use std::collections::BTreeSet;
use std::sync::Arc;

use bantam_engine::EncoderAdapter;
use bantam_kernels::Pool;
use bantam_student::encoder::EncoderBase;
use bantam_student::tagger::{
    LinearTaggerConfig, TaggedWord, TaggerParts, TaggerReport, TaggerStudent, Tags, WordChain, data_hash,
    learn_words, usual_slots, windows,
};
use bantam_student::{Features, SlotExample};

use super::phase::{Note, Run, resumed};
use super::{Lesson, Listener, Phase, Shown, TuneError, base_parts, check_served, facts, split};
use crate::checkpoint::RunId;
use crate::encoder::EncoderNetwork;
use crate::layout::Layout;
use crate::run::{Objective, State};
use crate::tag::{TagRow, Tagger};

/// Rows that are needed to hold some back.
const ROWS_MIN: usize = 10;

/// Tunes the lesson's base on `rows` and returns the student; its report is of held-out rows, as it is served. Equal
/// rows and settings give equal bytes on machines with the same instructions, on any number of threads.
///
/// # Errors
/// [`TuneError`]; what was learnt until then is in the checkpoint.
pub fn tune_tagger(
    rows: &[SlotExample],
    lesson: &Lesson<'_>,
    listener: Listener<'_>,
) -> Result<TaggerStudent, TuneError> {
    let slots: BTreeSet<String> =
        rows.iter().flat_map(|row| &row.spans).map(|span| span.slot.clone()).collect();
    if rows.len() < ROWS_MIN || slots.is_empty() {
        return Err(TuneError::TooFewRows { rows: rows.len(), least: ROWS_MIN });
    }
    let all: Vec<usize> = (0..rows.len()).collect();
    let (learnt, held) = split(std::slice::from_ref(&all), lesson.config.held_out, 1, lesson.config.run.seed);
    let tags = Tags::new(slots.into_iter().collect());
    let work = Work { rows, tags, lesson, pool: super::pool(lesson), data: data_hash(rows) };
    let whole = work.run_on(&all, &[], Phase::Final)?;
    let begun = resumed(&whole.0, &whole.1, lesson.checkpoint)?;
    let shown = begun.as_ref().and_then(|(_, note)| serde_json::from_str(&note.shown).ok());
    let (shown, begun): (Shown<TaggerReport>, _) = match shown {
        Some(shown) => (shown, begun),
        None => (work.measure(&learnt, &held, listener)?, None),
    };
    let student = work.last(&whole, begun, &shown, listener)?;
    if let Some(checkpoint) = lesson.checkpoint {
        // It has served; what cannot be removed does no harm.
        let _ = std::fs::remove_file(checkpoint.path);
    }
    Ok(student)
}

/// What both runs share.
struct Work<'w> {
    rows: &'w [SlotExample],
    tags: Tags,
    lesson: &'w Lesson<'w>,
    pool: Pool,
    data: String,
}

impl Work<'_> {
    /// What learns from some rows and may be asked about others, and the name of its run.
    fn run_on(&self, learnt: &[usize], held: &[usize], phase: Phase) -> Result<(Tagger, RunId), TuneError> {
        let config = self.lesson.config;
        let (parts, tokens_max) = base_parts(self.lesson)?;
        let facts = facts(self.lesson, &parts, &self.data, phase);
        let mut layout = Layout::default();
        let network = EncoderNetwork::load(parts.config, parts.weights, config.lora, &mut layout)?;
        let of = |indices: &[usize]| -> Vec<TagRow> {
            let windows = |index: &usize| {
                let row = &self.rows[*index];
                let read = windows(&parts.tokenizer, &row.text, &row.context, tokens_max);
                let words: Vec<TaggedWord> = read.words().copied().collect();
                let mut tags = self.tags.of_words(&words, &row.spans).into_iter();
                let mut row_of = |sequence: bantam_student::tagger::Sequence| {
                    let places = sequence.words.iter().map(|word| word.token);
                    TagRow { words: places.zip(tags.by_ref()).collect(), ids: sequence.ids }
                };
                read.sequences.into_iter().map(&mut row_of).collect::<Vec<_>>()
            };
            indices.iter().flat_map(windows).collect()
        };
        let (mut rows, held) = (of(learnt), of(held));
        let learnt = rows.len();
        rows.extend(held);
        let tagger = Tagger::new(network, layout, (rows, learnt, self.tags.len()), config.head_dropout);
        let id = RunId::of(&facts.each_ref().map(String::as_str), tagger.layout());
        Ok((tagger, id))
    }

    /// The first run, and what it shows.
    fn measure(
        &self,
        learnt: &[usize],
        held: &[usize],
        listener: Listener<'_>,
    ) -> Result<Shown<TaggerReport>, TuneError> {
        let (tagger, id) = self.run_on(learnt, held, Phase::Measure)?;
        let run = self.told(Phase::Measure, id, None);
        let begun = resumed(&tagger, &run.id, self.lesson.checkpoint)?;
        let begun = begun.unwrap_or_else(|| (self.initial(&tagger), Note::default()));
        let judge = |parameters: &[f32]| tagger.held_out_accuracy(parameters, &self.pool);
        let (parameters, epoch) = run.finish(&tagger, begun, &self.pool, &judge, listener)?;
        let of = |rows: &[usize]| rows.iter().map(|row| self.rows[*row].clone()).collect::<Vec<_>>();
        let (learnt, held) = (of(learnt), of(held));
        let report = TaggerReport {
            rows: self.rows.len() as u64,
            values: self.rows.iter().map(|row| row.spans.len() as u64).sum(),
            held_out_rows: held.len() as u64,
            held_out_f1: 0.0,
            held_out_precision: 0.0,
            held_out_recall: 0.0,
            temperature: 1.0,
            words_factor: None,
            usual: usual_slots(self.rows, self.tags.slots()),
            passes: u64::from(epoch),
            certainty: None,
        };
        let words = self.words(&learnt)?;
        let student = |report: &TaggerReport| {
            self.student(&tagger, (&parameters, words.as_ref()), &learnt, report.clone())
        };
        let settled = student(&report)?.settle(&held, words.as_ref());
        check_served(judge(&parameters), settled.right, settled.words)?;
        let (temperature, words_factor) = (settled.temperature, settled.words_factor);
        let report = TaggerReport { temperature, words_factor, ..report };
        let student = student(&report)?;
        let score = student.score(&held);
        let report = TaggerReport {
            held_out_f1: score.f1(),
            held_out_precision: score.precision(),
            held_out_recall: score.recall(),
            certainty: student.fit_certainty(&held),
            ..report
        };
        Ok(Shown { epoch, found: report })
    }

    /// The second run, and its student.
    fn last(
        &self,
        (tagger, id): &(Tagger, RunId),
        begun: Option<(State, Note)>,
        shown: &Shown<TaggerReport>,
        listener: Listener<'_>,
    ) -> Result<TaggerStudent, TuneError> {
        let run = self.told(Phase::Final, id.clone(), Some(shown.epoch));
        let begun = match begun {
            Some(begun) => begun,
            None => {
                let shown = serde_json::to_string(shown).unwrap_or_default();
                let begun = (self.initial(tagger), Note { shown, ..Note::default() });
                run.keep(&begun.0, &begun.1)?;
                begun
            }
        };
        let (parameters, _) = run.finish(tagger, begun, &self.pool, &|_| 0.0, listener)?;
        let words = shown.found.words_factor.and_then(|_| self.words(self.rows).transpose()).transpose()?;
        self.student(tagger, (&parameters, words.as_ref()), self.rows, shown.found.clone())
    }

    /// What the words of rows say of their tags, where that may stand beside the encoder.
    fn words(&self, rows: &[SlotExample]) -> Result<Option<WordChain>, TuneError> {
        if self.lesson.config.student.features == Features::Dense {
            return Ok(None);
        }
        let config =
            LinearTaggerConfig { seed: self.lesson.config.run.seed, ..LinearTaggerConfig::recommended() };
        Ok(Some(learn_words(rows, self.tags.slots(), &config)?))
    }

    fn told(&self, phase: Phase, id: RunId, ends_after: Option<u32>) -> Run<'_> {
        let (config, checkpoint) = (&self.lesson.config.run, self.lesson.checkpoint);
        Run { phase, id, config, checkpoint, ends_after, patience: self.lesson.config.patience }
    }

    fn initial(&self, tagger: &Tagger) -> State {
        State::new(tagger.initial(self.lesson.config.run.seed))
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
        let precision = self.lesson.config.precision;
        let base: Arc<EncoderBase> =
            self.lesson.bases.open_adapted(self.lesson.folder, precision, &adapter).map_err(Box::new)?;
        let tokens_max = (base.identity().tokens_max as usize).min(self.lesson.config.tokens_max);
        let parts = TaggerParts { base: &base, adapter: &adapter, weights, bias, words, tokens_max };
        let base_path = self.lesson.base_path.to_owned();
        TaggerStudent::assemble(rows, &self.tags, parts, base_path, report).ok_or(TuneError::Unstorable)
    }
}
