//! HTTP/2: agreed on over TLS or known before, its ways of failing, and many calls at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bantam_backend::{Answer, BackendFault, ConnectFault, Repeat};
use bantam_remote::{HttpVersion, UpstreamSettings, WireSettings};
use bantam_simulate::{Behaviour, completion_body, completion_events};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use h2::{Reason, server};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Barrier;
use tokio_rustls::TlsAcceptor;

use crate::connections::{server_config, tls_server};
use crate::support::{Got, HI, PATIENCE, call, fault_of, got, model, read, settings, start};

/// What a server does with a request.
#[derive(Clone)]
pub(crate) enum Act {
    Answer(String),
    /// Events, and then the end or a reset.
    Events(Vec<String>, Option<Reason>),
    Reset(Reason),
    /// A good answer once as many requests as this are there.
    AnswerTogether(Arc<Barrier>),
}

/// A server that speaks HTTP/2 and nothing else.
pub(crate) struct Http2Server {
    pub(crate) url: String,
    pem: String,
    heads: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl Http2Server {
    pub(crate) async fn plain(script: impl Fn(usize) -> Act + Send + Sync + 'static) -> Self {
        Self::listen(None, script).await
    }

    async fn tls(protocols: &[&str], script: impl Fn(usize) -> Act + Send + Sync + 'static) -> Self {
        Self::listen(Some(protocols), script).await
    }

    async fn listen(tls: Option<&[&str]>, script: impl Fn(usize) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (acceptor, pem) = match tls {
            Some(protocols) => {
                let (config, pem) = server_config("127.0.0.1", false, protocols);
                (Some(TlsAcceptor::from(Arc::new(config))), pem)
            }
            None => (None, String::new()),
        };
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}/v1", listener.local_addr().unwrap());
        let (heads, connections) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicUsize>::default());
        let script: Arc<dyn Fn(usize) -> Act + Send + Sync> = Arc::new(script);
        tokio::spawn({
            let (heads, connections) = (Arc::clone(&heads), Arc::clone(&connections));
            async move {
                while let Ok((socket, _)) = listener.accept().await {
                    connections.fetch_add(1, Ordering::Relaxed);
                    let (heads, script) = (Arc::clone(&heads), Arc::clone(&script));
                    match acceptor.clone() {
                        None => drop(tokio::spawn(serve(socket, heads, script))),
                        Some(acceptor) => drop(tokio::spawn(async move {
                            let socket = acceptor.accept(socket).await.ok()?;
                            serve(socket, heads, script).await
                        })),
                    }
                }
            }
        });
        Self { url, pem, heads, connections }
    }

    /// Returns the heads of the requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().clone()
    }

    fn settings(&self, http: HttpVersion) -> UpstreamSettings {
        UpstreamSettings {
            extra_roots_pem: (!self.pem.is_empty()).then(|| self.pem.clone().into_bytes()),
            wire: WireSettings { http, ..WireSettings::default() },
            ..settings(&self.url)
        }
    }
}

async fn serve(
    socket: impl AsyncRead + AsyncWrite + Unpin,
    heads: Arc<Mutex<Vec<String>>>,
    script: Arc<dyn Fn(usize) -> Act + Send + Sync>,
) -> Option<()> {
    let mut builder = server::Builder::new();
    builder.max_concurrent_streams(100);
    let mut connection: server::Connection<_, Bytes> = builder.handshake(socket).await.ok()?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted.ok()?;
        let number = {
            let mut heads = heads.lock();
            heads.push(format!("{} {} {:?}", request.method(), request.uri(), request.headers()));
            heads.len() - 1
        };
        tokio::spawn(act(request.into_body(), respond, script(number)));
    }
    Some(())
}

