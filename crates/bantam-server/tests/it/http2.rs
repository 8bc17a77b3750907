//! HTTP/2 with prior knowledge, beside HTTP/1.1 on the same port.

use std::time::Duration;

use bantam_server::ServerSettings;
use bantam_simulate::{Behaviour, SimulatedUpstream, StreamEnd, completion_body, completion_events};
use bantam_types::RequestOutcome;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::support::{Server, Setup, chat_body, get, in_time, polite, start, start_before, stream_body};

struct Connection {
    requests: SendRequest<Full<Bytes>>,
    driving: JoinHandle<hyper::Result<()>>,
}

impl Connection {
    /// Connects with a flow-control window of `bytes` for each answer.
    async fn with_window(server: &Server, bytes: u32) -> Self {
        let socket = TcpStream::connect(server.address).await.unwrap();
        let mut builder = Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(bytes).initial_connection_window_size(64 << 20);
        let (requests, connection) = builder.handshake(TokioIo::new(socket)).await.unwrap();
        Self { requests, driving: tokio::spawn(connection) }
    }

    async fn to(server: &Server) -> Self {
        Self::with_window(server, 1 << 20).await
    }

    async fn ask(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        self.requests.ready().await?;
        in_time(self.requests.send_request(request)).await
    }

    async fn get(&mut self, path: &str) -> StatusCode {
        let request =
            Request::builder().uri(format!("http://localhost{path}")).body(Full::default()).unwrap();
        self.ask(request).await.unwrap().status()
    }
}

