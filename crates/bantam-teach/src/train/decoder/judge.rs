//! How a student does on the rows that were held out, asked as it will be served, and what tells its right answers from
//! its wrong ones.

use std::path::Path;
use std::sync::Arc;

use bantam_eval::{accepted_share, confidence_auc, is_about_the_text};
use bantam_kernels::Pool;
use bantam_local::{DecoderStudent, DecoderStudentFile, Draft};
use bantam_route::Evidence;
use bantam_student::{Example, JudgedAnswer, Salt, Verifier, is_same_answer};
use futures_util::StreamExt;
use futures_util::stream::iter;

use super::finish::Finished;
use crate::decoder_rows::DecoderRow;
use crate::event::TrainingEvent;
use crate::runtime::block_on;
use crate::train::TrainError;
use crate::train::course::Course;

/// Rows that are asked at a time, so that they run in one batch.
const ROWS_AT_A_TIME: usize = 8;
/// The share of wrong answers that the report's share of accepted rows is about.
const ERROR: f64 = 0.02;

/// A row that was asked. A text that the student cannot take has no draft.
struct AskedRow {
    draft: Option<Draft>,
    is_right: bool,
}

impl AskedRow {
    fn evidence(&self) -> Evidence {
        let valid = self.draft.as_ref().filter(|draft| draft.answer.is_valid);
        Evidence { probability: valid.map(|draft| draft.answer.probability), correct: self.is_right }
    }
}

/// Asks the student about the rows held out, and gives it what ranks its answers best: the probabilities of its tokens,
/// with the agreement of further answers where that wins, or a verifier of all this where that wins.
pub(super) fn judge(
    finished: Finished<'_>,
    student: &mut DecoderStudentFile,
    folder: &Path,
    (pool, course): (&Arc<Pool>, &mut Course<'_>),
) -> Result<(), TrainError> {
    let rows = questions(finished, finished.held_out);
    student.report.asked_rows = rows.len();
    if rows.is_empty() {
        return Ok(());
    }
    let mut asked = ask(student, folder, &rows, (pool, course))?;
    let mut evidence: Vec<Evidence> = asked.iter().map(AskedRow::evidence).collect();
    student.report.confidence_auc = confidence_auc(&evidence);
    let mut best = student.report.confidence_auc;
    let samples = finished.settings.samples;
    if student.labels().is_empty() && samples > 0 {
        student.samples = samples;
        let sampled = ask(student, folder, &rows, (pool, course))?;
        let drawn: Vec<Evidence> = sampled.iter().map(AskedRow::evidence).collect();
        student.report.sampled_auc = confidence_auc(&drawn);
        // Drawing costs time at every request: it must earn it.
        if student.report.sampled_auc > best {
            (asked, evidence, best) = (sampled, drawn, student.report.sampled_auc);
        } else {
            student.samples = 0;
        }
    }
    // Equal rows and seeds must give equal bytes, so the salt comes from them and not from chance.
    let salt = Salt::of(&[&student.rows_sha256, &finished.settings.seed.to_string()]);
    if let Some((verifier, apart)) = fitted(finished, &rows, &asked, salt) {
        let mut verified = evidence.clone();
        let valid = verified.iter_mut().filter_map(|row| row.probability.as_mut());
        valid.zip(apart).for_each(|(into, probability)| *into = probability);
        student.report.verified_auc = confidence_auc(&verified);
        if student.report.verified_auc > best {
            student.verifier = Some(Arc::new(verifier));
            evidence = verified;
        }
    }
    let right = evidence.iter().filter(|row| row.correct).count();
    student.report.exact_match = Some(right as f64 / rows.len() as f64);
    student.report.accepted_at_2_percent_error = Some(accepted_share(&evidence, ERROR));
    Ok(())
}

/// Returns the rows that a text can be asked of and whose answer is known.
fn questions(finished: Finished<'_>, rows: &[DecoderRow]) -> Vec<Example> {
    let exchange = finished.exchange;
    let asked = |row: &DecoderRow| row.content.as_asked(&exchange.instructions, exchange.schema());
    rows.iter().filter_map(asked).collect()
}

/// Returns a verifier of the valid answers, and how sure it is of each of them when it has not seen it; nothing for
/// labels, and where there are too few right or wrong ones.
fn fitted(
    finished: Finished<'_>,
    rows: &[Example],
    asked: &[AskedRow],
    salt: Salt,
) -> Option<(Verifier, Vec<f32>)> {
    let valid = rows.iter().zip(asked).filter_map(|(row, asked)| {
        let draft = asked.draft.as_ref().filter(|draft| draft.answer.is_valid)?;
        let evidence = draft.evidence?;
        Some(JudgedAnswer { text: &row.text, answer: &draft.answer.text, evidence, is_right: asked.is_right })
    });
    let judged: Vec<JudgedAnswer<'_>> = valid.collect();
    let taught = questions(finished, finished.learnt);
    Verifier::fit(taught.iter().map(|row| (row.text.as_str(), row.label.as_str())), &judged, salt)
}

/// Returns what the student says to rows, as it will be served.
fn ask(
    student: &DecoderStudentFile,
    folder: &Path,
    rows: &[Example],
    (pool, course): (&Arc<Pool>, &mut Course<'_>),
) -> Result<Vec<AskedRow>, TrainError> {
    let served = DecoderStudent::open("held-out", (student, folder), None, pool)?;
    let asked = rows.iter().map(|row| async {
        match served.draft(&row.text, None).await {
            Ok(draft) => {
                let is_right = is_same_answer(&draft.answer.text, &row.label);
                Ok(AskedRow { draft: Some(draft), is_right })
            }
            Err(error) if is_about_the_text(error.fault) => Ok(AskedRow { draft: None, is_right: false }),
            Err(error) => Err(error),
        }
    });
    let mut answers = iter(asked).buffered(ROWS_AT_A_TIME);
    let answered = block_on(async {
        let mut all = Vec::with_capacity(rows.len());
        while let Some(answer) = answers.next().await {
            let answer = answer.map_err(|source| TrainError::NoAnswer { row: all.len() + 1, source })?;
            all.push(answer);
            course.tell(TrainingEvent::Judging { done: all.len() as u64, rows: rows.len() as u64 });
            course.check()?;
        }
        Ok(all)
    });
    answered.map_err(TrainError::Runtime)?
}
