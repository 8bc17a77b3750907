//! A tiny model behind the backend, and requests to it.

use std::sync::Arc;
use std::time::Instant;

use bantam_backend::{Answer, Ask, Backend, BackendFault};
use bantam_engine::Adapter;
use bantam_kernels::Pool;
use bantam_local::{LocalBackend, LocalModel, LocalModelOptions};
use bantam_privacy::{Cleared, PrivacyPolicy, Scanned, Scanner, ScannerConfig};
use bantam_types::{Label, Tier};
use bantam_wire::{DecodeLimits, Endpoint};
use futures_util::StreamExt;
use serde_json::Value;

use crate::tiny_model::write;

pub(crate) fn options() -> LocalModelOptions {
    LocalModelOptions {
        name: "tiny".into(),
        kv_tokens: 8_192,
        keeps_layout: false,
        template: None,
        adapter_bytes_max: 1 << 20,
        pool: Arc::new(Pool::new(2)),
        clock: Arc::new(Instant::now),
    }
}

pub(crate) fn backend() -> LocalBackend<Adapter> {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path());
    LocalBackend::new(Arc::new(LocalModel::open(path, &options()).unwrap()))
}

/// What came of a request.
pub(crate) enum Outcome {
    Whole(Value),
    Chunks(Vec<Value>),
    Fault(BackendFault),
}

/// Returns a request as the privacy policy lets it pass to this process.
pub(crate) fn cleared(body: &Value) -> Cleared {
    cleared_at(Endpoint::Chat, body)
}

fn cleared_at(endpoint: Endpoint, body: &Value) -> Cleared {
    let scanner = Scanner::new(&ScannerConfig { dictionary: Vec::new() }).unwrap();
    let scanned =
        Scanned::decode(endpoint, body.to_string().into(), &DecodeLimits::default(), &scanner).unwrap();
    let policy = PrivacyPolicy { mid_max: Label::Internal, frontier_max: Label::Public };
    policy.clear(&scanned, Tier::Local).unwrap()
}

/// Sends a chat request whose body is `messages` and `more`, as the gateway would.
pub(crate) async fn send(backend: &impl Backend, content: &str, more: Value) -> Outcome {
    let mut body =
        serde_json::json!({ "model": "tiny", "messages": [{ "role": "user", "content": content }] });
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    send_to(backend, Endpoint::Chat, body).await
}

/// Sends a body that came to `endpoint`, as the gateway would.
pub(crate) async fn send_to(backend: &impl Backend, endpoint: Endpoint, body: Value) -> Outcome {
    let stream = body["stream"] == true;
    let ask = Ask { system: None, stream, payload_start: 0, deadline: None };
    match backend.answer(cleared_at(endpoint, &body), ask).await {
        Ok(Answer::Whole(completion)) => Outcome::Whole(serde_json::from_slice(&completion.body).unwrap()),
        Ok(Answer::Stream(stream)) => {
            let items: Vec<_> = stream.items.collect().await;
            Outcome::Chunks(
                items.into_iter().map(|item| serde_json::from_str(&item.unwrap().data).unwrap()).collect(),
            )
        }
        Ok(Answer::Student(_)) => panic!("a language model is no student"),
        Err(error) => Outcome::Fault(error.fault),
    }
}

pub(crate) async fn whole(backend: &LocalBackend<Adapter>, content: &str, more: Value) -> Value {
    match send(backend, content, more).await {
        Outcome::Whole(body) => body,
        Outcome::Chunks(_) => panic!("a stream"),
        Outcome::Fault(fault) => panic!("{fault}"),
    }
}

pub(crate) async fn chunks(backend: &LocalBackend<Adapter>, content: &str, more: Value) -> Vec<Value> {
    match send(backend, content, more).await {
        Outcome::Chunks(chunks) => chunks,
        Outcome::Whole(_) => panic!("no stream"),
        Outcome::Fault(fault) => panic!("{fault}"),
    }
}

pub(crate) async fn fault(backend: &LocalBackend<Adapter>, content: &str, more: Value) -> BackendFault {
    match send(backend, content, more).await {
        Outcome::Fault(fault) => fault,
        _ => panic!("an answer"),
    }
}
