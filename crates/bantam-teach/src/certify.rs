//! From which confidence on a student may answer alone: evidence, a proof, a certificate.

mod error;
mod report;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use bantam_eval::{
    Claim, ExpectedAnswer, ProofRow, ask_for_evidence, expected_answers, gather_evidence, gather_objects,
    prove, save_certificate, unseen_by,
};
use bantam_local::DecoderStudent;
use bantam_route::Evidence;
use bantam_student::{
    Example, ExpectedRow, SeenTexts, Student, TaggerBackend, answer_json, count_contexts, read_answers,
    read_examples, read_expected_objects,
};
use bantam_types::Cancel;
use futures_util::future::{AbortHandle, Abortable};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::destination::check_file;
use crate::runtime::block_on;
pub use error::{CertifyError, RowForm};
pub use report::{CertificationReport, FieldScores};

/// Rows that are asked between two looks at whether to stop.
const ROWS_AT_A_TIME: usize = 128;

/// A student whose answers are to be proved.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Candidate<'c> {
    /// A classifier.
    Classifier {
        /// The student.
        student: &'c Student,
        /// The task's labels; if it has no labels, the student's own count.
        labels: &'c [Arc<str>],
    },
    /// A tagger, as it serves the task.
    Tagger(&'c TaggerBackend),
    /// A language model: one that was trained for the task, or one that serves it by its prompt.
    LanguageModel {
        /// The student.
        student: &'c DecoderStudent,
        /// The SHA-256 of everything that its answers depend on, in hex.
        sha256: &'c str,
        /// The texts that it was trained on, where it was trained.
        seen: Option<&'c SeenTexts>,
        /// The labels that count as answers; if it is empty, any text does.
        labels: &'c [Arc<str>],
    },
}

/// Where evidence comes from.
#[derive(Clone, Debug)]
pub enum EvidenceSource<'e> {
    /// A file of rows, one JSON object a line. Any number of rows of any label is evidence.
    File(&'e Path),
    /// A task's recorded answers that were kept back; see [`Purpose`](crate::Purpose).
    Recorded(Vec<Example>),
}

/// What is to be proved, of whom, on what.
pub struct Certification<'c> {
    /// The claim.
    pub claim: Claim,
    /// The student.
    pub candidate: Candidate<'c>,
    /// The evidence.
    pub evidence: EvidenceSource<'c>,
    /// Where the certificate is written, if there is one.
    pub out: Option<&'c Path>,
}

/// What happens while a student is certified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum CertifyEvent {
    /// The student has answered some rows.
    Answering {
        /// Rows answered.
        done: u64,
        /// Rows in all.
        rows: u64,
    },
    /// Something worth knowing that is not an error.
    Notice(CertifyNotice),
}

/// Something that should be known about a certification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
#[non_exhaustive]
pub enum CertifyNotice {
    /// Rows that prove nothing, because the student was trained on their texts.
    SeenRowsLeftOut {
        /// How many.
        left_out: u64,
        /// Of how many.
        rows: u64,
    },
    /// The student reads what was said before a text, and no row has a context: what is proved holds for requests with
    /// nothing before them.
    NoContexts,
    /// Rows with a context that the student does not read.
    UnreadContexts {
        /// How many.
        rows: u64,
    },
}

impl CertifyNotice {
    /// Returns whether it narrows what is proved.
    pub const fn is_warning(self) -> bool {
        !matches!(self, Self::UnreadContexts { .. })
    }
}

impl fmt::Display for CertifyNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SeenRowsLeftOut { left_out, rows } => {
                write!(f, "{left_out} of {rows} rows are left out: the student was trained on them")
            }
            Self::NoContexts => f.write_str(
                "the student reads what was said before a text, and no row has a context: what is proved holds for \
                 requests with nothing before them",
            ),
            Self::UnreadContexts { rows: 1 } => {
                f.write_str("1 row has a context, which this student does not read")
            }
            Self::UnreadContexts { rows } => {
                write!(f, "{rows} rows have a context, which this student does not read")
            }
        }
    }
}

/// What hears of events, and whether to stop.
struct Listener<'l> {
    observer: &'l mut dyn FnMut(CertifyEvent),
    cancel: &'l Cancel,
}

