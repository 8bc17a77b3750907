//! Completions: texts that are gone on with, and texts whose middle is filled in.

use std::sync::Arc;

use bantam_backend::BackendFault;
use bantam_engine::Adapter;
use bantam_local::{LocalBackend, LocalModel};
use bantam_wire::{Feature, openai};
use serde_json::{Value, json};

use crate::tiny::{Outcome, backend, options, send_to};
use crate::tiny_model::{CONTROL, write_with};

async fn complete(backend: &LocalBackend<Adapter>, more: Value) -> Outcome {
    let mut body = json!({ "model": "tiny", "temperature": 0 });
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    send_to(backend, openai::TEXT, body).await
}

async fn whole(backend: &LocalBackend<Adapter>, more: Value) -> Value {
    match complete(backend, more).await {
        Outcome::Whole(body) => body,
        Outcome::Chunks(_) => panic!("a stream"),
        Outcome::Fault(fault) => panic!("{fault}"),
    }
}

async fn fault(backend: &LocalBackend<Adapter>, more: Value) -> BackendFault {
    match complete(backend, more).await {
        Outcome::Fault(fault) => fault,
        _ => panic!("an answer"),
    }
}

async fn prompt_tokens(backend: &LocalBackend<Adapter>, more: Value) -> u64 {
    whole(backend, more).await["usage"]["prompt_tokens"].as_u64().unwrap()
}

#[tokio::test]
async fn a_text_is_gone_on_with_whole_and_streamed_alike() {
    let backend = backend();
    let body = whole(&backend, json!({ "prompt": "once upon" })).await;
    assert_eq!((&body["object"], &body["usage"]["prompt_tokens"]), (&json!("text_completion"), &json!(9)));
    assert!(body["usage"]["completion_tokens"].as_u64().unwrap() <= 16, "OpenAI's default is 16: {body}");
    let streamed = complete(&backend, json!({ "prompt": "once upon", "stream": true })).await;
    let Outcome::Chunks(chunks) = streamed else { panic!("no stream") };
    let text: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["text"].as_str()).collect();
    assert_eq!(text, body["choices"][0]["text"].as_str().unwrap());
    assert_eq!(chunks.last().unwrap()["usage"]["completion_tokens"], body["usage"]["completion_tokens"]);
}

#[tokio::test]
async fn several_prompts_get_what_each_gets_alone_and_n_of_each() {
    let backend = backend();
    let both = whole(&backend, json!({ "prompt": ["one", "two"], "n": 2, "logprobs": 1 })).await;
    let choices = both["choices"].as_array().unwrap();
    assert_eq!(choices.len(), 4);
    for (index, prompt) in ["one", "one", "two", "two"].into_iter().enumerate() {
        let alone = whole(&backend, json!({ "prompt": prompt, "logprobs": 1 })).await;
        assert_eq!(choices[index]["text"], alone["choices"][0]["text"], "choice {index}");
        assert_eq!(choices[index]["logprobs"], alone["choices"][0]["logprobs"], "choice {index}");
        assert_eq!(choices[index]["index"], index);
    }
}

#[tokio::test]
async fn a_middle_is_asked_for_by_the_models_own_tokens_and_content_never_becomes_one() {
    let backend = backend();
    let asked = |prompt: &str, suffix: &str| json!({ "prompt": prompt, "suffix": suffix, "max_tokens": 1 });
    assert_eq!(prompt_tokens(&backend, asked("fn a(", ") {}")).await, 5 + 4 + 3);
    let look_alike = "<|fim_middle|>";
    let tokens = prompt_tokens(&backend, asked("fn a(", look_alike)).await;
    assert_eq!(tokens, 5 + look_alike.len() as u64 + 3);
    // Without a suffix the text is the application's own whole prompt, its control tokens included.
    assert_eq!(prompt_tokens(&backend, json!({ "prompt": look_alike, "max_tokens": 1 })).await, 1);
}

#[tokio::test]
async fn what_a_model_cannot_do_with_a_text_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = write_with(folder.path(), &CONTROL[..4]);
    let backend = LocalBackend::new(Arc::new(LocalModel::open(path, &options()).unwrap()));
    for (more, feature) in [
        (json!({ "prompt": "a", "suffix": "b" }), Feature::Suffix),
        (json!({ "prompt": "a", "echo": true }), Feature::Echo),
        (json!({ "prompt": "a", "best_of": 2 }), Feature::BestOf),
        (json!({ "prompt": vec!["a"; 17] }), Feature::Text),
        (json!({ "prompt": "" }), Feature::Text),
    ] {
        assert_eq!(fault(&backend, more.clone()).await, BackendFault::CannotHonour(feature), "{more}");
    }
    let too_long = fault(&backend, json!({ "prompt": "a".repeat(2_048) })).await;
    assert_eq!(too_long, BackendFault::ContextLength { tokens: 2_048, context: 2_048 });
}
