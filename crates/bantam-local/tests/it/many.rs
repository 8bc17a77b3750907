//! Many models in one memory, and many adapters over one of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bantam_backend::BackendFault;
use bantam_engine::Adapter;
use bantam_kernels::Pool;
use bantam_local::{
    AdapterFile, KeepAlive, LocalModel, LocalModelOptions, OccupantState, Place, Room, RoomBackend,
};
use bantam_weights::{Dtype, NewTensor, NewValue, write_gguf};
use bantam_wire::CallKind;
use serde_json::{Value, json};

use crate::tiny::{Outcome, options, send};
use crate::tiny_model::write;

const HIDDEN: usize = 64;
const RANK: usize = 4;

/// Writes a tiny model whose last weights are those of no other `number`.
fn model(folder: &Path, number: u8) -> PathBuf {
    let own = folder.join(number.to_string());
    std::fs::create_dir_all(&own).unwrap();
    let path = write(&own);
    let mut bytes = std::fs::read(&path).unwrap();
    let from = bytes.len() - 60_000;
    // Turns signs around; all stay finite.
    for at in (from + 3..bytes.len()).step_by(4 * (usize::from(number) + 3)) {
        bytes[at] ^= 0x80;
    }
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Writes an adapter of the tiny model, or of one that is half as wide.
fn adapter(folder: &Path, number: u64, hidden: usize) -> AdapterFile {
    let mut state = number.wrapping_mul(7) + 1;
    let mut numbers = |count: usize| -> Vec<u8> {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1 << 24) as f32 - 0.5) * 0.8
        };
        (0..count).flat_map(|_| next().to_le_bytes()).collect()
    };
    let mut tensors = Vec::new();
    for layer in 0..2 {
        let name = format!("blk.{layer}.attn_q.weight");
        tensors.push((format!("{name}.lora_a"), [RANK, hidden], numbers(RANK * hidden)));
        tensors.push((format!("{name}.lora_b"), [hidden, RANK], numbers(hidden * RANK)));
    }
    let tensors: Vec<NewTensor<'_>> = tensors
        .iter()
        .map(|(name, shape, bytes)| NewTensor { name, dtype: Dtype::F32, shape, bytes })
        .collect();
    let metadata = [
        ("general.type", NewValue::Text("adapter")),
        ("general.architecture", NewValue::Text("llama")),
        ("adapter.type", NewValue::Text("lora")),
        ("adapter.lora.alpha", NewValue::F32(16.0)),
    ];
    let path = folder.join(format!("adapter {number}.gguf"));
    write_gguf(&path, &metadata, &tensors).unwrap();
    AdapterFile { path, stamp: number.to_string() }
}

struct World {
    room: Room<LocalModel<Adapter>>,
    pool: Arc<Pool>,
}

impl World {
    fn new(budget: u64) -> Self {
        let room = Room::new(budget, Duration::from_secs(60), Arc::new(Instant::now));
        Self { room, pool: Arc::new(Pool::new(2)) }
    }

    fn place(&self, path: &Path) -> Place<LocalModel<Adapter>> {
        let bytes = LocalModel::survey(path).unwrap().bytes(options().kv_tokens, 1 << 20);
        let (path, pool) = (path.to_owned(), Arc::clone(&self.pool));
        let key = path.display().to_string();
        self.room.place(&key, bytes, KeepAlive::For(Duration::from_secs(60)), move || {
            let options = LocalModelOptions { pool: Arc::clone(&pool), ..options() };
            Ok(LocalModel::open(&path, &options)?)
        })
    }

    fn backend(&self, path: &Path, name: &str, adapter: Option<&AdapterFile>) -> RoomBackend {
        RoomBackend::new(self.place(path), name.into(), adapter)
    }
}

