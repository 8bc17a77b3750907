//! A server on a free port, and a client that may send any bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bantam_backend::MemoryBudget;
use bantam_books::{BooksReader, RequestFilter};
use bantam_gateway::{AdmissionLimits, Deployment, Gateway, Rung, Task};
use bantam_ledger::{Acknowledge, Ledger, LedgerOptions};
use bantam_privacy::{PrivacyPolicy, Scanner, ScannerConfig};
use bantam_remote::{Auth, Dialect, RemoteModel, Upstream, UpstreamSettings, WireSettings};
use bantam_route::RungKind;
use bantam_server::{Guard, GuardSettings, NoResidents, Residents, ServerSettings, serve};
use bantam_simulate::{
    Behaviour, Received, SimulatedUpstream, StreamEnd, completion_body, completion_events,
};
use bantam_types::{Label, Price, Rates, RequestOutcome, Settlement, TaskKind, Tier, UsdPerMillion};
use bantam_wire::DecodeLimits;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Nothing in a test may take longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What a test changes of the server.
pub(crate) struct Setup {
    pub(crate) settings: ServerSettings,
    pub(crate) keys: Vec<String>,
    pub(crate) running_max: usize,
    pub(crate) waiting_max: usize,
    pub(crate) residents: Arc<dyn Residents>,
    /// The most calls that the upstream takes at a time, and the most bytes of its answers.
    pub(crate) upstream_calls_max: usize,
    pub(crate) response_bytes_max: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            settings: ServerSettings {
                body_bytes_max: 64 * 1024,
                header_timeout: PATIENCE,
                body_timeout: PATIENCE,
                write_timeout: PATIENCE,
                memory: MemoryBudget::new(1 << 30),
                idle_timeout: PATIENCE,
                drain_timeout: PATIENCE,
            },
            keys: Vec::new(),
            running_max: 1024,
            waiting_max: 1024,
            residents: Arc::new(NoResidents),
            upstream_calls_max: 1024,
            response_bytes_max: 1 << 20,
        }
    }
}

/// A server that runs.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) stop: Arc<Notify>,
    pub(crate) serving: JoinHandle<std::io::Result<()>>,
    _upstream: Option<SimulatedUpstream>,
    _folder: TempDir,
}

/// Answers as it is asked: whole or streamed, `slow` ones after half a second, `never` never.
pub(crate) fn polite(received: &Received) -> Behaviour {
    let delay = if received.last_text() == "slow" { Duration::from_millis(500) } else { Duration::ZERO };
    if received.last_text() == "never" {
        return Behaviour::Hang;
    }
    if received.wants_stream() {
        let events = completion_events("m", "one two", 10, 2);
        return Behaviour::Events { events, delay, gap: Duration::ZERO, end: StreamEnd::Done };
    }
    Behaviour::Answer {
        status: 200,
        headers: Vec::new(),
        body: completion_body("m", "one two", 10, 2),
        delay,
    }
}

/// Starts a server before a polite upstream.
pub(crate) async fn start(setup: Setup) -> Server {
    let upstream = SimulatedUpstream::start_forgetful(polite).await.unwrap();
    let url = upstream.base_url();
    start_before(setup, &url, Some(upstream)).await
}

pub(crate) async fn start_before(setup: Setup, url: &str, upstream: Option<SimulatedUpstream>) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let options = LedgerOptions::new(Acknowledge::ProcessCrash);
    let ledger = Arc::new(Ledger::open(&folder.path().join("ledger.sqlite"), options).unwrap());
    let limits = AdmissionLimits { running_max: setup.running_max, waiting_max: setup.waiting_max };
    let gateway = Arc::new(Gateway::new(deployment(url, &setup), Arc::<Ledger>::clone(&ledger), limits, 7));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let guard = Guard::new(GuardSettings {
        bind: address,
        allowed_hosts: vec!["bantam.lan".to_owned()],
        allowed_origins: vec!["https://desk.example".to_owned()],
        keys: setup.keys.into_iter().map(|key| ("DESK_KEY".to_owned(), key)).collect(),
        secret: [7; 32],
    });
    let stop = Arc::new(Notify::new());
    let stopped = Arc::clone(&stop);
    let serving =
        tokio::spawn(serve(listener, gateway, guard, setup.settings, setup.residents, async move {
            stopped.notified().await;
        }));
    Server { address, ledger, stop, serving, _upstream: upstream, _folder: folder }
}

