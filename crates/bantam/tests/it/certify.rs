use insta::assert_snapshot;

use crate::place::{MODELS, Place};
use crate::rows;

const TASK: &str = "\n[tasks.desk]\nkind = \"classify\"\nstudent = \"desk.student\"\n";

/// Returns a place with a student trained on the rows up to 150.
fn place() -> Place {
    let place = Place::with_config(&format!("{MODELS}{TASK}"));
    place.write("rows.jsonl", rows::lines(0, 150));
    place.good(&["student", "train", "--data", "rows.jsonl", "--out", "desk.student"]);
    place
}

fn certify(place: &Place, rows: &str) -> String {
    place.write("evidence.jsonl", rows);
    place.run_rounded(&[
        "certify",
        "desk",
        "--error",
        "0.02",
        "--confidence",
        "0.95",
        "--data",
        "evidence.jsonl",
    ])
}

#[test]
fn a_good_student_is_certified_beside_its_file() {
    let place = place();
    assert_snapshot!(certify(&place, &rows::lines(1000, 300)));
    let json = std::fs::read_to_string(place.path("desk.certificate.json")).unwrap();
    let certificate: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(certificate["task"], "desk");
    assert_eq!((&certificate["error_max"], &certificate["confidence"]), (&0.02.into(), &0.95.into()));
    assert_eq!(certificate["errors"], 0);
    let listed = place.good(&["task", "list"]);
    assert!(listed.contains("classify, certified"), "{listed}");
}

#[test]
fn a_certificate_of_another_student_is_void_in_the_list_as_it_is_for_the_gateway() {
    let place = place();
    certify(&place, &rows::lines(1000, 300));
    place.write("rows.jsonl", rows::lines(0, 120));
    place.good(&["student", "train", "--data", "rows.jsonl", "--out", "desk.student"]);
    let listed = place.good(&["task", "list", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["tasks"][0]["state"], "classify, void: it was proved for another student");
    assert!(place.good(&["task", "list"]).contains("classify, void"));
    place.write("desk.student", "half a student");
    let listed = place.good(&["task", "list", "--json"]);
    assert!(listed.contains("classify, unusable: load the student"), "{listed}");
}

#[test]
fn too_few_rows_are_not_certifiable_and_the_number_missing_is_said() {
    let place = place();
    assert_snapshot!(certify(&place, &rows::lines(1000, 60)));
    assert!(!place.path("desk.certificate.json").exists());
}

#[test]
fn a_student_that_errs_is_not_certifiable_by_any_number_of_rows() {
    let place = place();
    assert_snapshot!(certify(&place, &rows::wrong_lines(1000, 300)));
    assert!(!place.path("desk.certificate.json").exists());
}

#[test]
fn the_rows_it_was_trained_on_prove_nothing() {
    let place = place();
    assert_snapshot!(certify(&place, &rows::lines(0, 150)));
    assert!(!place.path("desk.certificate.json").exists());
}

#[test]
fn a_task_without_a_student_has_nothing_to_certify() {
    let place = Place::with_config(&format!("{MODELS}\n[tasks.desk]\nkind = \"generate\"\n"));
    assert_snapshot!(certify(&place, &rows::lines(0, 10)));
}

#[test]
fn an_unknown_task_gets_the_nearest_name() {
    let place = place();
    assert_snapshot!(place.run(&["certify", "dsek", "--error", "0.02"]));
}