fn post(body: String) -> Request<Full<Bytes>> {
    Request::builder()
        .method(Method::POST)
        .uri("http://localhost/v1/chat/completions")
        .body(Full::from(body))
        .unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    let body = in_time(response.into_body().collect()).await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn whole_answers_and_streams_arrive_many_at_a_time_on_one_connection() {
    let server = start(Setup::default()).await;
    let mut connection = Connection::to(&server).await;
    assert_eq!(connection.get("/healthz").await, 200);
    let mut asked = Vec::new();
    for number in 0..100 {
        let body = if number % 2 == 0 { chat_body("hi") } else { stream_body("hi") };
        asked.push(connection.requests.send_request(post(body)));
    }
    for (number, asked) in asked.into_iter().enumerate() {
        let response = in_time(asked).await.unwrap();
        assert_eq!((response.version(), response.status()), (Version::HTTP_2, StatusCode::OK));
        assert!(response.headers().contains_key("x-request-id"));
        let text = text(response).await;
        assert_eq!(text.ends_with("data: [DONE]\n\n"), number % 2 == 1, "{text}");
        assert!(text.contains("one"), "{text}");
    }
    // HTTP/1.1 is spoken beside it.
    assert_eq!(server.ask(&get("/healthz")).await.status, 200);
    let settled = server.settled(100).await;
    assert!(settled.iter().all(|request| request.outcome == RequestOutcome::Answered));
}

#[tokio::test]
async fn the_guard_sees_the_authority() {
    let server = start(Setup::default()).await;
    let mut connection = Connection::to(&server).await;
    for (authority, status) in [("localhost", 200), ("bantam.lan", 200), ("evil.example", 403)] {
        let request = Request::builder().uri(format!("http://{authority}/healthz")).body(Full::default());
        assert_eq!(connection.ask(request.unwrap()).await.unwrap().status(), status, "{authority}");
    }
}

#[tokio::test]
async fn who_takes_a_request_back_is_settled_and_the_connection_goes_on() {
    let server = start(Setup::default()).await;
    let mut connection = Connection::to(&server).await;
    let asked = connection.requests.send_request(post(chat_body("never")));
    assert!(tokio::time::timeout(Duration::from_millis(200), asked).await.is_err());
    let settled = in_time(server.settled(1)).await;
    assert_eq!((settled[0].outcome, settled[0].status), (RequestOutcome::Cancelled, 499));
    assert_eq!(connection.get("/healthz").await, 200);
}

/// Returns a frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[tokio::test]
async fn who_makes_and_takes_back_requests_without_end_is_cut_off() {
    let server = start(Setup::default()).await;
    // `GET http://localhost/`, by the static table of HPACK.
    let request = [&[0x82, 0x86, 0x84, 0x41, 9], "localhost".as_bytes()].concat();
    let mut flood = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    flood.extend(frame(4, 0, 0, &[]));
    for number in 0..2_000 {
        let stream = 2 * number + 1;
        flood.extend(frame(1, 5, stream, &request));
        flood.extend(frame(3, 0, stream, &[0, 0, 0, 8]));
    }
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let _ = in_time(socket.write_all(&flood)).await;
    let mut told = Vec::new();
    let _ = in_time(socket.read_to_end(&mut told)).await;
    let mut other = Connection::to(&server).await;
    assert_eq!(other.get("/healthz").await, 200);
}

#[tokio::test]
async fn a_stream_that_its_caller_does_not_take_is_reset_and_the_others_go_on() {
    let upstream = SimulatedUpstream::start_forgetful(|received| match &*received.last_text() {
        "much" => Behaviour::events(
            completion_events("m", &"word ".repeat(3_000), 10, 2)[..2_000].to_vec(),
            StreamEnd::Endless,
        ),
        "long" => Behaviour::ok(completion_body("m", &"word ".repeat(100_000), 10, 2)),
        _ => polite(received),
    });
    let upstream = upstream.await.unwrap();
    let url = upstream.base_url();
    let settings = ServerSettings { write_timeout: Duration::from_millis(400), ..Setup::default().settings };
    let memory = settings.memory.clone();
    let setup = Setup { settings, response_bytes_max: 1 << 30, ..Setup::default() };
    let server = start_before(setup, &url, Some(upstream)).await;
    let mut connection = Connection::with_window(&server, 1_000).await;
    let unread = connection.ask(post(stream_body("much"))).await.unwrap();
    let unread_whole = connection.ask(post(chat_body("long"))).await.unwrap();
    assert!(memory.used() > 0, "a large answer counts until it is taken");
    let settled = in_time(server.settled(2)).await;
    let outcomes: Vec<_> = settled.iter().map(|request| request.outcome).collect();
    assert!(outcomes.contains(&RequestOutcome::Cancelled), "{outcomes:?}");
    in_time(async {
        while memory.used() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    for response in [unread, unread_whole] {
        assert!(in_time(response.into_body().collect()).await.is_err(), "it was not reset");
    }
    assert_eq!(connection.get("/healthz").await, 200);
    let response = connection.ask(post(chat_body("hi"))).await.unwrap();
    assert!(text(response).await.contains("one two"));
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed() {
    let settings = ServerSettings {
        header_timeout: Duration::from_millis(250),
        idle_timeout: Duration::from_millis(500),
        ..Setup::default().settings
    };
    let server = start(Setup { settings, ..Setup::default() }).await;
    // One that never asks, and one that has asked and rests.
    let silent = Connection::to(&server).await;
    let mut resting = Connection::to(&server).await;
    assert_eq!(resting.get("/healthz").await, 200);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(resting.get("/healthz").await, 200, "a used connection may rest longer");
    let _ = in_time(silent.driving).await;
    let _ = in_time(resting.driving).await;
    // An answer that takes longer than any rest arrives.
    let mut waiting = Connection::to(&server).await;
    let response = waiting.ask(post(chat_body("slow"))).await.unwrap();
    assert!(text(response).await.contains("one two"));
}

#[tokio::test]
async fn a_stop_lets_streams_finish_and_settles_the_rest() {
    let settings = ServerSettings { drain_timeout: Duration::from_secs(1), ..Setup::default().settings };
    let server = start(Setup { settings, ..Setup::default() }).await;
    let mut connection = Connection::to(&server).await;
    let slow = connection.requests.send_request(post(stream_body("slow")));
    let never = connection.requests.send_request(post(chat_body("never")));
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.stop.notify_one();
    let response = in_time(slow).await.unwrap();
    assert!(text(response).await.contains("[DONE]"));
    assert!(in_time(never).await.is_err());
    let Server { ledger, serving, .. } = server;
    in_time(serving).await.unwrap().unwrap();
    ledger.fold().unwrap();
    let reader = ledger.reader().unwrap();
    use bantam_books::BooksReader as _;
    let page = reader.requests(bantam_books::RequestFilter::default(), None, u32::MAX).await.unwrap();
    let mut outcomes: Vec<_> = page.requests.iter().map(|request| request.outcome.as_str()).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["answered", "cancelled"], "all is settled when the server has ended");
}
