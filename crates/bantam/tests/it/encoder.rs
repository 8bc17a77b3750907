//! The encoder student from the command line, on a tiny random base.

use insta::assert_snapshot;

use crate::place::{MODELS, Place};
use crate::serve::Serving;
use crate::{rows, tiny_base};

const TRAIN: [&str; 10] = [
    "student",
    "train",
    "--kind",
    "encoder",
    "--base",
    "models/tiny",
    "--data",
    "rows.jsonl",
    "--out",
    "desk.student",
];
const TASK: &str = "\n[tasks.desk]\nkind = \"classify\"\nstudent = \"desk.student\"\n";

fn trained(config: &str) -> Place {
    let place = Place::with_config(&format!("{MODELS}{TASK}{config}"));
    tiny_base::write(&place.path("models/tiny"), 7);
    place.write("rows.jsonl", rows::lines(0, 150));
    place.good(&TRAIN);
    place
}

fn certify(place: &Place) {
    place.write("evidence.jsonl", rows::lines(1000, 300));
    place.good(&["certify", "desk", "--error", "0.02", "--data", "evidence.jsonl"]);
}

#[test]
fn training_and_showing_name_the_base() {
    let place = trained("");
    assert_snapshot!(place.run_rounded(&TRAIN));
    assert_snapshot!(place.run_rounded(&["student", "show", "desk.student"]));
    let dense = [&TRAIN[..], &["--features", "dense", "--precision", "f32"]].concat();
    place.good(&dense);
    let shown = place.good(&["student", "show", "desk.student"]);
    assert!(shown.contains("\"features\": \"dense\"") && shown.contains("\"precision\": \"f32\""), "{shown}");
}

#[test]
fn a_base_goes_with_an_encoder_student_and_with_no_other() {
    let place = trained("");
    let without: Vec<&str> =
        TRAIN.into_iter().filter(|word| !["--base", "models/tiny"].contains(word)).collect();
    let shown = place.run(&without);
    assert!(shown.starts_with("exit code: 2\n") && shown.contains("--base"), "{shown}");
    let linear: Vec<&str> =
        TRAIN.into_iter().map(|word| if word == "encoder" { "linear" } else { word }).collect();
    let shown = place.run(&linear);
    assert!(shown.starts_with("exit code: 2\n") && shown.contains("stands on no base"), "{shown}");
}

#[test]
fn a_missing_or_changed_base_is_a_missing_model_with_a_next_step() {
    let place = trained("");
    certify(&place);
    let ask = ["student", "predict", "--student", "desk.student", "--input", "rows.jsonl"];
    place.good(&ask);
    std::fs::rename(place.path("models/tiny"), place.path("moved")).unwrap();
    assert_snapshot!("missing", place.run(&ask));
    assert_snapshot!("missing", place.run(&ask));
    let serve = place.run(&["config", "check"]);
    assert!(serve.starts_with("exit code: 3\n"), "{serve}");
    let moved = [&ask[..], &["--base", "moved"]].concat();
    place.good(&moved);
    let shown = place.run(&["config", "check", "--set", "tasks.desk.base=moved"]);
    assert!(shown.starts_with("exit code: 0\n"), "{shown}");
    tiny_base::write(&place.path("models/tiny"), 8);
    assert_snapshot!("changed", place.run(&ask));
    // The student can be shown all the same.
    place.good(&["student", "show", "desk.student"]);
}

#[test]
fn training_on_another_base_voids_the_certificate() {
    let place = trained("");
    certify(&place);
    assert!(!place.run(&["config", "check"]).contains("void"));
    tiny_base::write(&place.path("models/tiny"), 8);
    place.good(&TRAIN);
    let shown = place.run(&["config", "check"]);
    assert!(shown.starts_with("exit code: 0\n") && shown.contains("is void"), "{shown}");
}

#[test]
fn it_serves_the_labels_of_tasks_that_share_a_base() {
    let second = "[tasks.other]\nkind = \"classify\"\nstudent = \"desk.student\"\nallow_uncertified = true\n";
    let place = trained(second);
    certify(&place);
    let serving = Serving::start(&place);
    for task in ["desk", "other"] {
        let threads = (0..8).map(|number| {
            let body = serde_json::json!({
                "model": format!("task/{task}"),
                "messages": [{"role": "user", "content": format!("please give me my money back for the broken lamp, ticket {number}")}],
            });
            let serving = &serving;
            move || serving.ask("POST", "/v1/chat/completions", &body.to_string())
        });
        std::thread::scope(|scope| {
            let running: Vec<_> = threads.map(|ask| scope.spawn(ask)).collect();
            for answer in running {
                let answer = answer.join().unwrap();
                assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("refund"), "{answer}");
                assert!(answer.contains("x-bantam-tier: local"), "{answer}");
            }
        });
    }
    serving.stop();
}