async fn text(backend: &RoomBackend, content: &str) -> String {
    let ask = json!({ "max_tokens": 8, "temperature": 0 });
    let Outcome::Whole(body) = send(backend, content, ask).await else { panic!("no answer") };
    body["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
}

fn resident(world: &World) -> usize {
    let occupants = world.room.occupants().into_iter();
    occupants.filter(|occupant| occupant.state != OccupantState::Leaving).count()
}

/// The bytes of one tiny model.
fn bytes_of_one(path: &Path) -> u64 {
    LocalModel::survey(path).unwrap().bytes(options().kv_tokens, 1 << 20)
}

#[tokio::test]
async fn what_headers_say_a_model_takes_is_what_it_says_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = model(folder.path(), 0);
    let world = World::new(1 << 30);
    let backend = world.backend(&path, "one", None);
    assert_eq!(resident(&world), 0);
    text(&backend, "hello").await;
    assert_eq!(world.room.occupants()[0].bytes, bytes_of_one(&path));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn more_models_than_fit_asked_by_many_all_answer_as_each_does_alone() {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = (0..5).map(|number| model(folder.path(), number)).collect();
    let all = World::new(1 << 30);
    let mut alone = Vec::new();
    for path in &paths {
        alone.push(text(&all.backend(path, "m", None), "hello").await);
    }
    for (index, answer) in alone.iter().enumerate() {
        assert!(alone[..index].iter().all(|other| other != answer), "the models differ: {alone:?}");
    }
    let world = World::new(2 * bytes_of_one(&paths[0]) + 1_000);
    let backends: Arc<Vec<RoomBackend>> =
        Arc::new(paths.iter().map(|path| world.backend(path, "m", None)).collect());
    let alone = Arc::new(alone);
    let tasks = (0..6_usize).map(|task| {
        let (backends, alone) = (Arc::clone(&backends), Arc::clone(&alone));
        tokio::spawn(async move {
            for round in 0..6 {
                let which = (task * 3 + round * 2) % backends.len();
                assert_eq!(text(&backends[which], "hello").await, alone[which]);
            }
        })
    });
    futures_util::future::try_join_all(tasks).await.unwrap();
    assert!(resident(&world) <= 2);
}

#[tokio::test]
async fn a_stream_keeps_its_model_until_its_end() {
    use bantam_backend::{Answer, Ask, Backend};
    use futures_util::StreamExt;

    let folder = tempfile::tempdir().unwrap();
    let paths = [model(folder.path(), 0), model(folder.path(), 1)];
    let world = World::new(bytes_of_one(&paths[0]) + 1_000);
    let [one, other] = [0, 1].map(|index: usize| world.backend(&paths[index], "m", None));
    let body = json!({
        "model": "m", "stream": true, "max_tokens": 200, "temperature": 0,
        "messages": [{ "role": "user", "content": "hello" }],
    });
    let ask = |deadline| Ask { stream: true, deadline, ..Ask::default() };
    let Ok(Answer::Stream(mut stream)) = one.answer(crate::tiny::cleared(&body), ask(None)).await else {
        panic!("no stream")
    };
    stream.items.next().await.unwrap().unwrap();
    let soon = Some(Instant::now() + Duration::from_millis(80));
    let Err(refused) = other.answer(crate::tiny::cleared(&body), ask(soon)).await else { panic!("evicted") };
    assert_eq!(refused.fault, BackendFault::NoRoom);
    let mut usage = None;
    while let Some(item) = stream.items.next().await {
        usage = item.unwrap().usage();
    }
    assert!(usage.is_some_and(|usage| usage.tokens.output > 0), "{usage:?}");
    drop(stream);
    assert!(!text(&other, "hello").await.is_empty());
}

#[tokio::test]
async fn adapters_share_one_model_and_answer_each_as_alone_also_behind_the_same_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let path = model(folder.path(), 0);
    let files: Vec<AdapterFile> = (0..6).map(|number| adapter(folder.path(), number, HIDDEN)).collect();
    let world = World::new(1 << 30);
    let long = "the same long beginning of all that is asked here, so that it could be cached ".repeat(2);
    let mut backends: Vec<RoomBackend> = vec![world.backend(&path, "base", None)];
    backends.extend(files.iter().map(|file| world.backend(&path, "tuned", Some(file))));
    let mut alone = Vec::new();
    for file in [None].into_iter().chain(files.iter().map(Some)) {
        let own = World::new(1 << 30);
        alone.push(text(&own.backend(&path, "m", file), &long).await);
    }
    let together = backends.iter().map(|backend| text(backend, &long));
    assert_eq!(futures_util::future::join_all(together).await, alone);
    assert!(alone[1..].iter().any(|answer| *answer != alone[0]), "{alone:?}");
    // Again, now that each prefix is cached.
    for (backend, alone) in backends.iter().zip(&alone) {
        assert_eq!(text(backend, &long).await, *alone);
    }
    assert_eq!(resident(&world), 1);
    assert!(backends[0].adapter_bytes().is_none() && backends[1].adapter_bytes().is_some());
    assert_eq!((backends[0].unload_adapter(), backends[1].unload_adapter()), (None, Some(true)));
    assert_eq!(text(&backends[1], &long).await, alone[1]);
}

#[tokio::test]
async fn an_adapter_of_another_model_is_told_by_its_headers_and_asked_in_vain() {
    let folder = tempfile::tempdir().unwrap();
    let path = model(folder.path(), 0);
    let wrong = adapter(folder.path(), 1, HIDDEN / 2);
    let survey = LocalModel::survey(&path).unwrap();
    let error = Adapter::survey(&wrong.path, survey.config()).unwrap_err();
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("tensor"), "{error:?}");
    let world = World::new(1 << 30);
    let backend = world.backend(&path, "tuned", Some(&wrong));
    let Outcome::Fault(fault) = send(&backend, "hello", Value::Object(Default::default())).await else {
        panic!("an answer")
    };
    assert_eq!(fault, BackendFault::NotLoaded);
}

#[tokio::test]
async fn a_file_that_was_damaged_since_is_a_fault_and_not_tried_at_every_request() {
    use bantam_backend::Backend;

    let folder = tempfile::tempdir().unwrap();
    let path = model(folder.path(), 0);
    let world = World::new(1 << 30);
    let backend = world.backend(&path, "m", None);
    std::fs::write(&path, "no model").unwrap();
    assert!(backend.is_available(CallKind::Chat));
    let Outcome::Fault(fault) = send(&backend, "hello", json!({})).await else { panic!("an answer") };
    assert_eq!((fault, backend.is_available(CallKind::Chat)), (BackendFault::NotLoaded, false));
    backend.preload().await.unwrap_err();
}

