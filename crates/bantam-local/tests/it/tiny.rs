//! A tiny model behind the backend, and requests to it.

use std::sync::Arc;
use std::time::Instant;

use bantam_backend::{Answer, Ask, Backend, BackendFault};
use bantam_engine::Adapter;
use bantam_kernels::Pool;
use bantam_local::{LocalBackend, LocalModel, LocalModelOptions};
use bantam_privacy::{Cleared, PrivacyPolicy, Scanned, Scanner, ScannerConfig};
use bantam_types::{Label, Tier};
use bantam_wire::{AnswerContext, DecodeLimits, Endpoint, RoutingNote, openai};
use futures_util::StreamExt;
use serde_json::Value;

use crate::tiny_model::write;

pub(crate) fn options() -> LocalModelOptions {
    LocalModelOptions {
        name: "tiny".into(),
        kv_tokens: 8_192,
        kv_tokens_max: 8_192,
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
    cleared_at(openai::CHAT, body)
}

fn cleared_at(endpoint: &'static dyn Endpoint, body: &Value) -> Cleared {
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
    send_to(backend, openai::CHAT, body).await
}

/// Sends a body that came to `endpoint`, as the gateway would, and returns what its caller reads. A stream tells its
/// usage.
pub(crate) async fn send_to(
    backend: &impl Backend,
    endpoint: &'static dyn Endpoint,
    mut body: Value,
) -> Outcome {
    let stream = body["stream"] == true;
    if stream {
        body["stream_options"] = serde_json::json!({ "include_usage": true });
    }
    asked(backend, endpoint, &body, Ask { stream, ..Ask::default() }).await
}

/// Sends a body that came to `endpoint`, as it is to be asked.
pub(crate) async fn asked(
    backend: &impl Backend,
    endpoint: &'static dyn Endpoint,
    body: &Value,
    ask: Ask,
) -> Outcome {
    let cleared = cleared_at(endpoint, body);
    let call = cleared.request().clone();
    let context = AnswerContext { call: &call, request_id: 1, created_unix_s: 1, model: "asked" };
    match backend.answer(cleared, ask).await {
        Ok(Answer::Whole(whole)) => {
            let body = endpoint.whole(&whole.body, context, &note()).unwrap();
            Outcome::Whole(serde_json::from_slice(&body).unwrap())
        }
        Ok(Answer::Stream(stream)) => {
            let mut encoder = endpoint.stream(context);
            let mut told = Vec::new();
            for item in stream.items.collect::<Vec<_>>().await {
                encoder.push(item.unwrap(), &mut told).unwrap();
            }
            encoder.finish(&note(), &mut told);
            let told = String::from_utf8(told).unwrap();
            let chunks = told.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
            let chunks = chunks.filter(|data| *data != "[DONE]");
            Outcome::Chunks(chunks.map(|data| serde_json::from_str(data).unwrap()).collect())
        }
        Ok(Answer::Student(_)) => panic!("a language model is not a student"),
        Err(error) => Outcome::Fault(error.fault),
    }
}

fn note() -> RoutingNote {
    RoutingNote {
        request_id: 1,
        task: None,
        tier: Tier::Local,
        model: "asked".into(),
        confidence: None,
        escalated: Vec::new(),
        cost: None,
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
