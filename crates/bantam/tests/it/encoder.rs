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
    assert!(shown.starts_with("exit code: 2\n") && shown.contains("has no base"), "{shown}");
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

#[test]
fn a_tuned_encoder_is_trained_logged_drawn_exported_and_asked() {
    let place = trained("");
    let tune = ["--tune", "lora", "--epochs", "3", "--rate", "0.005", "--rank", "4", "--precision", "f32"];
    let kept = ["--log", "run.jsonl", "--curve", "loss.svg", "--peft", "adapter", "--json"];
    let shown = place.good(&[&TRAIN[..], &tune, &kept].concat());
    let told: serde_json::Value = serde_json::from_str(shown.lines().last().unwrap()).unwrap();
    assert!(told["held_out_accuracy"].as_f64().unwrap() > 0.8, "{told}");
    let read = |name: &str| std::fs::read_to_string(place.path(name)).unwrap();
    let events: Vec<serde_json::Value> =
        read("run.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.iter().filter(|event| event["event"] == "step").all(|event| event["loss"].is_number()));
    assert_eq!(events.iter().filter(|event| event["event"] == "held_out").count(), 3);
    assert!(read("loss.svg").contains("<polyline"));
    assert!(read("adapter/adapter_config.json").contains("\"LORA\""));
    assert!(place.path("adapter/adapter_model.safetensors").exists());
    assert!(!place.path("desk.student.checkpoint").exists());
    place.write("ask.jsonl", rows::lines(2000, 3));
    let answers = place.good(&["student", "predict", "--student", "desk.student", "--input", "ask.jsonl"]);
    assert_eq!(answers.lines().filter(|line| line.contains("\"label\"")).count(), 3, "{answers}");
    certify(&place);
}

const TRAIN_TAGGER: [&str; 8] =
    ["student", "train", "--kind", "tagger", "--base", "models/tiny", "--data", "rows.jsonl"];

fn order(number: usize) -> String {
    let thing = ["card", "lamp", "tent", "parcel"][number % 4];
    let opening = ["please", "could you", "now", "kindly"][number / 4 % 4];
    let end = ["today", "for me", "and send it", "soon", "if you can"][number / 16 % 5];
    format!(
        "{{\"text\":\"{opening} order a {thing} {end}, ticket {number}\",\"slots\":{{\"thing\":[\"{thing}\"]}}}}\n"
    )
}

fn with_tagger(config: &str) -> Place {
    let place = Place::with_config(&format!("{MODELS}{config}"));
    tiny_base::write(&place.path("models/tiny"), 7);
    place.write("rows.jsonl", (0..60).map(order).collect::<String>());
    let rest = ["--out", "desk.tagger", "--epochs", "12", "--rate", "0.01", "--head-rate", "0.02"];
    place.good(&[&TRAIN_TAGGER[..], &rest].concat());
    place
}

#[test]
fn a_tagger_over_an_encoder_is_certified_and_serves_objects() {
    let place = with_tagger("\n[tasks.desk]\nkind = \"extract\"\nstudent = \"desk.tagger\"\n");
    place.write("evidence.jsonl", (1000..1400).map(order).collect::<String>());
    let shown = place.good(&["certify", "desk", "--error", "0.05", "--data", "evidence.jsonl"]);
    assert!(shown.contains("thing"), "{shown}");
    let serving = Serving::start(&place);
    let body = serde_json::json!({
        "model": "task/desk", "messages": [{"role": "user", "content": "kindly order a parcel soon"}],
    });
    let answer = serving.ask("POST", "/v1/chat/completions", &body.to_string());
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(
        answer.contains("x-bantam-tier: local") && answer.contains(r#"{\"thing\":[\"parcel\"]}"#),
        "{answer}"
    );
    serving.stop();
    let shown = place.good(&["route", "--model", "task/desk", "--explain", "kindly order a parcel soon"]);
    assert!(shown.contains("thing `parcel`"), "{shown}");
}

#[test]
fn a_tagger_says_what_it_found_and_where() {
    let place = with_tagger("");
    let (train, row) = (TRAIN_TAGGER, order);
    place.write("ask.jsonl", row(6));
    let answer = place.good(&["student", "predict", "--student", "desk.tagger", "--input", "ask.jsonl"]);
    let line = answer.lines().find(|line| line.starts_with('{')).unwrap();
    let found: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(found["slots"], serde_json::json!({"thing": ["tent"]}));
    assert_eq!(found["fields"][0]["start"], 18);
    assert!(found["fields"][0]["confidence"].as_f64().unwrap() > 0.3);
    // The base is not in the file: without it there is no tagger, and the way out is said.
    let ask = ["student", "predict", "--student", "desk.tagger", "--input", "ask.jsonl"];
    std::fs::rename(place.path("models/tiny"), place.path("moved")).unwrap();
    let missing = place.run(&ask);
    assert!(missing.starts_with("exit code: 3\n") && missing.contains("--base"), "{missing}");
    place.good(&[&ask[..], &["--base", "moved"]].concat());
    std::fs::rename(place.path("moved"), place.path("models/tiny")).unwrap();
    place.write("bad.jsonl", "{\"text\":\"a card\",\"slots\":{\"thing\":[\"lamp\"]}}\n");
    let bad = place.run(&[&train[..6], &["--data", "bad.jsonl", "--out", "x"]].concat());
    assert!(bad.contains("line 1") && bad.contains("does not occur"), "{bad}");
}
