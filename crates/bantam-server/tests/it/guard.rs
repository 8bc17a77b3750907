//! Hosts, origins and keys.

use crate::support::{Setup, chat, chat_body, get, post, start};

const KEY: &str = "0123456789abcdef0123456789abcdef";

async fn check(request: &str, status: u16, code: &str) {
    let server = start(Setup::default()).await;
    let response = server.ask(request).await;
    if status == 200 {
        assert_eq!(response.status, 200, "{request}");
    } else {
        assert_eq!(response.error(), (status, code.to_owned()), "{request}");
    }
}

#[tokio::test]
async fn only_known_hosts_are_served_on_every_path() {
    for (host, status) in [
        ("host: localhost:5454\r\n", 200),
        ("host: 127.0.0.1\r\n", 200),
        ("host: bantam.lan\r\n", 200),
        ("host: evil.example\r\n", 403),
        ("host: localhost.evil.example\r\n", 403),
        ("host: \r\n", 403),
        ("", 403),
        ("host: localhost\r\nhost: localhost\r\n", 403),
        ("host: localhost\r\nhost: evil.example\r\n", 403),
    ] {
        for path in ["/healthz", "/v1/models"] {
            check(&format!("GET {path} HTTP/1.1\r\n{host}\r\n"), status, "host_not_allowed").await;
        }
    }
    check(&chat("hi").replace("host: localhost", "host: evil.example"), 403, "host_not_allowed").await;
    // A target that names a host of its own does not change what the header must be.
    check("GET http://localhost/healthz HTTP/1.1\r\nhost: evil.example\r\n\r\n", 403, "host_not_allowed")
        .await;
}

#[tokio::test]
async fn only_known_origins_are_served_and_told_so() {
    for origin in ["https://evil.example", "null", "http://localhost:3000"] {
        check(&post(&format!("origin: {origin}\r\n"), &chat_body("hi")), 403, "origin_not_allowed").await;
    }
    let server = start(Setup::default()).await;
    let response = server.ask(&post("origin: https://desk.example\r\n", &chat_body("hi"))).await;
    assert_eq!(
        (response.status, response.header("access-control-allow-origin")),
        (200, "https://desk.example")
    );
    assert_eq!(server.chat("hi").await.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn a_key_is_asked_for_where_there_is_something_to_take() {
    let server = start(Setup { keys: vec![KEY.to_owned()], ..Setup::default() }).await;
    for (headers, expected) in [
        ("", "missing_api_key"),
        ("authorization: Bearer nope\r\n", "invalid_api_key"),
        ("authorization: Bearer \r\n", "missing_api_key"),
        ("authorization: Basic abc\r\n", "missing_api_key"),
        ("x-api-key: ' OR 1=1 --\r\n", "invalid_api_key"),
    ] {
        let response = server.ask(&post(headers, &chat_body("hi"))).await;
        assert_eq!(response.error(), (401, expected.to_owned()), "{headers}");
        for path in ["/v1/models", "/v1/models/auto"] {
            let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
            assert_eq!(server.ask(&request).await.error(), (401, expected.to_owned()), "{headers}");
        }
    }
    for headers in [format!("authorization: Bearer {KEY}\r\n"), format!("x-api-key: {KEY}\r\n")] {
        assert_eq!(server.ask(&post(&headers, &chat_body("hi"))).await.status, 200);
    }
    assert_eq!(server.ask(&get("/healthz")).await.status, 200);
    let settled = server.settled(2).await;
    assert_eq!(settled.len(), 2, "who has no key costs nothing");
    assert!(settled.iter().all(|request| request.caller.as_deref() == Some("DESK_KEY")), "{settled:?}");
}

#[tokio::test]
async fn a_request_without_a_key_is_refused_before_its_body_is_read() {
    let server = start(Setup { keys: vec![KEY.to_owned()], ..Setup::default() }).await;
    let mut client = server.connect().await;
    client
        .send("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n")
        .await;
    assert_eq!(client.response().await.error(), (401, "missing_api_key".to_owned()));
}
