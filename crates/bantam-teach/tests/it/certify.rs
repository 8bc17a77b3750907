use std::path::Path;

use bantam_eval::Claim;
use bantam_student::Student;
use bantam_teach::{
    Candidate, Certification, CertificationReport, CertifyError, CertifyEvent, CertifyNotice, EvidenceSource,
    StudentKind, TrainedStudent, TrainingData, certify,
};
use bantam_types::Cancel;
use serde_json::json;

use crate::Place;

fn row(number: usize) -> String {
    let (label, text) = [("order", "where is my parcel"), ("refund", "give me my money back")][number % 2];
    json!({ "text": format!("{text}, ticket {number}"), "label": label }).to_string()
}

fn student(place: &Place) -> Student {
    let rows = place.write("rows.jsonl", (0..80).map(row));
    let trained = place.train(place.request(StudentKind::Linear), TrainingData::File(&rows)).unwrap();
    match trained.student {
        TrainedStudent::Classifier(student) => *student,
        other => unreachable!("{other:?}"),
    }
}

fn prove(
    student: &Student,
    evidence: &Path,
    out: Option<&Path>,
) -> (Result<CertificationReport, CertifyError>, Vec<CertifyNotice>) {
    let claim = Claim {
        task: "desk".parse().unwrap(),
        error_max: 0.05,
        confidence: 0.95,
        truth: "labels".to_owned(),
        proved_at: "2026-11-21T00:00:00Z".to_owned(),
    };
    let candidate = Candidate::Classifier { student, labels: &[] };
    let certification = Certification { claim, candidate, evidence: EvidenceSource::File(evidence), out };
    let mut notices = Vec::new();
    let mut observer = |event| {
        if let CertifyEvent::Notice(notice) = event {
            notices.push(notice);
        }
    };
    (certify(certification, &mut observer, &Cancel::new()), notices)
}

#[test]
fn a_label_with_one_row_and_a_label_that_nobody_taught_are_evidence() {
    let place = Place::new();
    let student = student(&place);
    let other = json!({ "text": "sing a song", "label": "music" }).to_string();
    let rows = place.write("evidence.jsonl", (1000..1200).map(row).chain([other]));
    let (report, _) = prove(&student, &rows, None);
    let report = report.unwrap();
    assert_eq!((report.rows, report.right), (201, 200));
    let one = place.write("one.jsonl", (1000..1200).filter(|number| number % 2 == 0).map(row));
    let (report, _) = prove(&student, &one, None);
    assert!(report.unwrap().certified, "one label is enough");
}

#[test]
fn what_the_student_was_trained_on_is_left_out_and_told_and_alone_is_no_evidence() {
    let place = Place::new();
    let student = student(&place);
    let rows = place.write("evidence.jsonl", (0..20).chain(1000..1200).map(row));
    let (report, notices) = prove(&student, &rows, None);
    assert_eq!(report.unwrap().rows, 200);
    assert_eq!(notices, [CertifyNotice::SeenRowsLeftOut { left_out: 20, rows: 220 }]);
    let seen = place.write("seen.jsonl", (0..20).map(row));
    assert!(matches!(prove(&student, &seen, None).0, Err(CertifyError::AllSeen)));
}

#[test]
fn a_certificate_is_written_where_it_was_proved_and_its_place_is_tried_first() {
    let place = Place::new();
    let student = student(&place);
    let rows = place.write("evidence.jsonl", (1000..1200).map(row));
    let out = place.path("desk.certificate.json");
    let (report, _) = prove(&student, &rows, Some(&out));
    assert!(report.unwrap().certified);
    let certificate = bantam_eval::load_certificate(&out).unwrap();
    assert!(certificate.holds_for(&"desk".parse().unwrap(), &student.hash().to_hex()));
    let (report, _) = prove(&student, &place.path("missing.jsonl"), Some(&place.path("none/c.json")));
    assert!(matches!(report, Err(CertifyError::Destination(error)) if error.field == "out"));
    let few = place.write("few.jsonl", (1000..1010).map(row));
    let other = place.path("other.certificate.json");
    let (report, _) = prove(&student, &few, Some(&other));
    let report = report.unwrap();
    assert!(!report.certified && report.missing_rows.is_some() && !other.exists());
}
