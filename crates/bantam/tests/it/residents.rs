//! Models in memory: loaded when asked for, listed, stopped, shared by adapters, and refused where they do not fit.

use std::path::Path;
use std::time::{Duration, Instant};

use bantam_weights::{Dtype, NewTensor, NewValue, write_gguf};
use serde_json::{Value, json};

use crate::place::{MODELS, Place};
use crate::serve::Serving;
use crate::tiny_model;

/// Two names of one file, one of them with an adapter, and another file.
const HERE: &str = r#"
[models.desk]
file = "tiny.gguf"
kv_tokens = 1024

[models.tone]
file = "tiny.gguf"
adapter = "tone.gguf"
kv_tokens = 2048

[models.other]
file = "other/tiny.gguf"
keep_alive = "1s"
"#;

fn place(more: &str) -> Place {
    let place = Place::with_config(&format!("{MODELS}{HERE}{more}"));
    tiny_model::write(&place.path(""));
    std::fs::create_dir(place.path("other")).unwrap();
    tiny_model::write(&place.path("other"));
    adapter(&place.path("tone.gguf"), 64);
    place
}

/// Writes an adapter for models that are `hidden` wide.
fn adapter(path: &Path, hidden: usize) {
    let numbers = |count: usize| -> Vec<u8> {
        (0..count).flat_map(|at| (at as f32 * 0.9).sin().to_le_bytes()).collect()
    };
    let (a, b) = (numbers(4 * hidden), numbers(hidden * 4));
    let (down, up) = ([4, hidden], [hidden, 4]);
    let tensor = |name, shape, bytes| NewTensor { name, dtype: Dtype::F32, shape, bytes };
    let tensors =
        [tensor("blk.0.attn_q.weight.lora_a", &down, &*a), tensor("blk.0.attn_q.weight.lora_b", &up, &*b)];
    let metadata = [
        ("general.type", NewValue::Text("adapter")),
        ("general.architecture", NewValue::Text("llama")),
        ("adapter.type", NewValue::Text("lora")),
        ("adapter.lora.alpha", NewValue::F32(8.0)),
    ];
    write_gguf(path, &metadata, &tensors).unwrap();
}

