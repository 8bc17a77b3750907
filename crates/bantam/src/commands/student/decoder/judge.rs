//! How a student does on the rows that were held out, asked as it will be served, and what tells its right answers from
//! its wrong ones.

use std::path::Path;
use std::sync::Arc;

use bantam_eval::{accepted_share, confidence_auc, is_about_the_text};
use bantam_local::{DecoderStudentFile, Draft};
use bantam_route::Evidence;
use bantam_student::{Example, JudgedAnswer, Verifier, is_same_answer};
use futures_util::StreamExt;
use futures_util::stream::iter;

use super::AT_A_TIME;
use super::artefact::Made;
use super::rows::Numbered;
use crate::deploy::{Memory, open_decoder};
use crate::failure::Failure;

/// A row that was asked. A text that the student cannot take has no draft.
struct Asked {
    draft: Option<Draft>,
    is_right: bool,
}

impl Asked {
    fn evidence(&self) -> Evidence {
        let valid = self.draft.as_ref().filter(|draft| draft.answer.is_valid);
        Evidence { probability: valid.map(|draft| draft.answer.probability), correct: self.is_right }
    }
}

/// Asks the student about the rows held out, and gives it what ranks its answers best: the probabilities of its tokens,
/// with the agreement of further answers where that wins, or a verifier of all this where that wins.
pub(super) fn judge(
    made: &Made<'_>,
    student: &mut DecoderStudentFile,
    folder: &Path,
    memory: &Memory,
) -> Result<(), Failure> {
    let rows = asked_of(made, made.held_out);
    student.report.asked_rows = rows.len();
    if rows.is_empty() {
        return Ok(());
    }
    let mut asked = ask(student, folder, &rows, memory)?;
    let mut evidence: Vec<Evidence> = asked.iter().map(Asked::evidence).collect();
    student.report.confidence_auc = confidence_auc(&evidence);
    let mut best = student.report.confidence_auc;
    let samples = usize::from(made.args.decoder.samples);
    if student.labels().is_empty() && samples > 0 {
        student.samples = samples;
        let sampled = ask(student, folder, &rows, memory)?;
        let drawn: Vec<Evidence> = sampled.iter().map(Asked::evidence).collect();
        student.report.sampled_auc = confidence_auc(&drawn);
        // Drawing costs time at every request: it must earn it.
        if student.report.sampled_auc > best {
            (asked, evidence, best) = (sampled, drawn, student.report.sampled_auc);
        } else {
            student.samples = 0;
        }
    }
    if let Some((verifier, apart)) = fitted(made, &rows, &asked) {
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
    student.report.accepted_at_2_percent_error = Some(accepted_share(&evidence, 0.02));
    Ok(())
}

/// The rows that a text can be asked of and whose answer is known.
fn asked_of(made: &Made<'_>, rows: &[Numbered]) -> Vec<Example> {
    let plan = made.plan;
    rows.iter().filter_map(|row| row.row.asked(&plan.instructions, plan.schema.as_ref())).collect()
}

/// A verifier of the valid answers, and how sure it is of each of them when it has not seen it; nothing for labels, and
/// where there are too few right or wrong ones.
fn fitted(made: &Made<'_>, rows: &[Example], asked: &[Asked]) -> Option<(Verifier, Vec<f32>)> {
    let valid = rows.iter().zip(asked).filter_map(|(row, asked)| {
        let draft = asked.draft.as_ref().filter(|draft| draft.answer.is_valid)?;
        let evidence = draft.evidence?;
        Some(JudgedAnswer { text: &row.text, answer: &draft.answer.text, evidence, is_right: asked.is_right })
    });
    let judged: Vec<JudgedAnswer<'_>> = valid.collect();
    let taught = asked_of(made, made.learnt);
    Verifier::fit(taught.iter().map(|row| (row.text.as_str(), row.label.as_str())), &judged)
}

/// What the student says to rows, as it will be served.
fn ask(
    student: &DecoderStudentFile,
    folder: &Path,
    rows: &[Example],
    memory: &Memory,
) -> Result<Vec<Asked>, Failure> {
    let served = open_decoder("held-out", (student, folder), None, memory)?;
    let asked = rows.iter().map(|row| async {
        match served.draft(&row.text, None).await {
            Ok(draft) => {
                let is_right = is_same_answer(&draft.answer.text, &row.label);
                Ok(Asked { draft: Some(draft), is_right })
            }
            Err(error) if is_about_the_text(error.fault) => Ok(Asked { draft: None, is_right: false }),
            Err(error) => Err(error),
        }
    });
    let mut answers = iter(asked).buffered(AT_A_TIME);
    crate::commands::runtime(2)?.block_on(async {
        let mut all = Vec::with_capacity(rows.len());
        while let Some(answer) = answers.next().await {
            let answer = answer.map_err(|error| {
                let row = all.len() + 1;
                Failure::from_error(format!("the student gave no answer to held-out row {row}"), &error)
            })?;
            all.push(answer);
        }
        Ok(all)
    })
}
