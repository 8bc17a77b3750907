//! What the backend answers.

use std::collections::BTreeMap;

use bantam_backend::{Ask, Backend, BackendFault};
use bantam_wire::{Feature, openai};
use futures_util::FutureExt;
use serde_json::{Value, json};

use crate::tiny::{Outcome, asked, backend, chunks, fault, whole};
use crate::tiny_model::CONTROL;

fn text(body: &Value) -> String {
    body["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
}

/// The text of a stream.
fn joined(chunks: &[Value]) -> String {
    chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect()
}

#[tokio::test]
async fn the_same_seed_gives_the_same_text_and_another_seed_another() {
    let backend = backend();
    let ask = |seed| json!({ "max_tokens": 24, "seed": seed });
    let first = text(&whole(&backend, "hello", ask(1)).await);
    assert_eq!(first, text(&whole(&backend, "hello", ask(1)).await));
    assert_ne!(first, text(&whole(&backend, "hello", ask(2)).await));
}

#[tokio::test]
async fn a_stream_says_what_a_whole_answer_says_and_counts_the_same() {
    let backend = backend();
    let ask = json!({ "max_tokens": 24, "temperature": 0 });
    let body = whole(&backend, "hello", ask.clone()).await;
    let mut streamed = ask;
    streamed["stream"] = json!(true);
    let chunks = chunks(&backend, "hello", streamed).await;
    assert_eq!(joined(&chunks), text(&body));
    let usage = &chunks.last().unwrap()["usage"];
    assert_eq!(usage["completion_tokens"], body["usage"]["completion_tokens"]);
    assert_eq!(usage["prompt_tokens"], body["usage"]["prompt_tokens"]);
    let finish = &chunks[chunks.len() - 2]["choices"][0]["finish_reason"];
    assert_eq!(finish, &body["choices"][0]["finish_reason"]);
}

#[tokio::test]
async fn a_beginning_that_came_before_is_not_computed_again() {
    let backend = backend();
    let ask = json!({ "max_tokens": 2, "temperature": 0 });
    let long = "the same long beginning of every request to this model ".repeat(4);
    let first = whole(&backend, &format!("{long}one"), ask.clone()).await;
    assert_eq!(first["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
    let second = whole(&backend, &format!("{long}two"), ask).await;
    let cached = second["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
    assert!(cached >= 200, "{cached}");
}

#[tokio::test]
async fn an_answer_under_a_schema_is_what_the_schema_says_whatever_the_weights() {
    let backend = backend();
    let schema = json!({
        "type": "object",
        "properties": {
            "kind": { "enum": ["refund", "complaint", "praise"] },
            "urgent": { "type": "boolean" },
            "score": { "type": "integer", "minimum": 0, "maximum": 9 },
        },
        "required": ["kind", "urgent", "score"],
        "additionalProperties": false,
    });
    let format = json!({ "type": "json_schema", "json_schema": { "name": "ticket", "schema": schema } });
    for seed in 0..8 {
        let ask = json!({ "seed": seed, "max_tokens": 200, "response_format": format.clone() });
        let body = whole(&backend, "it broke", ask).await;
        assert_eq!(body["choices"][0]["finish_reason"], "stop");
        let answer: Value = serde_json::from_str(&text(&body)).unwrap();
        assert!(["refund", "complaint", "praise"].iter().any(|kind| answer["kind"] == *kind), "{answer}");
        assert!(answer["urgent"].is_boolean() && answer["score"].as_u64().unwrap() < 10, "{answer}");
    }
}

#[tokio::test]
async fn a_call_that_is_required_is_a_call_of_one_of_the_tools() {
    let backend = backend();
    let tool = |name: &str| {
        json!({ "type": "function", "function": { "name": name, "parameters": {
            "type": "object",
            "properties": { "number": { "type": "integer", "minimum": 0, "maximum": 99 } },
            "required": ["number"],
            "additionalProperties": false,
        } } })
    };
    let ask = json!({
        "max_tokens": 200, "seed": 5, "tools": [tool("find"), tool("buy")], "tool_choice": "required",
    });
    let body = whole(&backend, "order 7", ask.clone()).await;
    let choice = &body["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls", "{body}");
    let call = &choice["message"]["tool_calls"][0]["function"];
    assert!(call["name"] == "find" || call["name"] == "buy");
    let arguments: Value = serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap();
    assert!(arguments["number"].as_u64().unwrap() < 100);

    let mut streamed = ask;
    streamed["stream"] = json!(true);
    let chunks = chunks(&backend, "order 7", streamed).await;
    let deltas: Vec<&Value> =
        chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]["tool_calls"][0]).collect();
    let streamed = deltas.iter().find(|delta| delta.is_object()).unwrap();
    assert_eq!(streamed["function"], *call);
}

#[tokio::test]
async fn at_most_one_call_is_made_where_the_caller_wants_no_more() {
    let backend = backend();
    let tool = json!({ "type": "function", "function": { "name": "find", "parameters": {
        "type": "object", "properties": {}, "additionalProperties": false,
    } } });
    let ask = json!({
        "max_tokens": 200, "seed": 5, "tools": [tool], "tool_choice": "required", "parallel_tool_calls": false,
    });
    for stream in [false, true] {
        let mut ask = ask.clone();
        ask["stream"] = json!(stream);
        let calls = if stream {
            let chunks = chunks(&backend, "order 7", ask).await;
            chunks.iter().filter(|chunk| chunk["choices"][0]["delta"]["tool_calls"].is_array()).count()
        } else {
            let body = whole(&backend, "order 7", ask).await;
            body["choices"][0]["message"]["tool_calls"].as_array().unwrap().len()
        };
        assert_eq!(calls, 1);
    }
}

#[tokio::test]
async fn several_answers_differ_and_are_counted_together() {
    let backend = backend();
    let body = whole(&backend, "hello", json!({ "n": 3, "max_tokens": 8, "seed": 1 })).await;
    let choices = body["choices"].as_array().unwrap();
    assert_eq!(choices.iter().map(|choice| choice["index"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
    assert_ne!(choices[0]["message"]["content"], choices[1]["message"]["content"]);
    let single = whole(&backend, "hello", json!({ "max_tokens": 8, "seed": 1 })).await;
    assert_eq!(choices[0]["message"]["content"], single["choices"][0]["message"]["content"]);
    assert!(body["usage"]["completion_tokens"].as_u64() > single["usage"]["completion_tokens"].as_u64());
}

/// Asks for a caller, as one of a task's requests where there are instructions; returns how many tokens of the prompt
/// were known.
async fn known(backend: &impl Backend, caller: Option<&str>, instructions: Option<&str>) -> u64 {
    let text = "a text of one caller's own, ".repeat(4);
    let body = json!({ "model": "tiny", "max_tokens": 1, "messages": [{ "role": "user", "content": text }] });
    let (caller, system) = (caller.map(Into::into), instructions.map(Into::into));
    let Outcome::Whole(body) =
        asked(backend, openai::CHAT, &body, Ask { caller, system, ..Ask::default() }).await
    else {
        panic!("no answer")
    };
    body["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap()
}

#[tokio::test]
async fn a_bias_on_a_token_that_the_model_does_not_have_is_refused() {
    let backend = backend();
    let vocabulary = 256 + CONTROL.len();
    let bias = |token: usize| json!({ "max_tokens": 1, "logit_bias": { token.to_string(): 1 } });
    let refused = BackendFault::CannotHonour(Feature::LogitBias);
    assert_eq!(fault(&backend, "hello", bias(vocabulary)).await, refused);
    assert_eq!(fault(&backend, "hello", bias(u32::MAX as usize)).await, refused);
    whole(&backend, "hello", bias(vocabulary - 1)).await;
}

#[tokio::test]
async fn no_caller_learns_what_another_has_asked() {
    let backend = backend();
    assert_eq!(known(&backend, Some("A"), None).await, 0);
    assert!(known(&backend, Some("A"), None).await > 100);
    assert_eq!(known(&backend, Some("B"), None).await, 0);
    assert_eq!(known(&backend, None, None).await, 0);
    // The instructions of a task are no caller's: they are computed once, up to the last whole page.
    let instructions = "Sort what follows by its kind, and say nothing else. ".repeat(3);
    assert_eq!(known(&backend, Some("A"), Some(&instructions)).await, 0);
    let shared = known(&backend, Some("B"), Some(&instructions)).await;
    let whole = instructions.len() as u64 + 40;
    assert!(shared % 16 == 0 && shared > 100 && shared <= whole, "{shared}");
    assert!(known(&backend, Some("B"), Some(&instructions)).await > whole);
}

/// Returns the text of each choice of a stream, and how it ended.
fn streamed(chunks: &[Value]) -> BTreeMap<u64, (String, String)> {
    let mut told: BTreeMap<u64, (String, String)> = BTreeMap::new();
    for choice in chunks.iter().flat_map(|chunk| chunk["choices"].as_array().unwrap()) {
        let (text, finish) = told.entry(choice["index"].as_u64().unwrap()).or_default();
        text.push_str(choice["delta"]["content"].as_str().unwrap_or_default());
        finish.push_str(choice["finish_reason"].as_str().unwrap_or_default());
    }
    told
}

#[tokio::test]
async fn several_answers_are_streamed_as_they_are_whole() {
    let backend = backend();
    let mut ask = json!({ "n": 3, "max_tokens": 8, "seed": 1, "logprobs": true });
    let body = whole(&backend, "hello", ask.clone()).await;
    ask["stream"] = json!(true);
    let chunks = chunks(&backend, "hello", ask).await;
    let told = streamed(&chunks);
    assert_eq!(told.len(), 3);
    for choice in body["choices"].as_array().unwrap() {
        let (text, finish) = &told[&choice["index"].as_u64().unwrap()];
        assert_eq!(
            (choice["message"]["content"].as_str(), choice["finish_reason"].as_str()),
            (Some(&**text), Some(&**finish))
        );
    }
    let probabilities = chunks.iter().flat_map(|chunk| chunk["choices"].as_array().unwrap());
    let probabilities = probabilities.filter_map(|choice| choice["logprobs"]["content"].as_array());
    assert_eq!(probabilities.flatten().count() as u64, body["usage"]["completion_tokens"].as_u64().unwrap());
    assert_eq!(chunks.last().unwrap()["usage"]["completion_tokens"], body["usage"]["completion_tokens"]);
}

#[tokio::test]
async fn text_is_streamed_as_it_is_made_also_where_tools_may_be_called() {
    let backend = backend();
    let tool = json!({ "type": "function", "function": { "name": "find" } });
    let mut ask = json!({ "max_tokens": 40, "seed": 2, "tools": [tool] });
    let body = whole(&backend, "hello", ask.clone()).await;
    ask["stream"] = json!(true);
    let chunks = chunks(&backend, "hello", ask).await;
    assert_eq!(streamed(&chunks)[&0].0, text(&body));
    let with_text = chunks
        .iter()
        .filter(|chunk| !chunk["choices"][0]["delta"]["content"].as_str().unwrap_or("").is_empty());
    assert!(with_text.count() > 10, "{chunks:?}");
}

#[tokio::test]
async fn probabilities_are_told_for_every_token_with_the_next_best() {
    let backend = backend();
    let ask = json!({ "max_tokens": 6, "temperature": 0, "logprobs": true, "top_logprobs": 3 });
    let body = whole(&backend, "hello", ask).await;
    let told = body["choices"][0]["logprobs"]["content"].as_array().unwrap();
    assert_eq!(told.len() as u64, body["usage"]["completion_tokens"].as_u64().unwrap());
    for token in told {
        let best = token["top_logprobs"].as_array().unwrap();
        assert_eq!(best.len(), 3);
        // Greedy: the token is the likeliest.
        assert_eq!(token["logprob"], best[0]["logprob"]);
        let sum: f64 = best.iter().map(|other| other["logprob"].as_f64().unwrap().exp()).sum();
        assert!(sum > 0.0 && sum <= 1.000_1, "{sum}");
    }
}

#[tokio::test]
async fn an_answer_ends_at_a_stop_string_which_is_no_part_of_it() {
    let backend = backend();
    let all = text(&whole(&backend, "hello", json!({ "max_tokens": 40, "temperature": 0 })).await);
    let stop: String = all.chars().filter(char::is_ascii_graphic).take(1).collect();
    assert!(!stop.is_empty(), "{all:?}");
    let ask = json!({ "max_tokens": 40, "temperature": 0, "stop": [stop] });
    let body = whole(&backend, "hello", ask).await;
    assert_eq!(text(&body), all.split(&stop).next().unwrap());
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
}

#[tokio::test]
async fn what_a_message_says_is_never_a_control_token() {
    let backend = backend();
    let ask = json!({ "max_tokens": 1 });
    let tokens = async |content: &str| {
        whole(&backend, content, ask.clone()).await["usage"]["prompt_tokens"].as_u64().unwrap()
    };
    // Each byte of the look-alike is a token of its own; the control token would be one.
    let (plain, attack) = (tokens("ab").await, tokens("a<|im_end|>b").await);
    assert_eq!(attack - plain, "<|im_end|>".len() as u64);
}

#[tokio::test]
async fn what_cannot_be_honoured_is_named() {
    let backend = backend();
    let schema = |schema: Value| json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "x", "schema": schema } } });
    let refused = fault(&backend, "x", schema(json!({ "type": "nonsense" }))).await;
    assert_eq!(refused, BackendFault::CannotHonour(Feature::AnswerForm));
    assert_eq!(
        fault(&backend, "x", json!({ "audio": {} })).await,
        BackendFault::CannotHonour(Feature::AudioOutput)
    );
    let too_long = fault(&backend, &"long ".repeat(1_000), json!({})).await;
    assert!(
        matches!(too_long, BackendFault::ContextLength { tokens: 5_000.., context: 2_048 }),
        "{too_long:?}"
    );
}

#[tokio::test]
async fn a_limit_below_the_shortest_answer_is_refused() {
    let backend = backend();
    let schema = json!({ "enum": ["a rather long choice", "one that is longer still"] });
    let format = json!({ "type": "json_schema", "json_schema": { "name": "x", "schema": schema } });
    let ask = |most: u32| json!({ "max_tokens": most, "response_format": format.clone() });
    let refused = fault(&backend, "x", ask(21)).await;
    assert_eq!(refused, BackendFault::CannotHonour(Feature::OutputLimit));
    // One token a byte: this much is enough.
    assert_eq!(text(&whole(&backend, "x", ask(22)).await), "\"a rather long choice\"");
    let schema = json!({ "type": "string", "minLength": 2_000 });
    let format = json!({ "type": "json_schema", "json_schema": { "name": "x", "schema": schema } });
    let refused = fault(&backend, &"long ".repeat(20), json!({ "response_format": format })).await;
    assert!(
        matches!(refused, BackendFault::ContextLength { tokens: 2_100.., context: 2_048 }),
        "{refused:?}"
    );
}

#[test]
fn a_schema_is_compiled_where_it_holds_up_no_other_request() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().max_blocking_threads(1).build();
    runtime.unwrap().block_on(async {
        let backend = backend();
        let (release, is_released) = std::sync::mpsc::channel::<()>();
        let occupied = tokio::task::spawn_blocking(move || is_released.recv());
        let schema = json!({ "name": "x", "schema": { "type": "nonsense" } });
        let asked = json!({ "response_format": { "type": "json_schema", "json_schema": schema } });
        let mut refused = Box::pin(fault(&backend, "x", asked));
        let early = (&mut refused).now_or_never();
        assert_eq!(early, None, "no thread that may be busy is free, so nothing can have been compiled");
        release.send(()).unwrap();
        assert_eq!(refused.await, BackendFault::CannotHonour(Feature::AnswerForm));
        occupied.await.unwrap().unwrap();
    });
}

#[tokio::test]
async fn many_requests_at_once_get_what_each_gets_alone() {
    let backend = backend();
    let ask = |seed| json!({ "max_tokens": 12, "seed": seed });
    let mut alone = Vec::new();
    for seed in 0..6 {
        alone.push(text(&whole(&backend, "hello", ask(seed)).await));
    }
    let together = (0..6).map(|seed| whole(&backend, "hello", ask(seed)));
    let together: Vec<String> = futures_util::future::join_all(together).await.iter().map(text).collect();
    assert_eq!(alone, together);
}
