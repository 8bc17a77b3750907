//! Certifies a student on rows it was not trained on, or reports what is missing.

use std::sync::Arc;

use bantam_route::Gate;
use bantam_route::certificate::CERTIFICATE_VERSION;
use bantam_route::{Certificate, Certification, Evidence, StudentFacts, certify, judge_student};
use bantam_student::{Example, Scratch, Student};
use bantam_types::{TaskName, Verdict};

use crate::proof_row::{ProofRow, hash_rows};

/// The claim to prove.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The task.
    pub task: TaskName,
    /// The largest allowed share of errors among accepted answers, 0 to 1.
    pub error_max: f64,
    /// The confidence level of the bound, 0 to 1.
    pub confidence: f64,
    /// The source of the rows' answers: `labels` or a teacher's name.
    pub truth: String,
    /// The current time, `YYYY-MM-DDTHH:MM:SSZ`.
    pub proved_at: String,
}

/// The evidence does not prove the claim.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("not certifiable: {errors} of {accepted} accepted rows were wrong at the strictest threshold tried{}", advice(.missing))]
pub struct NotCertifiable {
    /// Rows accepted at the strictest threshold tried.
    pub accepted: u64,
    /// How many of them were wrong.
    pub errors: u64,
    /// How many more rows are needed at this error rate; `None` if no number would be enough.
    pub missing: Option<u64>,
}

fn advice(missing: &Option<u64>) -> String {
    match missing {
        Some(rows) => format!("; about {rows} more rows are needed"),
        None => "; this error rate is not below the bound, so more rows will not help".to_owned(),
    }
}

/// Returns evidence for each row, with the student's answer judged as by the gateway.
pub fn gather_evidence(student: &Student, rows: &[Example], allowed: &[Arc<str>]) -> Vec<Evidence> {
    let mut scratch = Scratch::default();
    rows.iter()
        .map(|row| {
            let prediction = student.predict(&row.text, &mut scratch);
            let facts = StudentFacts {
                probability: prediction.probability,
                out_of_scope: student.is_foreign(&prediction),
                allowed: allowed.iter().any(|label| **label == *prediction.label),
            };
            evidence_of(facts, prediction.label == row.label)
        })
        .collect()
}

/// Returns a row's evidence. Judging with the lowest threshold shows whether any threshold could accept the answer.
pub(crate) fn evidence_of(facts: StudentFacts, correct: bool) -> Evidence {
    let acceptable = judge_student(facts, Gate::Certified { threshold: f32::NEG_INFINITY });
    Evidence { probability: (acceptable == Verdict::Accept).then_some(facts.probability), correct }
}

/// Tries to prove `claim` for the student with this hash (in hex) on `evidence` gathered from `rows`.
///
/// # Errors
/// [`NotCertifiable`], with what is missing.
pub fn prove<R: ProofRow>(
    claim: &Claim,
    student_sha256: &str,
    rows: &[R],
    evidence: &[Evidence],
) -> Result<Certificate, NotCertifiable> {
    match certify(evidence, claim.error_max, claim.confidence) {
        Certification::Certified { threshold, accepted, errors } => Ok(Certificate {
            version: CERTIFICATE_VERSION,
            task: claim.task.clone(),
            student_sha256: student_sha256.to_owned(),
            evidence_sha256: hash_rows(rows),
            truth: claim.truth.clone(),
            threshold,
            error_max: claim.error_max,
            confidence: claim.confidence,
            rows: evidence.len() as u64,
            accepted,
            errors,
            proved_at: claim.proved_at.clone(),
        }),
        Certification::NotCertifiable { missing, accepted, errors } => {
            Err(NotCertifiable { accepted, errors, missing })
        }
    }
}