fn deployment(url: &str, setup: &Setup) -> Deployment {
    let settings = UpstreamSettings {
        base_url: url.to_owned(),
        path: "/chat/completions".to_owned(),
        dialect: Dialect::OpenAi,
        auth: Auth::None,
        api_key: None,
        extra_roots_pem: None,
        connect_timeout: PATIENCE,
        first_byte_timeout: PATIENCE,
        chunk_timeout: PATIENCE,
        total_timeout: PATIENCE,
        retries_max: 0,
        retry_sent: false,
        concurrent_requests_max: setup.upstream_calls_max,
        response_bytes_max: setup.response_bytes_max,
        wire: WireSettings::default(),
    };
    let upstream = Arc::new(Upstream::new(settings).unwrap().within(setup.settings.memory.clone()));
    let price = |dollars: u64| UsdPerMillion::from_micros(dollars * 1_000_000);
    let rates = Rates { input: price(2), cached_input: price(1), output: price(8), ..Rates::default() };
    let price = Price::flat(rates, "2026-11-01");
    let rung = Arc::new(Rung {
        name: "vendor/mid-model".into(),
        model: "real".into(),
        tier: Tier::Mid,
        kind: RungKind::Model,
        context_tokens: None,
        price: Some(Arc::new(price)),
        gate: None,
        backend: Arc::new(RemoteModel::new(upstream, "real".to_owned(), Tier::Mid).unwrap()),
    });
    let task = Task {
        name: "chat".parse().unwrap(),
        kind: TaskKind::Generate,
        labels: Vec::new(),
        ladder: vec![Arc::clone(&rung)],
        instructions: "Be brief.".into(),
        answer_key: None,
        record: false,
        audit_share: 0.0,
        minimum_label: Label::Public,
        tokens: Arc::default(),
    };
    Deployment {
        scanner: Scanner::new(&ScannerConfig { dictionary: Vec::new() }).unwrap(),
        policy: PrivacyPolicy { mid_max: Label::Internal, frontier_max: Label::Internal },
        decode_limits: DecodeLimits::default(),
        models: BTreeMap::from([(Arc::clone(&rung.name), Arc::clone(&rung))]),
        tasks: BTreeMap::from([(task.name.clone(), Arc::new(task))]),
        templates: HashMap::new(),
        auto_ladder: vec![rung],
        auto_names: BTreeSet::new(),
        forwarded_headers: BTreeSet::new(),
        keep_prompt_previews: false,
        baseline: None,
    }
}

impl Server {
    pub(crate) async fn connect(&self) -> Client {
        Client { socket: TcpStream::connect(self.address).await.unwrap(), buffer: Vec::new() }
    }

    /// Connects as someone whose system takes next to nothing ahead of its reader.
    pub(crate) async fn connect_narrow(&self) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        Client { socket: socket.connect(self.address).await.unwrap(), buffer: Vec::new() }
    }

    /// Sends a request on a connection of its own and returns the response.
    pub(crate) async fn ask(&self, request: &str) -> Response {
        let mut client = self.connect().await;
        client.send(request).await;
        client.response().await
    }

    /// Asks for an answer to `text`.
    pub(crate) async fn chat(&self, text: &str) -> Response {
        self.ask(&chat(text)).await
    }

    /// Waits until so many requests are settled and returns them, oldest first.
    pub(crate) async fn settled(&self, count: usize) -> Vec<Settlement> {
        self.settled_until(|settled| settled.len() >= count).await
    }

    /// Waits until a request is settled as answered and returns all, oldest first.
    pub(crate) async fn answered(&self) -> Vec<Settlement> {
        self.settled_until(|settled| {
            settled.iter().any(|request| request.outcome == RequestOutcome::Answered)
        })
        .await
    }

    async fn settled_until(&self, is_enough: impl Fn(&[Settlement]) -> bool) -> Vec<Settlement> {
        let reader = self.ledger.reader().unwrap();
        let all = async {
            loop {
                self.ledger.fold().unwrap();
                let page = reader.requests(RequestFilter::default(), None, u32::MAX).await.unwrap();
                if is_enough(&page.requests) {
                    return page.requests.into_iter().rev().collect();
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, all)
            .await
            .unwrap_or_else(|_| panic!("the requests were never settled"))
    }
}

pub(crate) fn chat_body(text: &str) -> String {
    serde_json::json!({"model": "auto", "messages": [{"role": "user", "content": text}]}).to_string()
}

pub(crate) fn stream_body(text: &str) -> String {
    serde_json::json!({"model": "auto", "stream": true, "messages": [{"role": "user", "content": text}]})
        .to_string()
}

pub(crate) fn chat(text: &str) -> String {
    post("", &chat_body(text))
}

/// Returns a chat request with further header lines.
pub(crate) fn post(headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n{body}"
    )
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")
}