/// What a student said to rows.
struct Answers {
    evidence: Vec<Evidence>,
    fields: Vec<FieldScores>,
}

/// Tries to prove a claim, and writes the certificate where that succeeds and there is a place for it. A claim that
/// cannot be proved is not an error: the report says what is missing.
///
/// `observer` hears what happens. Work looks at `cancel` between two rows.
///
/// # Errors
/// [`CertifyError`], when there is no evidence or the student fails. The place of the certificate is tried first.
pub fn certify(
    certification: Certification<'_>,
    observer: &mut dyn FnMut(CertifyEvent),
    cancel: &Cancel,
) -> Result<CertificationReport, CertifyError> {
    let Certification { claim, candidate, evidence, out } = certification;
    if let Some(out) = out {
        check_file("out", "the certificate", out)?;
    }
    let mut listener = Listener { observer, cancel };
    let report = match candidate {
        Candidate::Classifier { student, labels } => {
            classifier(&claim, (student, labels), evidence, &mut listener)?
        }
        Candidate::Tagger(student) => tagger(&claim, student, evidence, &mut listener)?,
        Candidate::LanguageModel { student, sha256, seen, labels } => {
            let rows = listener.written(evidence)?;
            let rows = listener.unseen(|text| seen.is_some_and(|seen| seen.contains(text)), &rows)?;
            language_model(&claim, (student, sha256, labels), &rows, &mut listener)?
        }
    };
    if let (Some(out), Some(certificate)) = (out, &report.certificate) {
        save_certificate(certificate, out)
            .map_err(|source| CertifyError::Save { path: out.to_owned(), source })?;
    }
    Ok(report)
}

fn classifier(
    claim: &Claim,
    (student, labels): (&Student, &[Arc<str>]),
    evidence: EvidenceSource<'_>,
    listener: &mut Listener<'_>,
) -> Result<CertificationReport, CertifyError> {
    let rows = match evidence {
        EvidenceSource::File(path) => {
            let rows = read_examples(path).map_err(CertifyError::rows(RowForm::Labels))?;
            listener.tell_unread_contexts(path)?;
            rows
        }
        EvidenceSource::Recorded(answers) => answers,
    };
    let rows = listener.unseen(|text| student.has_seen(text), &rows)?;
    let own: Vec<Arc<str>> = student.labels().iter().map(|label| label.as_str().into()).collect();
    let allowed = if labels.is_empty() { &own } else { labels };
    let evidence = listener.in_parts(&rows, |part| gather_evidence(student, part, allowed))?;
    let answers = Answers { evidence, fields: Vec::new() };
    Ok(proved(claim, &student.hash().to_hex(), &rows, answers))
}

fn tagger(
    claim: &Claim,
    student: &TaggerBackend,
    evidence: EvidenceSource<'_>,
    listener: &mut Listener<'_>,
) -> Result<CertificationReport, CertifyError> {
    let rows = match evidence {
        EvidenceSource::File(path) => {
            read_expected_objects(path).map_err(CertifyError::rows(RowForm::Objects))?
        }
        EvidenceSource::Recorded(answers) => answers.into_iter().map(expected).collect(),
    };
    let tagger = student.tagger();
    let rows: Vec<ExpectedAnswer> = expected_answers(rows, student.shape());
    let with_context = rows.iter().filter(|row| !row.context.trim().is_empty()).count() as u64;
    listener.tell_contexts(with_context, tagger.reads_context());
    let rows = listener.unseen(|text| tagger.has_seen(text), &rows)?;
    let mut counts = std::collections::BTreeMap::new();
    let evidence = listener.in_parts(&rows, |part| {
        let (evidence, fields) = gather_objects(student, part);
        for (name, found) in fields {
            let count: &mut bantam_eval::FieldCounts = counts.entry(name).or_default();
            *count += found;
        }
        evidence
    })?;
    let fields = counts.into_iter().map(|(name, counts)| FieldScores::new(name, counts)).collect();
    Ok(proved(claim, &student.fingerprint(), &rows, Answers { evidence, fields }))
}

/// Returns a recorded answer as what is expected of its text. What was said before the text is not recorded.
fn expected(answer: Example) -> ExpectedRow {
    let value = answer_json(&answer.label).unwrap_or(Value::String(answer.label));
    ExpectedRow::Answer { text: answer.text, context: String::new(), answer: value }
}

