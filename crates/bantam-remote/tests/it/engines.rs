//! Engines found by what they answer, and asked in their own words.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bantam_backend::{Answer, Ask, Backend, BackendFault, ConnectFault};
use bantam_remote::{
    Auth, Dialect, Engine, JsonClient, RemoteModel, Upstream, UpstreamSettings, WireSettings, find_engine,
};
use bantam_simulate::completion_body;
use bantam_types::Tier;
use bantam_wire::Feature;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::cleared;

/// A server that answers paths with JSON, and chat with a completion.
struct Pretender {
    address: String,
    asked: Arc<Mutex<Vec<Value>>>,
}

async fn pretend(paths: &[(&'static str, Value)]) -> Pretender {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let paths: Arc<BTreeMap<&'static str, Value>> = Arc::new(paths.iter().cloned().collect());
    let asked: Arc<Mutex<Vec<Value>>> = Arc::default();
    let bodies = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(answer(socket, Arc::clone(&paths), Arc::clone(&bodies)));
        }
    });
    Pretender { address, asked }
}

async fn answer(
    mut socket: TcpStream,
    paths: Arc<BTreeMap<&'static str, Value>>,
    bodies: Arc<Mutex<Vec<Value>>>,
) {
    let mut received = Vec::new();
    let (head, body) = loop {
        let mut part = [0; 4096];
        let count = socket.read(&mut part).await.unwrap_or(0);
        received.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&received).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .to_lowercase()
                .split("content-length: ")
                .nth(1)
                .map_or(0, |rest| rest.split("\r\n").next().unwrap().parse::<usize>().unwrap());
            if body.len() >= length {
                break (head.to_owned(), body.to_owned());
            }
        }
        if count == 0 {
            return;
        }
    };
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let (status, reply) = if head.starts_with("POST") {
        bodies.lock().unwrap().push(serde_json::from_str(&body).unwrap());
        ("200 OK", String::from_utf8(completion_body("m", "fine", 5, 1).into()).unwrap())
    } else {
        match paths.get(&*path) {
            Some(reply) => ("200 OK", reply.to_string()),
            None => ("404 Not Found", "{}".to_owned()),
        }
    };
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n");
    let _ =
        socket.write_all(format!("{head}content-length: {}\r\n\r\n{reply}", reply.len()).as_bytes()).await;
}

fn listed(owner: &str) -> Value {
    json!({ "object": "list", "data": [{ "id": "a", "owned_by": owner }, { "id": "b", "owned_by": owner }] })
}

fn ollama(version: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("/api/version", json!({ "version": version })),
        ("/api/tags", json!({ "models": [{ "name": "a" }, { "name": "b" }] })),
        ("/v1/models", listed("library")),
    ]
}

fn llama_server() -> Vec<(&'static str, Value)> {
    let props = json!({ "default_generation_settings": { "n_ctx": 512 }, "build_info": "b11400" });
    vec![("/props", props), ("/v1/models", listed("llamacpp"))]
}

fn vllm() -> Vec<(&'static str, Value)> {
    let about = json!({ "info": { "title": "FastAPI", "version": "0.1.0" } });
    vec![("/version", json!({ "version": "0.21" })), ("/v1/models", listed("vllm")), ("/openapi.json", about)]
}

fn llama_cpp_python() -> Vec<(&'static str, Value)> {
    let about = json!({ "info": { "title": "🦙 llama.cpp Python API", "version": "0.3.36" } });
    vec![("/openapi.json", about), ("/v1/models", listed("me"))]
}

