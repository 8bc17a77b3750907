//! Connections: used again, closed when idle, not held by those who trickle.

use std::time::Duration;

use bantam_server::ServerSettings;

use crate::support::{Client, Server, Setup, chat, get, in_time, start, stream_body};

async fn start_with(change: impl Fn(&mut ServerSettings)) -> Server {
    let mut setup = Setup::default();
    change(&mut setup.settings);
    start(setup).await
}

const SOON: Duration = Duration::from_millis(250);

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let server = start(Setup::default()).await;
    let mut client = server.connect().await;
    for number in 0..20 {
        match number % 4 {
            0 => client.send(&chat("hi")).await,
            1 => client.send(&crate::support::post("", &stream_body("hi"))).await,
            2 => client.send(&get("/nowhere")).await,
            _ => client.send(&crate::support::post("", "{")).await,
        }
        let response = client.response().await;
        assert_eq!(response.status, [200, 200, 404, 400][number % 4]);
    }
}

#[tokio::test]
async fn requests_sent_ahead_are_answered_in_order() {
    let server = start(Setup::default()).await;
    let mut client = server.connect().await;
    client.send(&[chat("slow"), get("/healthz"), chat("hi"), get("/nowhere")].concat()).await;
    for status in [200, 200, 200, 404] {
        assert_eq!(client.response().await.status, status);
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let server = start_with(|settings| {
        settings.header_timeout = SOON / 2;
        settings.idle_timeout = SOON;
    })
    .await;
    for request in [get("/healthz"), chat("hi"), crate::support::post("", &stream_body("hi"))] {
        let mut client = server.connect().await;
        client.send(&request).await;
        assert_eq!(client.response().await.status, 200);
        assert!(in_time(client.closes()).await, "after {request}");
    }
}

#[tokio::test]
async fn a_connection_in_use_outlives_every_time_out() {
    let server = start_with(|settings| {
        settings.header_timeout = Duration::from_millis(150);
        settings.idle_timeout = Duration::from_secs(10);
    })
    .await;
    let mut client = server.connect().await;
    for _ in 0..8 {
        client.send(&get("/healthz")).await;
        assert_eq!(client.response().await.status, 200);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    client.send(&chat("hi")).await;
    assert_eq!(client.response().await.status, 200);
}

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let server = start_with(|settings| settings.header_timeout = SOON).await;
    for part in ["", "G", "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-a: "] {
        let mut client = server.connect().await;
        client.send(part).await;
        assert!(in_time(client.closes()).await, "after {part:?}");
    }
    // Also when it is the second of its connection.
    let mut client = server.connect().await;
    client.send(&get("/healthz")).await;
    assert_eq!(client.response().await.status, 200);
    client.send("GET /").await;
    assert!(in_time(client.closes()).await);
}

#[tokio::test]
async fn a_head_that_trickles_is_not_waited_for() {
    let server = start_with(|settings| settings.header_timeout = SOON).await;
    let mut client = server.connect().await;
    client.send("GET /healthz HTTP/1.1\r\nhost: localhost\r\n").await;
    let trickled = async {
        loop {
            client.send("x: y\r\n").await;
            if let Ok(closed) = tokio::time::timeout(Duration::from_millis(20), client.closes()).await {
                return closed;
            }
        }
    };
    assert!(in_time(trickled).await);
}

#[tokio::test]
async fn an_answer_that_takes_longer_than_the_time_outs_of_a_connection_arrives() {
    let server = start_with(|settings| {
        settings.header_timeout = Duration::from_millis(100);
        settings.idle_timeout = Duration::from_millis(100);
        settings.body_timeout = Duration::from_millis(100);
    })
    .await;
    for request in [chat("slow"), crate::support::post("", &stream_body("slow"))] {
        assert_eq!(server.ask(&request).await.status, 200);
    }
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let server = start(Setup::default()).await;
    let mut client = server.connect().await;
    client.send("GET /healthz HTTP/1.1\r\nhost: localhost\r\n").await;
    client.send(&format!("x: {}\r\n", "y".repeat(100_000))).await;
    match in_time(client.try_response()).await {
        Some(response) => assert_eq!(response.status, 431),
        None => assert!(client.closes().await),
    }
}

#[tokio::test]
async fn requests_that_two_readers_would_read_differently_are_refused() {
    let server = start(Setup::default()).await;
    for request in [
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\ncontent-length: 5\r\n\r\n{}{}{",
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip\r\n\r\n{}",
        "GET /healthz HTTP/1.1\r\nhost : localhost\r\n\r\n",
        "GET /healthz\r\nhost: localhost\r\n\r\n",
        "garbage\r\n\r\n",
    ] {
        let mut client = server.connect().await;
        client.send(request).await;
        if let Some(response) = in_time(client.try_response()).await {
            assert!((400..=499).contains(&response.status), "{request}: {response:?}");
        }
        assert!(in_time(client.closes()).await, "the connection stays open after {request:?}");
    }
    // With both framings only the chunks count, and nothing behind them is taken for a request.
    let mut client = server.connect().await;
    client.send("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 60\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n").await;
    let response = in_time(client.try_response()).await;
    assert!(response.is_none_or(|response| response.status == 400));
}

#[tokio::test]
async fn sockets_that_trickle_do_not_stop_a_good_request() {
    // Both ends are in this process: two file descriptors a socket, and few systems give more than 1,024.
    const SOCKETS: usize = 400;
    let server = start_with(|settings| settings.header_timeout = Duration::from_secs(2)).await;
    let mut trickling: Vec<Client> = Vec::new();
    for number in 0..SOCKETS {
        let mut client = server.connect().await;
        client.send(if number % 2 == 0 { "POST /v1/chat" } else { "GET / HTTP/1.1\r\nhost: loc" }).await;
        trickling.push(client);
    }
    for _ in 0..5 {
        assert_eq!(in_time(server.chat("hi")).await.status, 200);
        for client in &mut trickling {
            client.send("x").await;
        }
    }
    for client in &mut trickling {
        assert!(in_time(client.closes()).await);
    }
    assert_eq!(server.chat("hi").await.status, 200);
}