#[tokio::test]
async fn what_does_not_fit_says_what_would() {
    let folder = tempfile::tempdir().unwrap();
    let survey = LocalModel::survey(model(folder.path(), 0)).unwrap();
    let (needed, page) = (survey.bytes(8_192, 0), survey.bytes(32, 0) - survey.bytes(16, 0));
    assert_eq!(survey.misfit(8_192, 0, needed), None);
    let misfit = survey.misfit(8_192, 0, needed - 1).unwrap();
    assert_eq!((misfit.kv_tokens_that_fit, misfit.kv), (Some(8_176), 512 * page));
    assert_eq!(survey.misfit(8_176, 0, needed - 1), None);
    assert!(misfit.hint().starts_with("set kv_tokens = 8176"), "{}", misfit.hint());
    let hopeless = survey.misfit(8_192, 0, 1_000).unwrap();
    assert!(hopeless.kv_tokens_that_fit.is_none() && hopeless.int4.is_none());
}

/// A model that begins with memory for 64 tokens and may have `most`.
fn growing(world: &World, path: &Path, most: usize) -> RoomBackend {
    let (path, pool) = (path.to_owned(), Arc::clone(&world.pool));
    let bytes = LocalModel::survey(&path).unwrap().bytes(64, 0);
    let place = world.room.place("growing", bytes, KeepAlive::Always, move || {
        let options = LocalModelOptions {
            kv_tokens: 64,
            kv_tokens_max: most,
            adapter_bytes_max: 0,
            pool: Arc::clone(&pool),
            ..options()
        };
        Ok(LocalModel::open(&path, &options)?)
    });
    RoomBackend::new(place, "growing".into(), None)
}

async fn fault(backend: &RoomBackend, content: &str, ask: Value) -> BackendFault {
    match send(backend, content, ask).await {
        Outcome::Fault(fault) => fault,
        Outcome::Whole(body) => panic!("an answer: {body}"),
        Outcome::Chunks(chunks) => panic!("an answer: {chunks:?}"),
    }
}

#[tokio::test]
async fn a_model_answers_with_the_room_that_there_is_and_grows_while_memory_has_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = model(folder.path(), 0);
    let survey = LocalModel::survey(&path).unwrap();
    let long = "word ".repeat(100);
    // The whole budget is taken: an answer is as long as there is room for.
    let tight = World::new(survey.bytes(64, 0));
    let backend = growing(&tight, &path, 2_048);
    let Outcome::Whole(body) = send(&backend, "hi", json!({ "temperature": 0 })).await else {
        panic!("no answer")
    };
    let (finish, usage) = (&body["choices"][0]["finish_reason"], &body["usage"]);
    assert_eq!((finish.as_str(), usage["total_tokens"].as_u64()), (Some("length"), Some(64)), "{body}");
    // A prompt that other models leave no memory for may be asked again; one that never fits may not.
    assert_eq!(fault(&backend, &long, json!({})).await, BackendFault::NoRoom);
    let small = growing(&World::new(1 << 30), &path, 128);
    let BackendFault::ContextLength { tokens, context } = fault(&small, &long, json!({})).await else {
        panic!("another fault")
    };
    assert!(tokens > 300 && context == 128, "{tokens} of {context}");
    // With memory, the same model takes the long prompt, and no more than it needs.
    let wide = World::new(1 << 30);
    let backend = growing(&wide, &path, 2_048);
    let ask = json!({ "temperature": 0, "max_tokens": 4 });
    assert!(matches!(send(&backend, &long, ask).await, Outcome::Whole(_)));
    let bytes = wide.room.occupants()[0].bytes;
    assert!(bytes > survey.bytes(300, 0) && bytes < survey.bytes(2_048, 0), "{bytes}");
}

#[tokio::test]
async fn a_configured_context_counts_by_the_model_s_own_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let path = model(folder.path(), 0);
    let world = World::new(1 << 30);
    let counted = |body: Value| body["usage"]["prompt_tokens"].as_u64().unwrap() as usize;
    let Outcome::Whole(body) =
        send(&world.backend(&path, "m", None), "hello", json!({ "max_tokens": 1 })).await
    else {
        panic!("no answer")
    };
    let prompt = counted(body);
    let backend = world.backend(&path, "m", None).within(prompt + 3);
    let Outcome::Whole(body) = send(&backend, "hello", json!({ "max_tokens": 50, "temperature": 0 })).await
    else {
        panic!("no answer")
    };
    assert_eq!(body["usage"]["completion_tokens"], 3, "{body}");
    let backend = world.backend(&path, "m", None).within(prompt);
    let (tokens, context) = (prompt as u64, prompt as u64);
    assert_eq!(fault(&backend, "hello", json!({})).await, BackendFault::ContextLength { tokens, context });
}
