use std::time::Duration;

use bantam_privacy::{PrivacyPolicy, Scanned, Scanner, ScannerConfig};
use bantam_simulate::{Behaviour, SimulatedUpstream, completion_events};
use bantam_types::Label;
use bantam_wire::{DecodeLimits, openai};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::upstream::{Auth, UpstreamSettings, WireSettings};

/// Calls that are in flight when an upstream dies.
const IN_FLIGHT: usize = 30;
/// A little longer than a breaker stays open the first time.
const FIRST_PAUSE: Duration = Duration::from_secs(31);

fn model(base_url: &str, retries_max: u32) -> Arc<RemoteModel> {
    let patience = Duration::from_secs(30);
    let settings = UpstreamSettings {
        base_url: base_url.to_owned(),
        path: "/chat/completions".to_owned(),
        dialect: Dialect::OpenAi,
        auth: Auth::None,
        api_key: None,
        extra_roots_pem: None,
        connect_timeout: patience,
        first_byte_timeout: patience,
        chunk_timeout: patience,
        total_timeout: patience,
        retries_max,
        retry_sent: false,
        concurrent_requests_max: 64,
        response_bytes_max: 1 << 20,
        wire: WireSettings::default(),
    };
    let upstream = Arc::new(Upstream::new(settings).unwrap());
    Arc::new(RemoteModel::new(upstream, "m".to_owned(), Tier::Frontier).unwrap())
}

async fn call(model: Arc<RemoteModel>, stream: bool) -> Result<Answer, BackendError> {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
    let scanner = Scanner::new(&ScannerConfig { dictionary: Vec::new() }).unwrap();
    let scanned = Scanned::decode(openai::CHAT, body.into(), &DecodeLimits::default(), &scanner).unwrap();
    let policy = PrivacyPolicy { mid_max: Label::Restricted, frontier_max: Label::Restricted };
    let cleared = policy.clear(&scanned, Tier::Frontier).unwrap();
    model.answer(cleared, Ask { stream, ..Ask::default() }).await
}

/// A host that has taken requests and answered none of them.
struct Host {
    model: Arc<RemoteModel>,
    sockets: Vec<TcpStream>,
    calls: Vec<tokio::task::JoinHandle<Result<Answer, BackendError>>>,
}

/// Starts calls, and returns once all of them have arrived.
async fn host_with_calls_in_flight(stream: bool) -> Host {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let model = model(&format!("http://{}/v1", listener.local_addr().unwrap()), 0);
    let calls = (0..IN_FLIGHT).map(|_| tokio::spawn(call(Arc::clone(&model), stream))).collect();
    let mut sockets = Vec::new();
    for _ in 0..IN_FLIGHT {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut part = [0; 4096];
        assert!(socket.read(&mut part).await.unwrap() > 0);
        sockets.push(socket);
    }
    Host { model, sockets, calls }
}

#[tokio::test]
async fn calls_in_flight_when_the_host_dies_close_their_model_for_the_first_pause_only() {
    let host = host_with_calls_in_flight(false).await;
    drop(host.sockets);
    for call in host.calls {
        let error = call.await.unwrap().err().unwrap();
        assert_eq!(error.fault, BackendFault::Broken);
    }
    let model = host.model;
    let now = Instant::now();
    assert!(!model.would_admit(&model.chat, now));
    assert!(model.would_admit(&model.chat, now + FIRST_PAUSE));
    assert!(model.upstream.breaker.lock().is_available(now), "it may have been this model that died");
}

#[tokio::test]
async fn streams_in_flight_when_the_host_dies_close_their_model_for_the_first_pause_only() {
    let mut host = host_with_calls_in_flight(true).await;
    let event = format!("data: {}\n\n", completion_events("m", "a b", 1, 1)[1]);
    for socket in &mut host.sockets {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunk = format!("{head}{:x}\r\n{event}\r\n", event.len());
        socket.write_all(chunk.as_bytes()).await.unwrap();
    }
    let mut streams = Vec::new();
    for call in host.calls {
        let Ok(Answer::Stream(stream)) = call.await.unwrap() else { panic!("no stream") };
        streams.push(stream);
    }
    drop(host.sockets);
    for stream in streams {
        let items: Vec<_> = stream.items.collect().await;
        assert_eq!(items.last().unwrap().as_ref().unwrap_err().fault, BackendFault::Cut);
    }
    let model = host.model;
    let now = Instant::now();
    assert!(!model.would_admit(&model.chat, now));
    assert!(model.would_admit(&model.chat, now + FIRST_PAUSE));
    assert!(model.upstream.breaker.lock().is_available(now), "it answered every call");
}

