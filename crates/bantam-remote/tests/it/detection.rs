//! Engines are detected once for all callers who wait, and within the limits of each.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bantam_backend::{Answer, Ask, Backend, BackendError, BackendFault, ConnectFault};
use bantam_remote::{RemoteModel, Upstream, UpstreamSettings};
use bantam_simulate::{Behaviour, Received, SimulatedUpstream, completion_body};
use bantam_types::Tier;
use bantam_wire::{CallKind, Feature};
use futures_util::future::join_all;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::support::{HI, PATIENCE, ask, cleared, fault_of, hasty, settings, start};

const CALLERS: usize = 20;

/// Returns a model of an upstream whose engine has to be detected.
fn model(settings: UpstreamSettings) -> Arc<RemoteModel> {
    let upstream = Arc::new(Upstream::new(settings).unwrap().with_engine(None));
    Arc::new(RemoteModel::new(upstream, "m".to_owned(), Tier::Frontier).unwrap())
}

/// Answers as Ollama does, after a pause.
fn ollama(received: &Received, delay: Duration) -> Behaviour {
    let body = match received.head.split(' ').nth(1) {
        Some("/api/version") => json!({ "version": "0.40.1" }).to_string(),
        Some("/api/tags") => json!({ "models": [] }).to_string(),
        _ => completion_body("m", "yes", 1, 1),
    };
    Behaviour::Answer { status: 200, headers: Vec::new(), body, delay }
}

type Called = Result<Answer, BackendError>;

fn spawn(model: &Arc<RemoteModel>, ask: Ask) -> JoinHandle<Called> {
    let model = Arc::clone(model);
    tokio::spawn(async move { model.answer(cleared(HI, Tier::Frontier), ask).await })
}

/// Makes many calls at a time; together they may not take longer than one well may.
async fn call_all(model: &Arc<RemoteModel>, ask: impl Fn() -> Ask) -> Vec<Called> {
    let calls = join_all((0..CALLERS).map(|_| spawn(model, ask())));
    let calls = tokio::time::timeout(PATIENCE, calls).await;
    let calls = calls.unwrap_or_else(|_| panic!("callers wait for each other"));
    calls.into_iter().map(Result::unwrap).collect()
}

/// Checks that all calls failed with `expected`.
fn check_all(calls: Vec<Called>, expected: BackendFault) {
    assert_eq!(calls.len(), CALLERS);
    for call in calls {
        assert_eq!(fault_of(call).fault, expected);
    }
}

/// Returns how often an upstream was asked which engine it is.
fn detections(upstream: &SimulatedUpstream) -> usize {
    let is_first = |received: &&Received| received.head.starts_with("GET /api/version ");
    upstream.received().iter().filter(is_first).count()
}

#[tokio::test]
async fn callers_of_a_host_that_never_answers_fail_at_their_own_deadlines() {
    let upstream = start(|_| Behaviour::Hang).await;
    let model = model(settings(&upstream.base_url()));
    let deadline = || Ask { deadline: Some(Instant::now() + Duration::from_millis(200)), ..ask(false) };
    for _ in 0..6 {
        check_all(call_all(&model, deadline).await, BackendFault::TotalTimeout);
    }
    assert_eq!(detections(&upstream), 6);
    assert!(model.is_available(CallKind::Chat), "a caller's own deadline speaks against nobody");
}

#[tokio::test]
async fn a_detection_that_fails_is_one_failure_however_many_wait_for_it() {
    let upstream = start(|_| Behaviour::Hang).await;
    let model = model(hasty(&upstream.base_url()));
    for _ in 0..5 {
        assert!(model.is_available(CallKind::Chat));
        check_all(call_all(&model, || ask(false)).await, BackendFault::FirstByteTimeout);
    }
    assert!(!model.is_available(CallKind::Chat));
    check_all(call_all(&model, || ask(false)).await, BackendFault::BreakerOpen);
    assert_eq!(detections(&upstream), 5, "an open breaker lets no detection through");
}