async fn act(mut body: h2::RecvStream, mut respond: server::SendResponse<Bytes>, act: Act) -> Option<()> {
    if let Act::Reset(reason) = act {
        respond.send_reset(reason);
        return None;
    }
    while let Some(data) = body.data().await {
        let _ = body.flow_control().release_capacity(data.ok()?.len());
    }
    let (kind, parts, reset) = match act {
        Act::Answer(text) => ("application/json", vec![text], None),
        Act::Events(events, reset) => {
            let events = events.into_iter().map(|event| format!("data: {event}\n\n"));
            ("text/event-stream", events.collect(), reset)
        }
        Act::AnswerTogether(barrier) => {
            barrier.wait().await;
            ("application/json", vec![completion_body("m", "together", 1, 1)], None)
        }
        Act::Reset(_) => return None,
    };
    let head = http::Response::builder().header("content-type", kind).body(()).ok()?;
    let mut stream = respond.send_response(head, false).ok()?;
    for part in parts {
        stream.send_data(Bytes::from(part), false).ok()?;
    }
    match reset {
        Some(reason) => {
            // What was sent is to arrive before.
            tokio::time::sleep(Duration::from_millis(100)).await;
            stream.send_reset(reason);
        }
        None => stream.send_data(Bytes::new(), true).ok()?,
    }
    Some(())
}

fn answer(_: usize) -> Act {
    Act::Answer(completion_body("m", "over two", 1, 1))
}

fn events() -> Vec<String> {
    let mut events = completion_events("m", "over two", 1, 1);
    events.push("[DONE]".to_owned());
    events
}

#[tokio::test]
async fn http2_is_agreed_on_over_tls_or_known_before() {
    let plain = Http2Server::plain(answer).await;
    let tls = Http2Server::tls(&["h2"], answer).await;
    for (server, http) in
        [(&plain, HttpVersion::Http2), (&tls, HttpVersion::Auto), (&tls, HttpVersion::Http2)]
    {
        let got = got(server.settings(http), false).await;
        assert_eq!(got, Got { chunks: vec!["over two".to_owned()], fault: None }, "{http:?}");
        let head = server.heads().pop().unwrap();
        assert!(head.contains("/v1/chat/completions") && head.contains("bantam/"), "{head}");
    }
    let refused = got(tls.settings(HttpVersion::Http1), false).await.fault;
    assert_eq!(refused, Some(BackendFault::Connect(ConnectFault::Http2Only)));
}

#[tokio::test]
async fn a_stream_arrives_over_http2() {
    let server = Http2Server::tls(&["h2", "http/1.1"], |_| Act::Events(events(), None)).await;
    let got = got(server.settings(HttpVersion::Auto), true).await;
    assert_eq!(got.fault, None);
    assert!(got.chunks.len() > 2, "{got:?}");
}

#[tokio::test]
async fn a_server_of_the_other_version_is_told_apart() {
    let old = start(|_| Behaviour::ok(completion_body("m", "x", 1, 1))).await;
    let wire = WireSettings { http: HttpVersion::Http2, ..WireSettings::default() };
    let settings = UpstreamSettings { wire, ..settings(&old.base_url()) };
    assert_eq!(got(settings, false).await.fault, Some(BackendFault::NotHttp));
    // A server of HTTP/2 speaks first: before the request is written, or while it is.
    let new = Http2Server::plain(answer).await;
    let fault = got(new.settings(HttpVersion::Auto), false).await.fault.unwrap();
    assert!(matches!(fault, BackendFault::NotHttp | BackendFault::Unsent), "{fault:?}");
    let tls = tls_server("127.0.0.1", false, &["http/1.1"]);
    let wire = WireSettings { http: HttpVersion::Http2, ..WireSettings::default() };
    let settings = UpstreamSettings {
        wire,
        extra_roots_pem: Some(tls.pem.clone().into_bytes()),
        ..crate::support::settings(&tls.url)
    };
    let fault = got(settings, false).await.fault.unwrap();
    assert!(matches!(fault, BackendFault::Connect(_)), "{fault:?}");
}

#[tokio::test]
async fn a_stream_that_the_server_refused_was_not_sent_and_is_repeated_for_free() {
    let script = |number| if number == 0 { Act::Reset(Reason::REFUSED_STREAM) } else { answer(number) };
    let server = Http2Server::plain(script).await;
    let once = server.settings(HttpVersion::Http2);
    let error = fault_of(call(&model(once), HI, false).await);
    assert_eq!((error.fault, error.repeat()), (BackendFault::Unsent, Repeat::Free));
    let server = Http2Server::plain(script).await;
    let twice = UpstreamSettings { retries_max: 1, ..server.settings(HttpVersion::Http2) };
    assert_eq!(got(twice, false).await.chunks, ["over two"]);
}

