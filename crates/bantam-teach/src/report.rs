//! What a training came to.

mod summary;

use std::path::{Path, PathBuf};

use bantam_local::{DecoderReport, DecoderStudentFile};
use bantam_student::linear::TrainingReport;
use bantam_student::{FileHash, Tagger};
use serde::Serialize;

/// What a training came to, as `--json` and an API tell it.
///
/// The names of the fields are a wire contract: they do not change, and new ones may come.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum TrainReport {
    /// Of a classifier.
    Classifier(ClassifierTrainReport),
    /// Of a tagger.
    Tagger(TaggerTrainReport),
    /// Of a decoder.
    Decoder(DecoderTrainReport),
}

/// What the training of a classifier came to. The `held_out_` figures are of models that had not seen the rows they
/// judge.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassifierTrainReport {
    /// The student's file.
    pub student: PathBuf,
    /// Its SHA-256, in hex.
    pub sha256: String,
    /// Rows trained on.
    pub rows: u64,
    /// Labels told apart.
    pub labels: u64,
    /// N-grams kept.
    pub features: u64,
    /// Seconds that it took.
    pub seconds: f64,
    /// Share of rows labelled rightly.
    pub held_out_accuracy: f64,
    /// Expected calibration error.
    pub held_out_calibration_error: f64,
    /// Share of rows that could be accepted, surest first, with 2 % of them wrong.
    pub held_out_accepted_at_2_percent_error: f64,
}

/// What the training of a tagger came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaggerTrainReport {
    /// The student's file.
    pub student: PathBuf,
    /// Its SHA-256, in hex.
    pub sha256: String,
    /// Rows trained on.
    pub rows: u64,
    /// The slots that it fills.
    pub slots: Vec<String>,
    /// Values trained on.
    pub values: u64,
    /// Whether it reads what was said before a text.
    pub reads_context: bool,
    /// Seconds that it took.
    pub seconds: f64,
    /// Rows held out.
    pub held_out_rows: u64,
    /// F1 of the values on them.
    pub held_out_f1: f64,
    /// Precision of the values on them.
    pub held_out_precision: f64,
    /// Recall of the values on them.
    pub held_out_recall: f64,
    /// Share of them whose whole answer is right.
    pub held_out_exact: Option<f64>,
    /// How well confidence tells right answers from wrong ones.
    pub held_out_auc: Option<f64>,
    /// Share of them that could be accepted, surest first, with 2 % wrong.
    pub held_out_accepted_at_2_percent_error: Option<f64>,
}

/// What the training of a decoder came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DecoderTrainReport {
    /// What was measured.
    #[serde(flatten)]
    pub measured: DecoderReport,
    /// The student's folder.
    pub student: PathBuf,
    /// The SHA-256 that names everything its answers depend on, in hex.
    pub sha256: String,
    /// Seconds of the steps.
    pub seconds: f64,
    /// Tokens a second in them.
    pub tokens_per_second: f64,
    /// Whether further answers are drawn to tell how sure it is.
    pub draws_samples: bool,
    /// Whether a verifier tells how sure it is.
    pub has_verifier: bool,
}

impl TrainReport {
    /// Returns where the student is, and its SHA-256 in hex.
    pub fn student(&self) -> (&Path, &str) {
        match self {
            Self::Classifier(report) => (&report.student, &report.sha256),
            Self::Tagger(report) => (&report.student, &report.sha256),
            Self::Decoder(report) => (&report.student, &report.sha256),
        }
    }

    pub(crate) fn of_classifier(
        student: &Path,
        (hash, seconds): (FileHash, f64),
        report: &TrainingReport,
    ) -> Self {
        Self::Classifier(ClassifierTrainReport {
            student: student.to_owned(),
            sha256: hash.to_hex(),
            rows: report.rows,
            labels: report.labels,
            features: report.features,
            seconds,
            held_out_accuracy: report.held_out_accuracy,
            held_out_calibration_error: report.held_out_calibration_error,
            held_out_accepted_at_2_percent_error: report.held_out_accepted_at_2_percent_error,
        })
    }

    pub(crate) fn of_tagger(student: &Path, seconds: f64, tagger: &Tagger) -> Self {
        let (report, certainty) = (tagger.report(), tagger.certainty());
        Self::Tagger(TaggerTrainReport {
            student: student.to_owned(),
            sha256: tagger.hash().to_hex(),
            rows: report.rows,
            slots: tagger.slots().to_vec(),
            values: report.values,
            reads_context: tagger.reads_context(),
            seconds,
            held_out_rows: report.held_out_rows,
            held_out_f1: report.held_out_f1,
            held_out_precision: report.held_out_precision,
            held_out_recall: report.held_out_recall,
            held_out_exact: certainty.map(|certainty| certainty.held_out_exact),
            held_out_auc: certainty.map(|certainty| certainty.held_out_auc),
            held_out_accepted_at_2_percent_error: certainty
                .map(|certainty| certainty.held_out_accepted_at_2_percent_error),
        })
    }

    pub(crate) fn of_decoder(
        student: &Path,
        sha256: String,
        (seconds, tokens_per_second): (f64, f64),
        file: &DecoderStudentFile,
    ) -> Self {
        Self::Decoder(DecoderTrainReport {
            measured: file.report.clone(),
            student: student.to_owned(),
            sha256,
            seconds,
            tokens_per_second,
            draws_samples: file.samples > 0,
            has_verifier: file.verifier.is_some(),
        })
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_json_snapshot;

    use super::*;

    #[test]
    fn a_classifier_s_report_keeps_its_fields() {
        assert_json_snapshot!(TrainReport::Classifier(ClassifierTrainReport {
            student: "desk.student".into(),
            sha256: "ab".to_owned(),
            rows: 90,
            labels: 3,
            features: 545,
            seconds: 0.5,
            held_out_accuracy: 0.75,
            held_out_calibration_error: 0.125,
            held_out_accepted_at_2_percent_error: 0.5,
        }));
    }

    #[test]
    fn a_tagger_s_report_keeps_its_fields() {
        assert_json_snapshot!(TrainReport::Tagger(TaggerTrainReport {
            student: "table.tagger".into(),
            sha256: "ab".to_owned(),
            rows: 90,
            slots: vec!["people".to_owned()],
            values: 80,
            reads_context: false,
            seconds: 0.5,
            held_out_rows: 9,
            held_out_f1: 0.75,
            held_out_precision: 0.5,
            held_out_recall: 1.0,
            held_out_exact: Some(0.5),
            held_out_auc: Some(0.75),
            held_out_accepted_at_2_percent_error: None,
        }));
    }

    #[test]
    fn a_decoder_s_report_keeps_its_fields() {
        let measured =
            DecoderReport { rows: 216, parameters: 100_000, steps: 40, ..DecoderReport::default() };
        assert_json_snapshot!(TrainReport::Decoder(DecoderTrainReport {
            measured,
            student: "order.student".into(),
            sha256: "ab".to_owned(),
            seconds: 0.5,
            tokens_per_second: 1000.0,
            draws_samples: false,
            has_verifier: true,
        }));
    }
}