#[tokio::test]
async fn callers_of_a_slow_host_share_one_detection() {
    let upstream = start(|received| ollama(received, Duration::from_millis(100))).await;
    let model = model(settings(&upstream.base_url()));
    for _ in 0..2 {
        for call in call_all(&model, || ask(false)).await {
            call.unwrap();
        }
    }
    assert_eq!(detections(&upstream), 1);
    let refused = cleared(&HI.replacen('{', r#"{"logit_bias":{"1":1},"#, 1), Tier::Frontier);
    assert_eq!(model.cannot_honour(refused.request()).unwrap().feature, Feature::LogitBias);
}

#[tokio::test]
async fn a_caller_who_leaves_stops_no_detection_that_others_wait_for() {
    let upstream = start(|received| ollama(received, Duration::from_millis(200))).await;
    let model = model(settings(&upstream.base_url()));
    let first = spawn(&model, ask(false));
    while upstream.count() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let others: Vec<_> = (1..CALLERS).map(|_| spawn(&model, ask(false))).collect();
    // The others have begun to wait when a task that was made after them runs.
    tokio::spawn(async {}).await.unwrap();
    first.abort();
    assert!(first.await.is_err_and(|error| error.is_cancelled()));
    for call in others {
        call.await.unwrap().unwrap();
    }
    assert_eq!(detections(&upstream), 1);
}

#[tokio::test]
async fn a_detection_that_nobody_waits_for_any_more_is_given_up() {
    let upstream = start(|received| match received.number {
        0 => Behaviour::Hang,
        _ => ollama(received, Duration::ZERO),
    })
    .await;
    let model = model(settings(&upstream.base_url()));
    let alone = spawn(&model, ask(false));
    while upstream.count() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    alone.abort();
    assert!(alone.await.is_err_and(|error| error.is_cancelled()));
    spawn(&model, ask(false)).await.unwrap().unwrap();
    assert_eq!(detections(&upstream), 2);
}

#[tokio::test]
async fn a_failure_is_told_to_all_who_waited_and_then_forgotten() {
    for (early, expected) in [
        (Behaviour::Close, BackendFault::Connect(ConnectFault::Other)),
        // An engine that still loads its model.
        (Behaviour::status(503), BackendFault::Overloaded(503)),
    ] {
        let is_up = Arc::new(AtomicBool::new(false));
        let upstream = start({
            let is_up = Arc::clone(&is_up);
            move |received| match is_up.load(Ordering::SeqCst) {
                true => ollama(received, Duration::ZERO),
                false => early.clone(),
            }
        })
        .await;
        let model = model(settings(&upstream.base_url()));
        check_all(call_all(&model, || ask(false)).await, expected);
        assert_eq!(detections(&upstream), 1);
        is_up.store(true, Ordering::SeqCst);
        for call in call_all(&model, || ask(false)).await {
            call.unwrap();
        }
        assert_eq!(detections(&upstream), 2);
    }
}

/// Starts Ollama behind TLS; returns its address and the only certificate that vouches for it, as PEM.
fn ollama_behind_tls() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, pem) = (made.cert.der().clone(), made.cert.pem());
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            // A client that does not trust the certificate leaves.
            let _ = answer_once(StreamOwned::new(session, socket.unwrap()));
        }
    });
    (format!("https://{address}/v1"), pem)
}

/// Answers the one request of a connection.
fn answer_once(mut stream: impl Read + Write) -> std::io::Result<()> {
    let mut head = String::new();
    while !head.contains("\r\n\r\n") {
        let mut part = [0; 4096];
        let count = stream.read(&mut part)?;
        head.push_str(&String::from_utf8_lossy(&part[..count]));
    }
    let received = Received { head, body: Vec::new(), number: 0 };
    let Behaviour::Answer { body, .. } = ollama(&received, Duration::ZERO) else { panic!("no answer") };
    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}", body.len());
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes())?;
    stream.flush()
}

#[tokio::test]
async fn a_detection_trusts_the_certificates_that_its_upstream_trusts() {
    let (url, certificate) = ollama_behind_tls();
    let trusting = |roots: Option<&[u8]>| UpstreamSettings {
        extra_roots_pem: roots.map(<[u8]>::to_vec),
        ..settings(&url)
    };
    let stranger = model(trusting(None));
    let fault = fault_of(spawn(&stranger, ask(false)).await.unwrap()).fault;
    assert_eq!(fault, BackendFault::Connect(ConnectFault::UnknownIssuer));
    let model = model(trusting(Some(certificate.as_bytes())));
    spawn(&model, ask(false)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_detection_takes_a_place_like_any_call() {
    let upstream = start(|_| Behaviour::Hang).await;
    let model = model(UpstreamSettings { concurrent_requests_max: 1, ..settings(&upstream.base_url()) });
    let waiting = spawn(&model, ask(false));
    while upstream.count() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(fault_of(spawn(&model, ask(false)).await.unwrap()).fault, BackendFault::Busy);
    assert_eq!(detections(&upstream), 1);
    waiting.abort();
}