#[tokio::test]
async fn each_engine_is_known_by_what_only_it_answers() {
    let client = JsonClient::new(Duration::from_secs(10)).unwrap();
    for (paths, engine, version) in [
        (ollama("0.40.1"), Engine::Ollama, "0.40.1"),
        (llama_server(), Engine::LlamaServer, "b11400"),
        (vllm(), Engine::Vllm, "0.21"),
        (llama_cpp_python(), Engine::LlamaCppPython, "0.3.36"),
    ] {
        let pretender = pretend(&paths).await;
        for address in [pretender.address.clone(), format!("{}/v1/", pretender.address)] {
            let found = find_engine(&client, &address, None).await.unwrap().unwrap();
            assert_eq!((found.engine, found.version.as_deref()), (engine, Some(version)));
            assert_eq!(found.models, ["a", "b"]);
        }
    }
    let other = pretend(&[("/v1/models", listed("bantam"))]).await;
    assert_eq!(find_engine(&client, &other.address, None).await.unwrap(), None);
    find_engine(&client, "http://127.0.0.1:9", None).await.unwrap_err();
    find_engine(&client, "no address", None).await.unwrap_err();
}

fn model(address: &str, engine: Option<Engine>) -> RemoteModel {
    let patience = Duration::from_secs(10);
    let settings = UpstreamSettings {
        base_url: format!("{address}/v1"),
        path: "/chat/completions".to_owned(),
        dialect: Dialect::OpenAi,
        auth: Auth::None,
        api_key: None,
        extra_roots_pem: None,
        connect_timeout: patience,
        first_byte_timeout: patience,
        chunk_timeout: patience,
        total_timeout: patience,
        retries_max: 0,
        retry_sent: false,
        concurrent_requests_max: 8,
        response_bytes_max: 1 << 20,
        wire: WireSettings::default(),
    };
    let upstream = Upstream::new(settings).unwrap().with_engine(engine);
    RemoteModel::new(Arc::new(upstream), "m".to_owned(), Tier::Local).unwrap()
}

async fn ask(model: &RemoteModel, more: &Value) -> Result<(), BackendFault> {
    let mut body = json!({ "model": "x", "messages": [{ "role": "user", "content": "hi" }] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let ask = Ask::default();
    match model.answer(cleared(&body.to_string(), Tier::Local), ask).await {
        Ok(Answer::Whole(_)) => Ok(()),
        Ok(_) => panic!("no whole answer"),
        Err(error) => Err(error.fault),
    }
}

#[tokio::test]
async fn an_engine_that_is_to_be_found_out_is_asked_once_and_then_known() {
    let pretender = pretend(&llama_cpp_python()).await;
    let found = model(&pretender.address, None);
    assert_eq!(ask(&found, &json!({ "n": 2 })).await, Err(BackendFault::CannotHonour(Feature::Answers)));
    let schema = json!({ "type": "object" });
    let format = json!({ "type": "json_schema", "json_schema": { "name": "t", "schema": schema } });
    ask(&found, &json!({ "max_completion_tokens": 5, "response_format": format })).await.unwrap();
    let asked = pretender.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 1, "what is refused is not sent: {asked:?}");
    assert_eq!((&asked[0]["max_tokens"], &asked[0]["model"]), (&json!(5), &json!("m")));
    assert_eq!(asked[0]["response_format"], json!({ "type": "json_object", "schema": schema }));

    let stranger = pretend(&[]).await;
    ask(&model(&stranger.address, None), &json!({ "n": 2 })).await.unwrap();
    let nobody = model("http://127.0.0.1:9", None);
    assert_eq!(ask(&nobody, &json!({})).await, Err(BackendFault::Connect(ConnectFault::Refused)));
}

#[tokio::test]
async fn a_version_is_asked_for_only_where_it_matters() {
    let told = json!({ "logprobs": true });
    let (new, old) = (pretend(&ollama("0.40.1")).await, pretend(&ollama("0.9.0")).await);
    let engine = Some(Engine::Ollama);
    ask(&model(&new.address, engine), &told).await.unwrap();
    let refused = ask(&model(&old.address, engine), &told).await;
    assert_eq!(refused, Err(BackendFault::CannotHonour(Feature::LogProbabilities)));
    // Nothing but chat is answered there, and nothing else is asked.
    let silent = pretend(&[]).await;
    ask(&model(&silent.address, engine), &json!({ "temperature": 0.5 })).await.unwrap();
}
