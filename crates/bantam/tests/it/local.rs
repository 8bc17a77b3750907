//! A language model that runs in the gateway's own process.

use std::path::Path;

use serde_json::{Value, json};

use crate::place::{MODELS, Place};
use crate::serve::Serving;
use crate::tiny_model;

fn place() -> Place {
    let place =
        Place::with_config(&format!("{MODELS}\n[models.desk]\nfile = \"tiny.gguf\"\nkv_tokens = 4096\n"));
    tiny_model::write(&place.path(""));
    place
}

/// The JSON behind the head of an answer.
fn body(answer: &str) -> Value {
    serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}

#[test]
fn it_answers_callers_who_name_it_and_costs_nothing() {
    let place = place();
    let serving = Serving::start(&place);
    let schema = json!({
        "type": "object",
        "properties": { "kind": { "enum": ["refund", "praise"] }, "urgent": { "type": "boolean" } },
        "required": ["kind", "urgent"],
        "additionalProperties": false,
    });
    let mut ask = json!({
        "model": "desk", "max_tokens": 100, "seed": 3,
        "messages": [{ "role": "user", "content": "my lamp broke" }],
        "response_format": { "type": "json_schema", "json_schema": { "name": "ticket", "schema": schema } },
    });
    let answer = serving.ask("POST", "/v1/chat/completions", &ask.to_string());
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("x-bantam-tier: local"), "{answer}");
    let whole = body(&answer);
    let text = whole["choices"][0]["message"]["content"].as_str().unwrap();
    let ticket: Value = serde_json::from_str(text).unwrap();
    assert!(ticket["kind"].is_string() && ticket["urgent"].is_boolean(), "{ticket}");
    assert_eq!(whole["bantam"]["tier"], "local");
    ask["stream"] = json!(true);
    let streamed = serving.ask("POST", "/v1/chat/completions", &ask.to_string());
    let joined: String = streamed
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.trim().strip_prefix("data: ")?).ok())
        .filter_map(|chunk| Some(chunk["choices"][0]["delta"]["content"].as_str()?.to_owned()))
        .collect();
    assert_eq!(joined, text, "{streamed}");
    assert!(streamed.contains("data: [DONE]"));
    serving.stop();
    let usage: Value = serde_json::from_str(&place.good(&["usage", "--json"])).unwrap();
    assert_eq!(usage["total"]["requests"], 2, "{usage}");
}

#[test]
fn a_model_of_a_long_context_answers_as_it_is_configured_first() {
    let place = Place::with_config(&format!("{MODELS}\n[models.desk]\nfile = \"tiny.gguf\"\n"));
    set_context(&tiny_model::write(&place.path("")), 131_072);
    let serving = Serving::start(&place);
    // The end comes at once: without a limit, it could come after 16,000 tokens.
    let ask = json!({
        "model": "desk", "logit_bias": { "258": 100 }, "messages": [{ "role": "user", "content": "hi" }],
    });
    let answer = serving.ask("POST", "/v1/chat/completions", &ask.to_string());
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(body(&answer)["choices"][0]["finish_reason"], "stop", "{answer}");
    serving.stop();
}

#[test]
fn what_it_cannot_honour_is_refused_by_the_parameter_s_name() {
    let place = place();
    let serving = Serving::start(&place);
    let ask = json!({
        "model": "desk", "messages": [{ "role": "user", "content": "x" }], "web_search_options": {},
    });
    let answer = serving.ask("POST", "/v1/chat/completions", &ask.to_string());
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("web_search_options"), "{answer}");
    serving.stop();
}

#[test]
fn a_file_that_is_no_model_is_a_named_error_before_the_port_opens() {
    let place = place();
    place.write("tiny.gguf", "not a model");
    let shown = place.run(&["config", "check"]);
    assert!(shown.starts_with("exit code: 1\n") && shown.contains("cannot use the model `desk`"), "{shown}");
}

#[test]
fn a_file_with_an_upstream_is_a_mistake_in_the_configuration() {
    let config = "[models.desk]\nfile = \"tiny.gguf\"\nupstream = \"x\"\n";
    let place = Place::with_config(&format!("{MODELS}\n{config}"));
    tiny_model::write(&place.path(""));
    let shown = place.run(&["config", "check"]);
    assert!(shown.starts_with("exit code: 2\n") && shown.contains("`file` and a `upstream`"), "{shown}");
}

#[test]
fn its_speed_is_measured_beside_what_the_machine_can_do() {
    let place = place();
    let shown: Value = serde_json::from_str(&place.good(&[
        "bench",
        "tiny.gguf",
        "--times",
        "3",
        "--threads",
        "1",
        "--adapters",
        "1,3",
        "--json",
    ]))
    .unwrap();
    assert!(shown["int8_gops"].as_f64().unwrap() > 0.0 && shown["read_gb_s"].as_f64().unwrap() > 0.0);
    for case in ["prefill-512", "decode-1", "decode-8", "decode-8-adapters", "score-300+60"] {
        assert!(shown["cases"][case]["p50_ms"].as_f64().unwrap() > 0.0, "{case}: {shown}");
    }
    let mixed = shown["mixed"].as_array().unwrap();
    assert_eq!((mixed[0]["adapters"].as_u64(), mixed[1]["adapters"].as_u64()), (Some(1), Some(3)));
    assert_eq!(mixed[1]["adapter_bytes"].as_u64(), mixed[0]["adapter_bytes"].as_u64().map(|one| 3 * one));
    assert!(mixed.iter().all(|mixed| mixed["requests_per_s"].as_f64().unwrap() > 0.0), "{mixed:?}");
    for (ratio, schema) in shown["schema"].as_array().unwrap().iter().zip(["schema-greedy", "schema-sampled"])
    {
        assert_eq!(ratio["schema"], schema);
        assert!(ratio["ratio"].as_f64().unwrap() > 0.0, "{ratio}");
    }
    assert_eq!(shown["schema"].as_array().unwrap().len(), 2, "{}", shown["notes"]);
    assert!(place.run(&["bench", "none.gguf"]).starts_with("exit code: 3\n"));
}

/// Writes another context length into a model's file.
fn set_context(model: &Path, context: u32) {
    let key = b"llama.context_length";
    let mut bytes = std::fs::read(model).unwrap();
    let place = bytes.windows(key.len()).position(|window| window == key).unwrap();
    // Behind the key comes the type of the value, in 4 bytes.
    let value = place + key.len() + 4;
    bytes[value..value + 4].copy_from_slice(&context.to_le_bytes());
    std::fs::write(model, bytes).unwrap();
}

#[test]
fn a_short_context_shortens_the_cases_and_the_report_says_so() {
    let place = place();
    set_context(&place.path("tiny.gguf"), 96);
    let arguments = ["bench", "tiny.gguf", "--times", "40", "--threads", "1", "--adapters", "2"];
    let shown = place.run(&arguments);
    assert!(shown.starts_with("exit code: 0\n"), "{shown}");
    assert!(shown.contains("prefill-96") && shown.contains("score-79+15"), "{shown}");
    assert!(shown.contains("takes 96 tokens, so cases are shorter than usual"), "{shown}");
    set_context(&place.path("tiny.gguf"), 20);
    let shown = place.run(&["bench", "tiny.gguf", "--quiet"]);
    assert!(shown.starts_with("exit code: 1\n") && shown.contains("takes 20 tokens"), "{shown}");
}