fn language_model(
    claim: &Claim,
    (student, sha256, labels): (&DecoderStudent, &str, &[Arc<str>]),
    rows: &[Example],
    listener: &mut Listener<'_>,
) -> Result<CertificationReport, CertifyError> {
    let (handle, registration) = AbortHandle::new_pair();
    let count = rows.len() as u64;
    let Listener { observer, cancel } = listener;
    let mut on_progress = |done: usize| {
        observer(CertifyEvent::Answering { done: done as u64, rows: count });
        if cancel.is_cancelled() {
            handle.abort();
        }
    };
    let asked = ask_for_evidence(student, &claim.task, rows, labels, &mut on_progress);
    let asked = block_on(Abortable::new(asked, registration)).map_err(CertifyError::Runtime)?;
    let evidence = asked.map_err(|_| CertifyError::Cancelled)??;
    Ok(proved(claim, sha256, rows, Answers { evidence, fields: Vec::new() }))
}

fn proved<R: ProofRow>(claim: &Claim, sha256: &str, rows: &[R], answers: Answers) -> CertificationReport {
    let outcome = prove(claim, sha256, rows, &answers.evidence);
    CertificationReport::new(claim, sha256, (&answers.evidence, answers.fields), outcome)
}

impl Listener<'_> {
    fn tell(&mut self, notice: CertifyNotice) {
        (self.observer)(CertifyEvent::Notice(notice));
    }

    /// Tells where rows and student differ in what was said before: no row may have what the student reads, and a student
    /// may not read what rows have. Recorded answers have none.
    fn tell_contexts(&mut self, rows: u64, reads_context: bool) {
        match (rows, reads_context) {
            (0, true) => self.tell(CertifyNotice::NoContexts),
            (0, false) | (_, true) => {}
            (rows, false) => self.tell(CertifyNotice::UnreadContexts { rows }),
        }
    }

    /// The same for a student that reads none, whose rows are read without what was said before.
    fn tell_unread_contexts(&mut self, path: &Path) -> Result<(), CertifyError> {
        let rows = count_contexts(path).map_err(CertifyError::rows(RowForm::Answers))?;
        self.tell_contexts(rows, false);
        Ok(())
    }

    /// Returns texts with the answers that should be written to them.
    fn written(&mut self, evidence: EvidenceSource<'_>) -> Result<Vec<Example>, CertifyError> {
        match evidence {
            EvidenceSource::Recorded(answers) => Ok(answers),
            EvidenceSource::File(path) => {
                let rows = read_answers(path).map_err(CertifyError::rows(RowForm::Answers))?;
                self.tell_unread_contexts(path)?;
                Ok(rows)
            }
        }
    }

    /// Leaves out rows that the student was trained on, and tells of it; without any others there is no proof.
    fn unseen<R: ProofRow>(
        &mut self,
        has_seen: impl Fn(&str) -> bool,
        rows: &[R],
    ) -> Result<Vec<R>, CertifyError> {
        let unseen = unseen_by(has_seen, rows);
        let left_out = (rows.len() - unseen.len()) as u64;
        if unseen.is_empty() && left_out > 0 {
            return Err(CertifyError::AllSeen);
        }
        if left_out > 0 {
            self.tell(CertifyNotice::SeenRowsLeftOut { left_out, rows: rows.len() as u64 });
        }
        Ok(unseen)
    }

    /// Gathers evidence some rows at a time, until there are no more or the work is to stop.
    fn in_parts<R>(
        &mut self,
        rows: &[R],
        mut gather: impl FnMut(&[R]) -> Vec<Evidence>,
    ) -> Result<Vec<Evidence>, CertifyError> {
        let mut evidence = Vec::with_capacity(rows.len());
        for part in rows.chunks(ROWS_AT_A_TIME) {
            if self.cancel.is_cancelled() {
                return Err(CertifyError::Cancelled);
            }
            evidence.extend(gather(part));
            let (done, rows) = (evidence.len() as u64, rows.len() as u64);
            (self.observer)(CertifyEvent::Answering { done, rows });
        }
        Ok(evidence)
    }
}