#[tokio::test]
async fn a_stream_that_ends_otherwise_may_have_been_billed() {
    for reason in [Reason::INTERNAL_ERROR, Reason::CANCEL, Reason::ENHANCE_YOUR_CALM] {
        let server = Http2Server::plain(move |_| Act::Reset(reason)).await;
        let error = fault_of(call(&model(server.settings(HttpVersion::Http2)), HI, false).await);
        assert_eq!((error.fault, error.fault.is_never_billed()), (BackendFault::Broken, false), "{reason:?}");
    }
    let server = Http2Server::plain(|_| Act::Reset(Reason::HTTP_1_1_REQUIRED)).await;
    let error = fault_of(call(&model(server.settings(HttpVersion::Http2)), HI, false).await);
    assert_eq!(error.fault, BackendFault::Connect(ConnectFault::Http1Only));
}

#[tokio::test]
async fn a_stream_that_is_reset_half_way_is_cut() {
    let half = completion_events("m", "over two", 1, 1)[..2].to_vec();
    let server = Http2Server::plain(move |_| Act::Events(half.clone(), Some(Reason::INTERNAL_ERROR))).await;
    let got = got(server.settings(HttpVersion::Http2), true).await;
    assert_eq!((got.chunks.len(), got.fault), (2, Some(BackendFault::Cut)));
}

#[tokio::test]
async fn what_a_server_that_goes_away_did_not_look_at_was_not_sent() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut preface = [0; 4096];
        let _ = socket.read(&mut preface).await.unwrap();
        // Its settings, and GOAWAY: the last stream that it worked on is 0, and nothing is wrong.
        socket.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let _ = socket.read(&mut preface).await.unwrap();
        let going = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        socket.write_all(&going).await.unwrap();
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest).await;
    });
    let wire = WireSettings { http: HttpVersion::Http2, ..WireSettings::default() };
    let error = fault_of(call(&model(UpstreamSettings { wire, ..settings(&url) }), HI, false).await);
    assert_eq!((error.fault, error.repeat()), (BackendFault::Unsent, Repeat::Free));
    serving.abort();
}

#[tokio::test]
async fn more_calls_than_a_connection_takes_run_at_once() {
    const CALLS: usize = 150;
    let barrier = Arc::new(Barrier::new(CALLS));
    let server = Http2Server::plain(move |_| Act::AnswerTogether(Arc::clone(&barrier))).await;
    let settings = UpstreamSettings { concurrent_requests_max: 256, ..server.settings(HttpVersion::Http2) };
    let model = model(settings);
    let calls = (0..CALLS).map(|_| async { read(call(&model, HI, false).await).await });
    let all = tokio::time::timeout(PATIENCE, join_all(calls)).await.unwrap();
    assert!(all.iter().all(|got| got.chunks == ["together"]), "{all:?}");
    let connections = server.connections.load(Ordering::Relaxed);
    assert!((2..=4).contains(&connections), "{connections} connections");
    // One at a time, they share the first.
    let server = Http2Server::plain(answer).await;
    let model = crate::support::model(server.settings(HttpVersion::Http2));
    for _ in 0..20 {
        assert_eq!(read(call(&model, HI, false).await).await.fault, None);
    }
    assert_eq!(server.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn callers_who_do_not_read_do_not_hold_up_others_on_the_same_connection() {
    let pad = "x".repeat(64 << 10);
    let server = Http2Server::plain(move |number| {
        if number < 8 {
            let chunk = format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"{pad}"}}}}]}}"#);
            return Act::Events(vec![chunk; 64], None);
        }
        answer(number)
    })
    .await;
    let settings = UpstreamSettings { response_bytes_max: 64 << 20, ..server.settings(HttpVersion::Http2) };
    let model = model(settings);
    let stream = HI.replacen('{', "{\"stream\":true,", 1);
    let mut unread = Vec::new();
    for _ in 0..8 {
        let Ok(Answer::Stream(mut stream)) = call(&model, &stream, true).await else { panic!("no stream") };
        let _first = stream.items.next().await;
        unread.push(stream);
    }
    let answered = tokio::time::timeout(PATIENCE, call(&model, HI, false)).await.unwrap();
    assert_eq!(read(answered).await.chunks, ["over two"]);
    assert_eq!(server.connections.load(Ordering::Relaxed), 1);
}