fn ask(serving: &Serving, model: &str) -> String {
    let body = json!({
        "model": model, "max_tokens": 6, "temperature": 0,
        "messages": [{ "role": "user", "content": "my lamp broke" }],
    });
    let answer = serving.ask("POST", "/v1/chat/completions", &body.to_string());
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    body["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
}

/// Runs a verb against a gateway that runs.
fn verb(place: &Place, serving: &Serving, arguments: &[&str]) -> String {
    let bind = format!("server.bind={}", serving.address());
    place.run(&[arguments, &["--set", &bind]].concat())
}

fn listed(place: &Place, serving: &Serving) -> Vec<Value> {
    let bind = format!("server.bind={}", serving.address());
    let shown = place.good(&["ps", "--json", "--set", &bind]);
    serde_json::from_str::<Value>(&shown).unwrap().as_array().unwrap().clone()
}

#[test]
fn models_come_when_they_are_asked_for_and_go_when_they_are_stopped_or_idle() {
    let place = place("");
    let serving = Serving::start(&place);
    assert!(verb(&place, &serving, &["ps"]).contains("no model is in memory"));
    let (plain, tuned) = (ask(&serving, "desk"), ask(&serving, "tone"));
    assert_ne!(plain, tuned);
    let models = listed(&place, &serving);
    let names: Vec<&str> = models.iter().map(|model| model["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["desk", "tone"], "{models:?}");
    assert_eq!((&models[0]["shared_by"], &models[1]["base"]), (&json!(["tone"]), &json!("desk")));
    assert!(models[1]["size"].as_u64().unwrap() < models[0]["size"].as_u64().unwrap() / 10);
    let shown = verb(&place, &serving, &["ps"]);
    assert!(shown.contains("an adapter on desk") && shown.contains("loaded"), "{shown}");
    // An adapter goes alone; its model stays for the others.
    assert!(verb(&place, &serving, &["stop", "tone"]).contains("tone: unloaded"));
    assert_eq!(listed(&place, &serving).len(), 1);
    assert!(verb(&place, &serving, &["stop", "desk"]).contains("desk: unloaded"));
    assert!(verb(&place, &serving, &["stop", "desk"]).contains("desk: not loaded"));
    assert_eq!((ask(&serving, "desk"), ask(&serving, "tone")), (plain, tuned));
    ask(&serving, "other");
    let begun = Instant::now();
    while listed(&place, &serving).iter().any(|model| model["name"] == "other") {
        assert!(begun.elapsed() < Duration::from_secs(20), "it stays though nobody asks for it");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(listed(&place, &serving).len(), 2);
    serving.stop();
}

#[test]
fn stopping_what_is_not_here_says_so() {
    let place = place("");
    let serving = Serving::start(&place);
    let unknown = verb(&place, &serving, &["stop", "nobody"]);
    assert!(unknown.starts_with("exit code: 3\n") && unknown.contains("no model `nobody`"), "{unknown}");
    let far = verb(&place, &serving, &["stop", "small"]);
    assert!(far.starts_with("exit code: 3\n") && far.contains("runs on an upstream"), "{far}");
    let bind = format!("server.bind={}", serving.address());
    serving.stop();
    let nobody = place.run(&["ps", "--set", &bind]);
    assert!(nobody.starts_with("exit code: 1\n") && nobody.contains("bantam serve"), "{nobody}");
}

#[test]
fn a_key_of_the_gateway_is_sent_from_the_environment() {
    let key = "k".repeat(40);
    let keyed = "[server]\napi_key_envs = [\"DESK_KEY\"]\n";
    let place = place(keyed).env("DESK_KEY", &key);
    let serving = Serving::start(&place);
    assert!(verb(&place, &serving, &["ps"]).starts_with("exit code: 0\n"));
    let other = Place::with_config(MODELS);
    let refused = verb(&other, &serving, &["ps"]);
    assert!(refused.starts_with("exit code: 5\n") && refused.contains("api_key_envs"), "{refused}");
    serving.stop();
}

#[test]
fn a_model_that_is_preloaded_is_there_before_the_first_request() {
    let place = place("preload = true\n");
    let serving = Serving::start(&place);
    let models = listed(&place, &serving);
    assert_eq!((models.len(), &models[0]["name"], &models[0]["leases"]), (1, &json!("other"), &json!(0)));
    serving.stop();
}

#[test]
fn what_cannot_work_is_told_before_the_port_opens() {
    let small = place("[local]\nmemory = \"1 MiB\"\n");
    let shown = small.run(&["serve"]);
    assert!(shown.starts_with("exit code: 1\n") && shown.contains("does not fit: it needs"), "{shown}");
    assert!(shown.contains("more than the budget of 1.0 MiB") && shown.contains("local.memory"), "{shown}");

    let place = place("");
    adapter(&place.path("tone.gguf"), 32);
    let shown = place.run(&["config", "check"]);
    assert!(shown.contains("cannot use the adapter of the model `tone`"), "{shown}");
    assert!(shown.contains("runs on the model it was trained on alone"), "{shown}");

    let place = self::place("context_tokens = 4096\n");
    let shown = place.run(&["config", "check"]);
    assert!(shown.contains("is to take 4096 tokens, but it was made for 2048"), "{shown}");

    let place = self::place("");
    std::fs::remove_file(place.path("other/tiny.gguf")).unwrap();
    assert!(place.run(&["config", "check"]).contains("names a file that is not there"));
}

#[test]
fn models_that_do_not_fit_together_take_turns() {
    let place = place("[local]\nmemory = \"7 MiB\"\n");
    let serving = Serving::start(&place);
    let answers = [ask(&serving, "desk"), ask(&serving, "other")];
    let models = listed(&place, &serving);
    assert_eq!(models.len(), 1, "one at a time: {models:?}");
    assert_eq!([ask(&serving, "desk"), ask(&serving, "other")], answers);
    serving.stop();
}

#[test]
fn a_reload_keeps_what_is_loaded_and_takes_over_what_is_new() {
    let place = place("");
    let serving = Serving::start(&place);
    ask(&serving, "desk");
    let before = listed(&place, &serving)[0].clone();
    let config = std::fs::read_to_string(place.path("bantam.toml")).unwrap();
    place.write("bantam.toml", format!("{config}\n[models.more]\nfile = \"tiny.gguf\"\nkv_tokens = 512\n"));
    let begun = Instant::now();
    while !serving.ask("GET", "/v1/models", "").contains("\"more\"") {
        assert!(begun.elapsed() < Duration::from_secs(20), "the change is not taken over");
        std::thread::sleep(Duration::from_millis(50));
    }
    let after = listed(&place, &serving);
    assert_eq!(after.len(), 1);
    assert_eq!((&after[0]["identity"], &after[0]["name"]), (&before["identity"], &before["name"]));
    assert_eq!(after[0]["shared_by"], json!(["more", "tone"]));
    assert_eq!(ask(&serving, "more"), ask(&serving, "desk"));
    serving.stop();
}
