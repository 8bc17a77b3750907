//! Bodies: too large, too slow, too deep, malformed.

use std::time::Duration;

use bantam_server::ServerSettings;
use bantam_types::{RequestOutcome, Settlement};

use crate::support::{Server, Setup, chat_body, post, start};

const HEAD: &str = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n";

async fn check(server: &Server, request: &str, status: u16, code: &str) {
    assert_eq!(
        server.ask(request).await.error(),
        (status, code.to_owned()),
        "{}",
        &request[..request.len().min(300)]
    );
}

/// Checks that one request was answered, and that so many were refused without anybody being asked.
fn check_books(settled: &[Settlement], refused: usize) {
    let (answered, others): (Vec<_>, Vec<_>) =
        settled.iter().partition(|request| request.outcome == RequestOutcome::Answered);
    assert_eq!((answered.len(), others.len()), (1, refused));
    assert!(others.iter().all(|request| request.attempts.is_empty()), "{others:?}");
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_however_it_is_framed() {
    let server = start(Setup::default()).await;
    // Announced: refused before a byte of it came.
    check(&server, &format!("{HEAD}content-length: 65537\r\n\r\n"), 413, "request_too_large").await;
    check(&server, &format!("{HEAD}content-length: 99999999999\r\n\r\n"), 413, "request_too_large").await;
    // In chunks: refused as soon as there is too much, though it never ends.
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    check(
        &server,
        &format!("{HEAD}transfer-encoding: chunked\r\n\r\n{}", chunk.repeat(5)),
        413,
        "request_too_large",
    )
    .await;
    let fits = chat_body(&"word ".repeat(12_000));
    assert!(fits.len() < 65_536);
    assert_eq!(server.ask(&post("", &fits)).await.status, 200);
    check_books(&server.settled(4).await, 3);
}

#[tokio::test]
async fn a_chunked_body_is_put_together() {
    let server = start(Setup::default()).await;
    let body = chat_body("hi");
    let chunks: String = body.chars().map(|symbol| format!("1\r\n{symbol}\r\n")).collect();
    let response = server.ask(&format!("{HEAD}transfer-encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")).await;
    assert_eq!(response.status, 200);
}

#[tokio::test]
async fn a_body_that_takes_too_long_is_given_up() {
    let settings = ServerSettings { body_timeout: Duration::from_millis(200), ..Setup::default().settings };
    let server = start(Setup { settings, ..Setup::default() }).await;
    for framing in ["content-length: 500\r\n\r\n{\"model\"", "transfer-encoding: chunked\r\n\r\n5\r\n{\"mod"]
    {
        let mut client = server.connect().await;
        client.send(&format!("{HEAD}{framing}")).await;
        let response = client.response().await;
        assert_eq!(response.error(), (408, "body_timeout".to_owned()));
        assert_eq!(response.header("connection"), "close");
        assert!(client.closes().await);
    }
}

#[tokio::test]
async fn a_body_that_trickles_is_given_up_too() {
    let settings = ServerSettings { body_timeout: Duration::from_millis(300), ..Setup::default().settings };
    let server = start(Setup { settings, ..Setup::default() }).await;
    let mut client = server.connect().await;
    client.send(&format!("{HEAD}content-length: 5000\r\n\r\n")).await;
    let trickled = async {
        loop {
            client.send("x").await;
            if let Ok(response) = tokio::time::timeout(Duration::from_millis(20), client.try_response()).await
            {
                return response;
            }
        }
    };
    let response = crate::support::in_time(trickled).await.unwrap();
    assert_eq!(response.error(), (408, "body_timeout".to_owned()));
}

#[tokio::test]
async fn bodies_that_are_no_request_are_named() {
    let server = start(Setup::default()).await;
    let hi = r#""messages":[{"role":"user","content":"hi"}]"#;
    let deep = format!("{{\"model\":\"auto\",{hi},\"metadata\":{}{}}}", "[".repeat(500), "]".repeat(500));
    for (body, code) in [
        ("", "invalid_json"),
        ("{", "invalid_json"),
        ("\u{0}\u{1}", "invalid_json"),
        (&*deep, "invalid_json"),
        (&"[".repeat(60_000), "invalid_json"),
        (&format!("{{\"model\":\"auto\",\"model\":\"task/chat\",{hi}}}"), "invalid_json"),
        (&format!("{{\"model\":\"auto\",\"temprature\":1,{hi}}}"), "unknown_parameter"),
        (&format!("{{\"model\":\"nope\",{hi}}}"), "model_not_found"),
    ] {
        let status = if code == "model_not_found" { 404 } else { 400 };
        check(&server, &post("", body), status, code).await;
    }
    assert_eq!(server.chat("hi").await.status, 200);
    check_books(&server.settled(9).await, 8);
}

#[tokio::test]
async fn a_body_that_ends_early_costs_nothing() {
    let server = start(Setup::default()).await;
    let body = chat_body("hi");
    for cut in [0, 1, body.len() / 2, body.len() - 1] {
        let mut client = server.connect().await;
        client.send(&format!("{HEAD}content-length: {}\r\n\r\n{}", body.len(), &body[..cut])).await;
        drop(client);
    }
    assert_eq!(server.chat("hi").await.status, 200);
    // Whether a broken body is noticed before its connection is given up is the connection's affair.
    let settled = server.answered().await;
    check_books(&settled, settled.len() - 1);
}
