//! What is local in the configuration is asked for only where it runs on this machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bantam_backend::{Answer, Ask, Backend, BackendFault};
use bantam_remote::{Engine, JsonClient, RemoteModel, Upstream, find_engine};
use bantam_simulate::{Behaviour, Received, SimulatedUpstream, completion_body, completion_events};
use bantam_types::Tier;
use serde_json::{Value, json};

use crate::support::{HI, PATIENCE, ask, cleared, fault_of, settings, start};

/// Answers as an Ollama with these models.
fn ollama(received: &Received, models: &Value) -> Behaviour {
    match received.head.split(' ').nth(1) {
        Some("/api/version") => Behaviour::ok(json!({ "version": "0.40.1" }).to_string()),
        Some("/api/tags") => Behaviour::ok(json!({ "models": models }).to_string()),
        _ if received.json()["stream"] == true => {
            Behaviour::events(completion_events("m", "yes", 1, 1), bantam_simulate::StreamEnd::Done)
        }
        _ => Behaviour::ok(completion_body("m", "yes", 1, 1)),
    }
}

fn passed_on(name: &str) -> Value {
    json!({ "name": name, "model": name, "remote_model": "gpt-oss:120b", "remote_host": "https://ollama.com:443" })
}

/// Returns the model of that name and tier; its engine is to be found out, or is said to be this.
fn model(upstream: &SimulatedUpstream, engine: Option<Engine>, name: &str, tier: Tier) -> RemoteModel {
    let upstream = Upstream::new(settings(&upstream.base_url())).unwrap().with_engine(engine);
    RemoteModel::new(Arc::new(upstream), name.to_owned(), tier).unwrap()
}

/// Returns how many prompts arrived.
fn prompts(upstream: &SimulatedUpstream) -> usize {
    upstream.received().iter().filter(|received| received.head.starts_with("POST ")).count()
}

#[tokio::test]
async fn a_model_that_ollama_passes_on_is_never_local() {
    let models =
        json!([{ "name": "llama3:latest" }, passed_on("mine:latest"), passed_on("gpt-oss:120b-cloud")]);
    for engine in [None, Some(Engine::Ollama)] {
        for is_stream in [false, true] {
            for (name, tier, expected) in [
                ("llama3", Tier::Local, true),
                ("LLAMA3:latest", Tier::Local, true),
                ("mine", Tier::Local, false),
                ("Mine:latest", Tier::Local, false),
                ("gpt-oss:120b-cloud", Tier::Local, false),
                ("unlisted:cloud", Tier::Local, false),
                ("unlisted", Tier::Local, true),
                ("mine", Tier::Mid, true),
                ("gpt-oss:120b-cloud", Tier::Frontier, true),
            ] {
                let models = models.clone();
                let upstream = start(move |received| ollama(received, &models)).await;
                let model = model(&upstream, engine, name, tier);
                let answer = model.answer(cleared(HI, tier), ask(is_stream)).await;
                if expected {
                    assert!(matches!(answer, Ok(Answer::Whole(_) | Answer::Stream(_))), "{name} {tier}");
                } else {
                    assert_eq!(fault_of(answer).fault, BackendFault::Elsewhere, "{name} {tier}");
                }
                assert_eq!(prompts(&upstream), usize::from(expected), "{name} {tier}");
            }
        }
    }
}

#[tokio::test]
async fn a_cloud_name_is_enough_where_nobody_says_what_the_upstream_is() {
    for (name, expected) in [("gpt-oss:120b-cloud", 0), ("mine", 1)] {
        let upstream = start(|_| Behaviour::ok(completion_body("m", "yes", 1, 1))).await;
        let unnamed = Arc::new(Upstream::new(settings(&upstream.base_url())).unwrap());
        let model = RemoteModel::new(unnamed, name.to_owned(), Tier::Local).unwrap();
        let answer = model.answer(cleared(HI, Tier::Local), ask(false)).await;
        assert_eq!((answer.is_ok(), upstream.count()), (expected == 1, expected), "{name}");
    }
}

#[tokio::test]
async fn a_name_that_comes_to_mean_another_model_is_noticed_at_the_next_request() {
    let is_elsewhere = Arc::new(AtomicBool::new(false));
    let upstream = start({
        let is_elsewhere = Arc::clone(&is_elsewhere);
        move |received| match is_elsewhere.load(Ordering::SeqCst) {
            true => ollama(received, &json!([passed_on("mine:latest")])),
            false => ollama(received, &json!([{ "name": "mine:latest" }])),
        }
    })
    .await;
    let model = model(&upstream, None, "mine", Tier::Local);
    for expected in [false, true, false] {
        is_elsewhere.store(expected, Ordering::SeqCst);
        let answer = model.answer(cleared(HI, Tier::Local), ask(false)).await;
        assert_eq!(answer.is_err(), expected);
        if expected {
            assert_eq!(fault_of(answer).fault, BackendFault::Elsewhere);
        }
    }
    assert_eq!(prompts(&upstream), 2);
}

#[tokio::test]
async fn an_ollama_that_does_not_say_gets_nothing() {
    for status in [500, 503] {
        let upstream = start(move |received| match received.head.contains("/api/tags") {
            true => Behaviour::status(status),
            false => ollama(received, &json!([])),
        })
        .await;
        let model = model(&upstream, Some(Engine::Ollama), "mine", Tier::Local);
        let answer = model.answer(cleared(HI, Tier::Local), ask(false)).await;
        assert_eq!(fault_of(answer).fault, BackendFault::Overloaded(status));
        assert_eq!(prompts(&upstream), 0);
    }
    let upstream = start(|received| match received.head.contains("/api/tags") {
        true => Behaviour::Hang,
        false => ollama(received, &json!([])),
    })
    .await;
    let model = model(&upstream, Some(Engine::Ollama), "mine", Tier::Local);
    let deadline = Some(std::time::Instant::now() + std::time::Duration::from_millis(200));
    let answer = model.answer(cleared(HI, Tier::Local), Ask { deadline, ..ask(false) }).await;
    assert_eq!(fault_of(answer).fault, BackendFault::TotalTimeout);
    assert_eq!(prompts(&upstream), 0);
}

#[tokio::test]
async fn a_list_of_engines_says_which_models_run_elsewhere() {
    let models = json!([{ "name": "llama3:latest" }, passed_on("mine:latest"), { "name": "glm:cloud" }]);
    let upstream = start(move |received| ollama(received, &models)).await;
    let client = JsonClient::new(PATIENCE).unwrap();
    let found = find_engine(&client, &upstream.base_url(), None).await.unwrap().unwrap();
    assert_eq!(found.models, ["llama3:latest", "mine:latest", "glm:cloud"]);
    assert_eq!(found.elsewhere, ["mine:latest", "glm:cloud"]);
}