/// Returns a model whose upstream asks for a second before each retry, and that upstream.
async fn busy_model() -> (SimulatedUpstream, Arc<RemoteModel>) {
    let busy = |_: &_| Behaviour::Answer {
        status: 503,
        headers: vec!["retry-after: 1".to_owned()],
        body: String::new(),
        delay: Duration::ZERO,
    };
    let upstream = SimulatedUpstream::start(busy).await.unwrap();
    let model = model(&upstream.base_url(), 3);
    (upstream, model)
}

#[tokio::test]
async fn a_retry_that_the_breaker_refuses_leaves_the_fault_that_the_call_had() {
    let (upstream, model) = busy_model().await;
    let running = tokio::spawn(call(Arc::clone(&model), false));
    while model.upstream.budget.lock().is_full() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // The call waits for its first retry; meanwhile others fail.
    while let Some(other) = AdmittedCall::admit(&model.upstream.breaker, &model.chat.breaker, Instant::now())
    {
        other.failed(&BackendFault::Status(500).into());
    }
    let error = running.await.unwrap().err().unwrap();
    assert_eq!((error.fault, error.retries), (BackendFault::Overloaded(503), 0));
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn a_failure_that_opens_the_breaker_waits_for_no_retry() {
    let (upstream, model) = busy_model().await;
    for _ in 0..4 {
        let other = AdmittedCall::admit(&model.upstream.breaker, &model.chat.breaker, Instant::now());
        other.unwrap().failed(&BackendFault::Status(500).into());
    }
    let error = call(Arc::clone(&model), false).await.err().unwrap();
    assert_eq!((error.fault, error.retries, upstream.count()), (BackendFault::Overloaded(503), 0, 1));
    assert!(model.upstream.budget.lock().is_full(), "a retry was paid for");
}

#[tokio::test]
async fn a_host_that_begins_to_answer_is_open_to_others_before_the_answer_is_whole() {
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{";
    let upstream = SimulatedUpstream::start(|_| Behaviour::RawThenHang(head.to_vec())).await.unwrap();
    let model = model(&upstream.base_url(), 0);
    let past = Instant::now().checked_sub(Duration::from_secs(40)).unwrap();
    let is_available = || model.upstream.breaker.lock().is_available(Instant::now());
    for _ in 0..5 {
        let mut breaker = model.upstream.breaker.lock();
        let admission = breaker.admit(past).unwrap();
        breaker.failed(admission, past, None);
    }
    let running = tokio::spawn(call(Arc::clone(&model), false));
    while upstream.count() == 0 {
        assert!(!running.is_finished());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let answered = async {
        while !is_available() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), answered).await.unwrap();
    assert!(!running.is_finished());
    running.abort();
}

#[tokio::test]
async fn a_callers_own_deadline_speaks_against_nobody() {
    let upstream = SimulatedUpstream::start(|_| Behaviour::Hang).await.unwrap();
    let model = model(&upstream.base_url(), 0);
    let sending = |deadline| {
        let model = Arc::clone(&model);
        async move {
            let deadlines = Deadlines {
                started: Instant::now(),
                first_byte: Instant::now() + Duration::from_secs(30),
                total: Instant::now() + Duration::from_millis(5),
                total_is_callers: deadline,
            };
            let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
            let call = Call::decode(openai::CHAT, body.into(), &DecodeLimits::default(), &mut ()).unwrap();
            let (target, format) = model.served_target(CallKind::Chat).unwrap();
            let ask = Ask::default();
            let sending = Sending {
                call: &call,
                envelope: &Envelope::default(),
                ask: &ask,
                phrasing: Phrasing::default(),
                changes: Changes::default(),
                body: body.into(),
                target,
                format,
            };
            let error = model.attempt(&sending, deadlines).await.err().unwrap().error;
            assert_eq!(error.fault, BackendFault::TotalTimeout);
        }
    };
    for _ in 0..20 {
        sending(true).await;
    }
    assert!(model.is_available(CallKind::Chat));
    for _ in 0..5 {
        sending(false).await;
    }
    assert!(!model.is_available(CallKind::Chat), "the upstream's own time counts");
}