/// One connection of a client's.
pub(crate) struct Client {
    socket: TcpStream,
    buffer: Vec<u8>,
}

/// A response, its body put together.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Checks that it is an error in OpenAI's shape, and returns status and code.
    pub(crate) fn error(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/json");
        let json = self.json();
        let error = json["error"].as_object().unwrap_or_else(|| panic!("no error: {self:?}"));
        for key in ["message", "type", "param", "code"] {
            assert!(error.contains_key(key), "{self:?}");
        }
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()));
        (self.status, error["code"].as_str().unwrap_or_default().to_owned())
    }
}

impl Client {
    pub(crate) async fn send(&mut self, bytes: &str) {
        // A server that has refused may have closed already; what it said is read all the same.
        let _ = self.socket.write_all(bytes.as_bytes()).await;
    }

    /// Sends the end of this side of the connection.
    pub(crate) async fn say_no_more(&mut self) {
        self.socket.shutdown().await.unwrap();
    }

    /// Reads at most that many bytes and forgets them; false at the end of the connection.
    pub(crate) async fn read_some(&mut self, bytes: usize) -> bool {
        self.read_at_most(bytes).await > 0
    }

    /// The same, and returns how many there were.
    pub(crate) async fn read_at_most(&mut self, bytes: usize) -> usize {
        let mut forgotten = vec![0; bytes];
        let read = tokio::time::timeout(PATIENCE, self.socket.read(&mut forgotten)).await;
        read.unwrap_or_else(|_| panic!("the server says nothing")).unwrap_or(0)
    }

    /// Forgets what was read ahead, and returns how many bytes it was.
    pub(crate) fn taken(&mut self) -> usize {
        std::mem::take(&mut self.buffer).len()
    }

    /// Reads more; false at the end of the connection, however it ended.
    pub(crate) async fn read_more(&mut self) -> bool {
        let read = tokio::time::timeout(PATIENCE, self.socket.read_buf(&mut self.buffer)).await;
        read.unwrap_or_else(|_| panic!("the server says nothing")).is_ok_and(|read| read > 0)
    }

    /// Returns whether the server closes the connection without a further byte.
    pub(crate) async fn closes(&mut self) -> bool {
        !self.read_more().await && self.buffer.is_empty()
    }

    pub(crate) async fn response(&mut self) -> Response {
        self.try_response().await.unwrap_or_else(|| panic!("the connection ended without a response"))
    }

    /// Reads one response, or `None` when the connection ends before it.
    pub(crate) async fn try_response(&mut self) -> Option<Response> {
        let mut response = self.head().await?;
        if response.header("transfer-encoding") == "chunked" {
            while let Some(chunk) = self.chunk().await {
                response.body.push_str(&chunk);
            }
        } else {
            let length: usize = response.header("content-length").parse().unwrap_or(0);
            while self.buffer.len() < length {
                if !self.read_more().await {
                    return None;
                }
            }
            response.body = String::from_utf8(self.buffer.drain(..length).collect()).unwrap();
        }
        Some(response)
    }

    pub(crate) async fn head(&mut self) -> Option<Response> {
        let head = self.until(b"\r\n\r\n").await?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Some(Response { status, headers, body: String::new() })
    }

    /// Returns the next chunk of a chunked body; `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Option<String> {
        let size = usize::from_str_radix(&self.until(b"\r\n").await?, 16).unwrap();
        while self.buffer.len() < size + 2 {
            assert!(self.read_more().await, "the body was cut");
        }
        let chunk = String::from_utf8(self.buffer.drain(..size + 2).take(size).collect()).unwrap();
        (size > 0).then_some(chunk)
    }

    /// Takes what stands before `end`, and `end`.
    async fn until(&mut self, end: &[u8]) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                let taken: Vec<u8> = self.buffer.drain(..at + end.len()).collect();
                return Some(String::from_utf8_lossy(&taken[..at]).into_owned());
            }
            if !self.read_more().await {
                return None;
            }
        }
    }
}

/// Returns whether `future` ends within the patience of a test.
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("it never ended"))
}
