//! A gateway over a ledger in a temporary folder, scripted backends, and what came of a request.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bantam_backend::{
    Answer, AnswerStream, Ask, Backend, BackendError, BackendFault, BoxFuture, StudentAnswer, WholeAnswer,
};
use bantam_books::{BooksReader, RequestFilter, TimeRange, Usage, block_on};
use bantam_gateway::{AdmissionLimits, Deployment, Gateway, Hints, Reply, ReplyBody, Rung, Task};
use bantam_ledger::{Acknowledge, Ledger, LedgerOptions};
use bantam_privacy::{Cleared, DictionaryTerm, PrivacyPolicy, Scanner, ScannerConfig};
use bantam_remote::{Auth, Dialect, RemoteModel, Upstream, UpstreamSettings, WireSettings};
use bantam_route::{Gate, RungKind};
use bantam_simulate::{SimulatedUpstream, completion_body};
use bantam_student::{Example, LinearConfig, Student, StudentBackend, linear};
use bantam_types::{AnswerUsage, Label, Price, Rates, Settlement, TaskKind, Tier, TokenUsage, UsdPerMillion};
use bantam_wire::outcome::AnswerFacts;
use bantam_wire::sse::SseEvent;
use bantam_wire::{
    AnswerBody, Call, CallKind, DecodeLimits, EventReader, Feature, Format, RawAnswer, Unsupported, openai,
};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What a scripted backend does with one request.
pub(crate) enum Act {
    /// As a student: a label with a probability.
    Say(&'static str, f32),
    /// As a student that does not know such texts.
    Foreign(&'static str),
    /// As a student of free answers: a text, how sure it is, and whether it has the task's form.
    Draft(&'static str, f32, bool),
    /// As a model: this text for these tokens.
    Text(&'static str, Option<AnswerUsage>),
    /// As a model: this body.
    Body(&'static str),
    /// As a model: these chunks, then perhaps a fault.
    Chunks(Vec<String>, Option<BackendFault>),
    /// As a model: these chunks, then silence.
    ChunksThenHang(Vec<String>),
    /// Not at all.
    Fail(BackendFault),
    /// Never.
    Hang,
    /// After the future was polled so often, with this text.
    After(u32, &'static str),
}

type Script = Box<dyn Fn(&Call, &Ask) -> Act + Send + Sync>;

/// A backend that does as it is told and counts its calls.
pub(crate) struct Scripted {
    tier: Tier,
    script: Script,
    calls: AtomicU64,
    cannot_honour: Option<Feature>,
    available: bool,
    chat_only: bool,
}

impl Scripted {
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Backend for Scripted {
    fn tier(&self) -> Tier {
        self.tier
    }

    fn cannot_honour(&self, call: &Call) -> Option<Unsupported> {
        let unserved = self.chat_only && call.kind() != CallKind::Chat;
        let refused = self.cannot_honour.filter(|feature| call.asks(*feature));
        let feature = unserved.then_some(call.kind().feature()).or(refused)?;
        Some(Unsupported::new(feature, "it was told so"))
    }

    fn is_available(&self, _: CallKind) -> bool {
        self.available
    }

    fn answer(&self, request: Cleared, ask: Ask) -> BoxFuture<'_, Result<Answer, BackendError>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        assert_eq!(request.tier(), self.tier, "a request came that is cleared for another tier");
        let act = (self.script)(request.request(), &ask);
        Box::pin(perform(act, Format::openai(request.request().kind())))
    }
}

async fn perform(act: Act, format: Format) -> Result<Answer, BackendError> {
    let student = |label: &str, probability, out_of_scope| {
        let text = label.into();
        Ok(Answer::Student(StudentAnswer { text, probability, out_of_scope, is_valid: true, usage: None }))
    };
    match act {
        Act::Say(label, probability) => student(label, probability, false),
        Act::Foreign(label) => student(label, 1.0, true),
        Act::Draft(text, probability, is_valid) => {
            let usage = Some(TokenUsage::new(40, 0, 7));
            let text = text.into();
            Ok(Answer::Student(StudentAnswer { text, probability, out_of_scope: false, is_valid, usage }))
        }
        Act::Text(text, usage) => Ok(whole(text, usage)),
        Act::Body(body) => Ok(with_body(format, body.into(), AnswerFacts::default())),
        Act::Chunks(chunks, fault) => Ok(stream(chunks, fault, false)),
        Act::ChunksThenHang(chunks) => Ok(stream(chunks, None, true)),
        Act::Fail(fault) => Err(fault.into()),
        Act::Hang => std::future::pending().await,
        Act::After(polls, text) => {
            for _ in 0..polls {
                yield_once().await;
            }
            Ok(whole(text, None))
        }
    }
}

/// Gives way without waking anybody: whoever polls by hand decides when it goes on.
async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|_| {
        if std::mem::replace(&mut yielded, true) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}

fn whole(text: &str, usage: Option<AnswerUsage>) -> Answer {
    let facts = AnswerFacts { usage, text: Some(text.to_owned()), has_note: false };
    with_body(Format::OpenAiChat, completion_body("real-model", text, 0, 0).into(), facts)
}

fn with_body(format: Format, bytes: bytes::Bytes, facts: AnswerFacts) -> Answer {
    let body = AnswerBody::Raw(RawAnswer { format, bytes, facts });
    Answer::Whole(WholeAnswer { body, first_byte_us: 1, retries: 0, notes: None })
}

fn stream(chunks: Vec<String>, fault: Option<BackendFault>, hang: bool) -> Answer {
    let mut reader = EventReader::new(Format::OpenAiChat, openai::CHAT);
    let mut items = VecDeque::new();
    for data in chunks {
        reader.read(SseEvent { event: None, data }, &mut items).unwrap();
    }
    let items = items.into_iter().map(Ok);
    let fault = fault.into_iter().map(|fault| Err(fault.into()));
    let items = futures_util::stream::iter(items.chain(fault).collect::<Vec<_>>());
    let items = if hang { items.chain(futures_util::stream::pending()).boxed() } else { items.boxed() };
    Answer::Stream(AnswerStream { items, first_byte_us: 1, retries: 0, notes: None, deadline: None })
}

pub(crate) fn tokens(input: u64, cached_input: u64, output: u64) -> Option<AnswerUsage> {
    Some(TokenUsage::new(input, cached_input, output).into())
}

/// Returns a backend that answers as `script` says.
pub(crate) fn scripted(tier: Tier, script: impl Fn(&Call, &Ask) -> Act + Send + Sync + 'static) -> Scripted {
    Scripted {
        tier,
        script: Box::new(script),
        calls: AtomicU64::new(0),
        cannot_honour: None,
        available: true,
        chat_only: false,
    }
}

impl Scripted {
    pub(crate) fn that_cannot_honour(self, feature: Feature) -> Self {
        Self { cannot_honour: Some(feature), ..self }
    }

    pub(crate) fn that_serves_chat_only(self) -> Self {
        Self { chat_only: true, ..self }
    }

    pub(crate) fn that_is_unavailable(self) -> Self {
        Self { available: false, ..self }
    }
}

/// Returns a price in dollars per million tokens.
pub(crate) fn price(input: u64, cached_input: u64, output: u64) -> Arc<Price> {
    let dollars = |dollars: u64| UsdPerMillion::from_micros(dollars * 1_000_000);
    let rates = Rates {
        input: dollars(input),
        cached_input: dollars(cached_input),
        output: dollars(output),
        ..Rates::default()
    };
    Arc::new(Price::flat(rates, "2026-11-01"))
}

/// Returns a rung for a model.
pub(crate) fn rung(name: &str, backend: Arc<dyn Backend>) -> Rung {
    Rung {
        name: name.into(),
        model: format!("real-{name}").into(),
        tier: backend.tier(),
        kind: RungKind::Model,
        context_tokens: None,
        price: Some(price(2, 1, 8)),
        gate: None,
        backend,
    }
}

/// Returns a rung for a student.
pub(crate) fn student_rung(backend: Arc<dyn Backend>, gate: Gate) -> Rung {
    let gate = Some(gate);
    Rung { kind: RungKind::Student, price: Some(price(0, 0, 0)), gate, ..rung("student", backend) }
}

pub(crate) const LABELS: [&str; 3] = ["card", "rate", "transfer"];

/// Returns a classification task over `ladder`.
pub(crate) fn task(name: &str, ladder: Vec<Arc<Rung>>) -> Task {
    Task {
        name: name.parse().unwrap(),
        kind: TaskKind::Classify,
        labels: LABELS.iter().map(|label| (*label).into()).collect(),
        ladder,
        instructions: "Answer with one label.".into(),
        answer_key: None,
        record: false,
        audit_share: 0.0,
        minimum_label: Label::Public,
        tokens: Arc::default(),
    }
}

/// Returns a task whose answers are free text.
pub(crate) fn open_task(name: &str, ladder: Vec<Arc<Rung>>) -> Task {
    Task { kind: TaskKind::Generate, labels: Vec::new(), ..task(name, ladder) }
}

/// Returns a deployment of `tasks`, each rung of which may also be named as a model.
pub(crate) fn deployment(tasks: Vec<Task>, auto: Vec<Arc<Rung>>) -> Deployment {
    let rungs = tasks.iter().flat_map(|task| task.ladder.clone()).chain(auto.clone());
    let models =
        rungs.filter(|rung| rung.gate.is_none()).map(|rung| (Arc::clone(&rung.name), rung)).collect();
    Deployment {
        scanner: scanner(),
        policy: PrivacyPolicy { mid_max: Label::Internal, frontier_max: Label::Internal },
        decode_limits: DecodeLimits::default(),
        models,
        tasks: tasks.into_iter().map(|task| (task.name.clone(), Arc::new(task))).collect(),
        templates: HashMap::new(),
        auto_ladder: auto,
        auto_names: ["unchanged-app".to_owned()].into(),
        forwarded_headers: std::collections::BTreeSet::new(),
        keep_prompt_previews: false,
        baseline: Some(price(10, 5, 30)),
    }
}

pub(crate) fn scanner() -> Scanner {
    let term = DictionaryTerm { term: "Project Falcon".to_owned(), label: Label::Restricted };
    Scanner::new(&ScannerConfig { dictionary: vec![term] }).unwrap()
}

/// A gateway with its ledger.
pub(crate) struct Desk {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) folder: TempDir,
}

/// What a caller gets.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) request_id: u128,
    pub(crate) status: u16,
    /// The error's word for programs.
    pub(crate) slug: &'static str,
    pub(crate) message: String,
    pub(crate) param: Option<String>,
    pub(crate) retry_after_s: Option<u32>,
    pub(crate) should_retry: Option<bool>,
    /// The answer's text, put together from a stream's chunks.
    pub(crate) text: String,
    /// The body, or the last chunk before the end.
    pub(crate) json: Value,
    /// A stream's events.
    pub(crate) events: Vec<String>,
}

impl Desk {
    pub(crate) fn new(deployment: Deployment) -> Self {
        Self::with(deployment, LedgerOptions::new(Acknowledge::ProcessCrash), 256, 256)
    }

    pub(crate) fn with(
        deployment: Deployment,
        options: LedgerOptions,
        running_max: usize,
        waiting_max: usize,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // These books keep every text that they are given: what is not kept was not given.
        let options = LedgerOptions { keep_prompt_previews: true, ..options };
        let ledger = Arc::new(Ledger::open(&folder.path().join("ledger.sqlite"), options).unwrap());
        let limits = AdmissionLimits { running_max, waiting_max };
        let gateway = Arc::new(Gateway::new(deployment, Arc::<Ledger>::clone(&ledger), limits, 7));
        Self { gateway, ledger, folder }
    }

    /// Shows the callers of streams that they live.
    pub(crate) fn keeping_alive(self, every: Duration) -> Self {
        let Some(gateway) = Arc::into_inner(self.gateway) else { panic!("the gateway is in use") };
        Self { gateway: Arc::new(gateway.keeping_alive(every)), ..self }
    }

    /// Asks with a body of one's own.
    pub(crate) async fn ask_body(&self, body: impl Into<bytes::Bytes>, hints: Hints) -> Got {
        let asked = self.gateway.answer(openai::CHAT, body.into(), hints);
        let reply =
            tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("no reply ever came"));
        read(reply).await
    }

    /// Asks `model` for an answer to `text`.
    pub(crate) async fn ask(&self, model: &str, text: &str) -> Got {
        self.ask_body(body(model, text), Hints::default()).await
    }

    /// The same, streamed.
    pub(crate) async fn ask_stream(&self, model: &str, text: &str) -> Got {
        self.ask_body(stream_body(model, text), Hints::default()).await
    }

    /// Returns a reader that sees everything that was settled.
    pub(crate) fn reader(&self) -> Box<dyn BooksReader> {
        self.ledger.fold().unwrap();
        assert_eq!(self.ledger.health().duplicates, 0, "a request was settled twice");
        Box::new(self.ledger.reader().unwrap())
    }

    /// Returns all that was settled, oldest first.
    pub(crate) fn settled(&self) -> Vec<Settlement> {
        let page = block_on(self.reader().requests(RequestFilter::default(), None, u32::MAX)).unwrap();
        page.requests.into_iter().rev().collect()
    }

    /// Returns the sum over all that was settled.
    pub(crate) fn total(&self) -> Usage {
        block_on(self.reader().total(TimeRange::ALL)).unwrap()
    }

    /// Returns the only settlement there is.
    pub(crate) fn only(&self) -> Settlement {
        let mut all = self.settled();
        assert_eq!(all.len(), 1, "{:?}", all.iter().map(told).collect::<Vec<_>>());
        all.remove(0)
    }

    /// Returns the settlement of one request.
    pub(crate) fn of(&self, got: &Got) -> Settlement {
        let filter = RequestFilter { request_id: Some(got.request_id), ..RequestFilter::default() };
        let page = block_on(self.reader().requests(filter, None, 2)).unwrap();
        let [settlement] = &*page.requests else { panic!("it was not settled once: {page:?}") };
        settlement.clone()
    }
}

/// Says a settlement in one line: `answered 200: student discarded low_confidence, mid accepted`.
pub(crate) fn told(settlement: &Settlement) -> String {
    let attempts: Vec<String> = settlement
        .attempts
        .iter()
        .map(|attempt| {
            let reason = attempt.outcome.reason().map_or(String::new(), |reason| format!(" {reason}"));
            format!("{} {}{reason}", attempt.backend, attempt.outcome.as_str())
        })
        .collect();
    let outcome = format!("{:?}", settlement.outcome).to_lowercase();
    format!("{outcome} {}: {}", settlement.status, attempts.join(", "))
}

pub(crate) fn body(model: &str, text: &str) -> String {
    json!({"model": model, "messages": [{"role": "user", "content": text}]}).to_string()
}

pub(crate) fn stream_body(model: &str, text: &str) -> String {
    json!({"model": model, "stream": true, "messages": [{"role": "user", "content": text}]}).to_string()
}

/// Reads a reply to its end and checks what every reply promises.
pub(crate) async fn read(reply: Reply) -> Got {
    let mut got = Got {
        request_id: reply.request_id,
        status: 200,
        slug: "",
        message: String::new(),
        param: None,
        retry_after_s: None,
        should_retry: None,
        text: String::new(),
        json: Value::Null,
        events: Vec::new(),
    };
    match reply.body {
        ReplyBody::Whole(body) => {
            got.json = serde_json::from_slice(&body).unwrap();
            got.text = got.json["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned();
            assert_eq!(got.json["bantam"]["request_id"], format!("req_{:032x}", got.request_id));
            assert!(reply.note.is_some());
        }
        ReplyBody::Stream(items) => {
            let bytes: Vec<_> = items.collect().await;
            let all = String::from_utf8(bytes.concat()).unwrap();
            read_events(&all, &mut got);
        }
        ReplyBody::Error(error) => {
            assert!(reply.note.is_none());
            got.status = error.code.status();
            got.slug = error.slug;
            got.message = error.message;
            got.param = error.param;
            got.retry_after_s = error.retry_after_s;
            got.should_retry = error.should_retry;
        }
    }
    got
}

fn read_events(all: &str, got: &mut Got) {
    assert!(all.ends_with("\n\n"), "{all}");
    let data = |event: &str| {
        let lines: Vec<&str> = event.lines().map(|line| line.strip_prefix("data: ").unwrap()).collect();
        lines.join("\n")
    };
    got.events = all.trim_end().split("\n\n").map(data).collect();
    let chunks: Vec<Value> = got
        .events
        .iter()
        .filter(|event| *event != "[DONE]")
        .map(|event| serde_json::from_str(event).unwrap())
        .collect();
    got.text = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    got.json = chunks.last().cloned().unwrap_or_default();
}

const PHRASES: [(&str, [&str; 4]); 3] = [
    ("card", ["block my card", "order a new card", "my card was stolen", "the card is broken"]),
    ("rate", ["show the exchange rate", "what is the rate today", "rate for euros", "compare rates"]),
    ("transfer", ["transfer money abroad", "send a transfer", "my transfer is late", "cancel the transfer"]),
];

/// Returns a tiny student that was really trained on what [`LABELS`] mean.
pub(crate) fn trained() -> Arc<dyn Backend> {
    static STUDENT: OnceLock<Arc<Student>> = OnceLock::new();
    let student = STUDENT.get_or_init(|| {
        let mut rows = Vec::new();
        for (label, phrases) in PHRASES {
            for phrase in phrases {
                for opening in ["please", "could you", "i want to", "help me", "now", "kindly"] {
                    rows.push(Example { text: format!("{opening} {phrase}"), label: label.to_owned() });
                }
            }
        }
        Arc::new(Student::Linear(linear::train(&rows, &LinearConfig::recommended()).unwrap().0))
    });
    Arc::new(StudentBackend::new(Arc::clone(student), false))
}

/// Returns a model behind a simulated upstream, with short time-outs and no retries.
pub(crate) fn remote(upstream: &SimulatedUpstream, tier: Tier) -> Arc<dyn Backend> {
    retrying(upstream, tier, 0)
}

/// The same, with retries.
pub(crate) fn retrying(upstream: &SimulatedUpstream, tier: Tier, retries_max: u32) -> Arc<dyn Backend> {
    remote_with(UpstreamSettings { retries_max, ..upstream_settings(&upstream.base_url()) }, tier)
}

/// Returns a model behind whatever listens at `base_url`.
pub(crate) fn remote_at(base_url: &str, tier: Tier) -> Arc<dyn Backend> {
    remote_with(upstream_settings(base_url), tier)
}

pub(crate) fn remote_with(settings: UpstreamSettings, tier: Tier) -> Arc<dyn Backend> {
    let upstream = Arc::new(Upstream::new(settings).unwrap());
    Arc::new(RemoteModel::new(upstream, "real".to_owned(), tier).unwrap())
}

/// Returns settings with short time-outs and no retries.
pub(crate) fn upstream_settings(base_url: &str) -> UpstreamSettings {
    UpstreamSettings {
        base_url: base_url.to_owned(),
        path: "/chat/completions".to_owned(),
        dialect: Dialect::OpenAi,
        auth: Auth::Bearer,
        api_key: Some("key-of-the-upstream".to_owned()),
        extra_roots_pem: None,
        connect_timeout: PATIENCE,
        first_byte_timeout: Duration::from_millis(200),
        chunk_timeout: Duration::from_millis(200),
        total_timeout: PATIENCE,
        retries_max: 0,
        retry_sent: false,
        concurrent_requests_max: 256,
        response_bytes_max: 1 << 20,
        wire: WireSettings::default(),
    }
}
