use insta::assert_snapshot;

use crate::place::{MODELS, Place};
use crate::rows;

const TASK: &str = "\n[tasks.desk]\nkind = \"classify\"\nstudent = \"desk.student\"\n";

fn explain(place: &Place, model: &str, text: &str) -> String {
    place.run_rounded(&["route", "--model", model, "--explain", text])
}

fn with_student(more: &str) -> Place {
    let place = Place::with_config(&format!("{MODELS}{TASK}{more}"));
    place.write("rows.jsonl", rows::lines(0, 150));
    place.good(&["student", "train", "--data", "rows.jsonl", "--out", "desk.student"]);
    place
}

#[test]
fn the_ladder_of_auto_is_explained_with_its_prices() {
    assert_snapshot!(explain(&Place::with_config(MODELS), "auto", "say hello"));
}

#[test]
fn a_sensitive_text_skips_every_rung_it_may_not_reach() {
    let place = Place::with_config(&format!("{MODELS}\n[privacy]\nmid = \"restricted\"\n"));
    let shown = explain(&place, "auto", "my mail is jane.roe@example.com");
    assert!(!shown.contains("jane"), "{shown}");
    assert_snapshot!(shown);
}

#[test]
fn a_student_without_a_certificate_is_asked_and_not_believed() {
    assert_snapshot!(explain(&with_student(""), "task/desk", "where is the parcel with my lamp"));
}

#[test]
fn a_certified_student_is_believed_above_its_threshold() {
    let place = with_student("");
    place.write("evidence.jsonl", rows::lines(1000, 300));
    place.good(&["certify", "desk", "--error", "0.02", "--data", "evidence.jsonl"]);
    assert_snapshot!(explain(
        &place,
        "task/desk",
        "where is the parcel with my lamp and when will it arrive"
    ));
}

#[test]
fn a_model_named_outright_is_the_only_rung() {
    assert_snapshot!(explain(&Place::with_config(MODELS), "large", "say hello"));
}

#[test]
fn an_unknown_task_gets_the_nearest_name() {
    assert_snapshot!(explain(&with_student(""), "task/dsek", "say hello"));
}
