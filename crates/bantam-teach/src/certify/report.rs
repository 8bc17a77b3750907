//! What a certification came to.

use bantam_eval::{Claim, FieldCounts, NotCertifiable};
use bantam_route::{Certificate, Evidence};
use bantam_types::TaskName;
use serde::Serialize;

/// What a certification came to, as `--json` and an API tell it.
///
/// The names of the fields are a wire contract: they do not change, and new ones may come.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CertificationReport {
    /// Whether the claim is proved.
    pub certified: bool,
    /// The task.
    pub task: TaskName,
    /// The SHA-256 of the student, in hex.
    pub student_sha256: String,
    /// From which confidence on answers may be returned without a second opinion, where the claim is proved.
    pub threshold: Option<f32>,
    /// The most errors among accepted answers.
    pub error_max: f64,
    /// The chance that the bound holds.
    pub confidence: f64,
    /// Rows of evidence.
    pub rows: u64,
    /// Rows accepted at the threshold; where nothing is proved, at the strictest one that was tried.
    pub accepted: u64,
    /// Accepted rows that were wrong.
    pub errors: u64,
    /// The share of the rows that is accepted.
    pub coverage: f64,
    /// Whose answers the evidence compares with.
    pub truth: String,
    /// Answers that are right, whatever their confidence.
    pub right: u64,
    /// How each field of a tagger's answers fares.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldScores>,
    /// About how many further rows would be needed, where the claim is not proved and more rows would do.
    pub missing_rows: Option<u64>,
    /// The certificate, where the claim is proved.
    #[serde(skip)]
    pub certificate: Option<Certificate>,
}

/// How a field of a tagger's answers fares.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldScores {
    /// Its name.
    pub field: String,
    /// Values that there are.
    pub values: u64,
    /// The share of the values found that are right.
    pub precision: f64,
    /// The share of the values there are that were found.
    pub recall: f64,
    /// Their harmonic mean.
    pub f1: f64,
}

impl FieldScores {
    pub(super) fn new(field: String, counts: FieldCounts) -> Self {
        let [precision, recall, f1] = counts.scores();
        Self { field, values: counts.wanted, precision, recall, f1 }
    }
}

impl CertificationReport {
    pub(super) fn new(
        claim: &Claim,
        student_sha256: &str,
        (evidence, fields): (&[Evidence], Vec<FieldScores>),
        outcome: Result<Certificate, NotCertifiable>,
    ) -> Self {
        let (accepted, errors, missing_rows) = match &outcome {
            Ok(certificate) => (certificate.accepted, certificate.errors, None),
            Err(refuted) => (refuted.accepted, refuted.errors, refuted.missing),
        };
        let certificate = outcome.ok();
        let rows = evidence.len() as u64;
        Self {
            certified: certificate.is_some(),
            task: claim.task.clone(),
            student_sha256: student_sha256.to_owned(),
            threshold: certificate.as_ref().map(|certificate| certificate.threshold),
            error_max: claim.error_max,
            confidence: claim.confidence,
            rows,
            accepted,
            errors,
            coverage: accepted as f64 / rows.max(1) as f64,
            truth: claim.truth.clone(),
            right: evidence.iter().filter(|row| row.correct).count() as u64,
            fields,
            missing_rows,
            certificate,
        }
    }

    /// Returns in words what is proved, and nothing where nothing is.
    pub fn proof(&self) -> Vec<String> {
        let Some(threshold) = self.threshold else { return Vec::new() };
        vec![
            format!(
                "certified: with {} % confidence at most {} % of accepted answers differ from the {}",
                100.0 * self.confidence,
                100.0 * self.error_max,
                self.truth
            ),
            format!(
                "threshold {threshold:.4}: {} of {} rows accepted ({:.1} %), {} of these wrong",
                self.accepted,
                self.rows,
                100.0 * self.coverage,
                self.errors
            ),
            "it holds for traffic like these rows, and is void for any other student".to_owned(),
        ]
    }

    /// Returns what to do where nothing is proved.
    pub fn next_step(&self) -> String {
        match self.missing_rows {
            Some(missing) => format!("gather about {missing} more rows and certify again"),
            None => "train on more rows, or allow more error".to_owned(),
        }
    }

    /// Returns why nothing is proved, where it is not.
    pub fn refuted(&self) -> Option<NotCertifiable> {
        let Self { certified, accepted, errors, missing_rows, .. } = *self;
        (!certified).then_some(NotCertifiable { accepted, errors, missing: missing_rows })
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_json_snapshot;

    use super::*;

    fn claim() -> Claim {
        Claim {
            task: "desk".parse().unwrap(),
            error_max: 0.02,
            confidence: 0.95,
            truth: "labels".to_owned(),
            proved_at: "2026-11-21T00:00:00Z".to_owned(),
        }
    }

    fn report(rows: usize) -> CertificationReport {
        let evidence = vec![Evidence { probability: Some(0.875), correct: true }; rows];
        let rows: Vec<bantam_student::Example> = (0..rows)
            .map(|row| bantam_student::Example { text: row.to_string(), label: "x".to_owned() })
            .collect();
        let outcome = bantam_eval::prove(&claim(), "ab", &rows, &evidence);
        let counts = FieldCounts { wanted: 4, found: 2, right: 2 };
        CertificationReport::new(
            &claim(),
            "ab",
            (&evidence, vec![FieldScores::new("city".into(), counts)]),
            outcome,
        )
    }

    #[test]
    fn a_proof_keeps_its_fields() {
        let report = report(512);
        assert!(report.certificate.is_some() && report.refuted().is_none());
        assert_eq!(
            report.proof()[0],
            "certified: with 95 % confidence at most 2 % of accepted answers differ from the labels"
        );
        assert_json_snapshot!(report);
    }

    #[test]
    fn what_is_missing_is_said_as_a_number() {
        let report = report(64);
        assert!(report.refuted().is_some_and(|refuted| refuted.missing.is_some()));
        assert!(report.proof().is_empty());
        assert_json_snapshot!(report);
    }
}
