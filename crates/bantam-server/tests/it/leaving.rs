//! Clients who hang up: the upstream's call ends with them, and the ledger knows.

use bantam_types::{AttemptOutcome, RequestOutcome};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Server, Setup, chat, in_time, post, start_before, stream_body};

/// A server before an upstream that the test plays itself.
async fn start() -> (Server, TcpListener) {
    let upstream = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/v1", upstream.local_addr().unwrap());
    (start_before(Setup::default(), &url, None).await, upstream)
}

/// Accepts the gateway's call and reads its head.
async fn accept(upstream: &TcpListener) -> TcpStream {
    let (mut socket, _) = in_time(upstream.accept()).await.unwrap();
    let mut buffer = [0; 8192];
    assert!(in_time(socket.read(&mut buffer)).await.unwrap() > 0);
    socket
}

/// Checks that the gateway hung up on its upstream and settled one cancelled request.
async fn check_cancelled(server: &Server, mut socket: TcpStream) {
    let mut rest = Vec::new();
    let _ = in_time(socket.read_to_end(&mut rest)).await;
    let settled = server.settled(1).await;
    assert_eq!(settled.len(), 1);
    assert_eq!((settled[0].outcome, settled[0].status), (RequestOutcome::Cancelled, 499));
    let outcomes: Vec<_> = settled[0].attempts.iter().map(|attempt| attempt.outcome).collect();
    assert_eq!(outcomes, [AttemptOutcome::Cancelled]);
    assert_eq!(settled[0].attempts[0].cost, None, "what a cancelled call costs is not known");
}

#[tokio::test]
async fn hanging_up_before_the_answer_cancels_the_call() {
    for request in [chat("hi"), post("", &stream_body("hi"))] {
        let (server, upstream) = start().await;
        let mut client = server.connect().await;
        client.send(&request).await;
        let socket = accept(&upstream).await;
        drop(client);
        check_cancelled(&server, socket).await;
    }
}

#[tokio::test]
async fn hanging_up_in_mid_stream_cancels_the_call() {
    let (server, upstream) = start().await;
    let mut client = server.connect().await;
    client.send(&post("", &stream_body("hi"))).await;
    let mut socket = accept(&upstream).await;
    let event =
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n";
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    socket.write_all(format!("{head}{event}{event}").as_bytes()).await.unwrap();
    assert_eq!(client.head().await.unwrap().status, 200);
    assert!(client.chunk().await.unwrap().contains("\"content\":\"a\""));
    drop(client);
    check_cancelled(&server, socket).await;
}

#[tokio::test]
async fn hanging_up_while_waiting_in_the_queue_costs_nothing() {
    let upstream = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/v1", upstream.local_addr().unwrap());
    let server = start_before(Setup { running_max: 1, waiting_max: 8, ..Setup::default() }, &url, None).await;
    let mut first = server.connect().await;
    first.send(&chat("hi")).await;
    let mut socket = accept(&upstream).await;
    for _ in 0..4 {
        server.connect().await.send(&chat("never forwarded")).await;
    }
    let body = bantam_simulate::completion_body("m", "yes", 1, 1);
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    socket.write_all(answer.as_bytes()).await.unwrap();
    assert_eq!(first.response().await.status, 200);
    // Whoever had gone before the place was free is in the books at most as cancelled; nobody else is answered.
    let answered = |settlement: &&bantam_types::Settlement| settlement.outcome == RequestOutcome::Answered;
    assert_eq!(server.settled(1).await.iter().filter(answered).count(), 1);
}
