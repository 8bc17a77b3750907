//! A student that finds values.

use std::collections::BTreeSet;
use std::sync::Arc;

use bantam_engine::EncoderAdapter;
use bantam_kernels::Pool;
use bantam_student::SlotExample;
use bantam_student::encoder::EncoderBase;
use bantam_student::tagger::{TaggerParts, TaggerReport, TaggerStudent, Tags, data_hash, sequence};

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
        let row = |index: &usize| {
            let row = &self.rows[*index];
            let read = sequence(&parts.tokenizer, &row.text, &row.context, tokens_max);
            let tags = self.tags.of_words(&read.words, &row.spans);
            let words = read.words.iter().map(|word| word.token).zip(tags).collect();
            TagRow { ids: read.ids, words }
        };
        let rows = learnt.iter().chain(held).map(row).collect();
        let tagger = Tagger::new(network, layout, (rows, learnt.len(), self.tags.len()), config.head_dropout);
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
            passes: u64::from(epoch),
            certainty: None,
        };
        let student = self.student(&tagger, &parameters, &learnt, report.clone())?;
        let (temperature, served, words) = student.calibrate(&held);
        check_served(judge(&parameters), served, words)?;
        let score = student.score(&held);
        let report = TaggerReport {
            held_out_f1: score.f1(),
            held_out_precision: score.precision(),
            held_out_recall: score.recall(),
            temperature,
            certainty: student.fit_certainty(&held, temperature),
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
        self.student(tagger, &parameters, self.rows, shown.found.clone())
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
        parameters: &[f32],
        rows: &[SlotExample],
        report: TaggerReport,
    ) -> Result<TaggerStudent, TuneError> {
        let adapter: EncoderAdapter = tagger.network().adapter(tagger.layout(), parameters);
        let (weights, bias) = tagger.head(parameters);
        let precision = self.lesson.config.precision;
        let base: Arc<EncoderBase> =
            self.lesson.bases.open_adapted(self.lesson.folder, precision, &adapter).map_err(Box::new)?;
        let parts = TaggerParts { base: &base, adapter: &adapter, weights, bias };
        let base_path = self.lesson.base_path.to_owned();
        TaggerStudent::assemble(rows, &self.tags, parts, base_path, report).ok_or(TuneError::Unstorable)
    }
}
