//! From a student and rows it was not trained on to a certificate, or to what is missing.

use std::sync::Arc;

use bantam_route::Gate;
use bantam_route::certificate::CERTIFICATE_VERSION;
use bantam_route::{Certificate, Certification, Evidence, StudentFacts, certify, judge_student};
use bantam_student::{Example, Scratch, Student};
use bantam_types::{TaskName, Verdict};

use crate::proof_row::{ProofRow, hash_rows};

/// What is to be proved.
#[derive(Clone, Debug)]
pub struct Claim {
    /// For which task.
    pub task: TaskName,
    /// The most errors among accepted answers, 0 to 1.
    pub error_max: f64,
    /// The chance that the bound holds, 0 to 1.
    pub confidence: f64,
    /// Whose answers the rows hold: `labels`, or a teacher's name.
    pub truth: String,
    /// Now, `YYYY-MM-DDTHH:MM:SSZ`.
    pub proved_at: String,
}

/// The claim could not be proved.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("not certifiable: {errors} of {accepted} accepted rows were wrong at the strictest threshold tried{}", advice(.missing))]
pub struct NotCertifiable {
    /// Rows accepted at the strictest threshold tried.
    pub accepted: u64,
    /// Of these, wrong.
    pub errors: u64,
    /// Further rows that would be needed at this error; `None` when no number would do.
    pub missing: Option<u64>,
}

fn advice(missing: &Option<u64>) -> String {
    match missing {
        Some(rows) => format!("; about {rows} more rows are needed"),
        None => "; its error is not below the bound, so more rows of evidence alone will not help".to_owned(),
    }
}

/// Returns what the student says to each row, as the gateway would judge it.
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

/// Returns a row's evidence. Asked with an open gate, the judge says whether any threshold could accept it.
pub(crate) fn evidence_of(facts: StudentFacts, correct: bool) -> Evidence {
    let acceptable = judge_student(facts, Gate::Certified { threshold: f32::NEG_INFINITY });
    Evidence { probability: (acceptable == Verdict::Accept).then_some(facts.probability), correct }
}

/// Tries to prove `claim` for the student with this hash, in hex, on `evidence` gathered from `rows`.
///
/// # Errors
/// [`NotCertifiable`] with what is missing.
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
