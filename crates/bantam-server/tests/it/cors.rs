//! What browsers ask and are told, in the very bytes that they send.

use crate::support::{Response, Server, Setup, chat_body, get, post, start, stream_body};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const DESK: &str = "origin: https://desk.example\r\n";

/// The preflight of Chromium for a `POST` by OpenAI's SDK, with further header lines.
fn preflight(path: &str, method: &str, headers: &str) -> String {
    format!(
        "OPTIONS {path} HTTP/1.1\r\nhost: localhost\r\nconnection: keep-alive\r\naccept: */*\r\n\
         access-control-request-method: {method}\r\nsec-fetch-mode: cors\r\nsec-fetch-site: cross-site\r\n\
         sec-fetch-dest: empty\r\n{headers}\r\n"
    )
}

async fn with_key() -> Server {
    start(Setup { keys: vec![KEY.to_owned()], ..Setup::default() }).await
}

/// Checks that a page of the allowed origin may read `response` and the headers that Bantam adds.
fn check_readable(response: &Response) {
    assert_eq!(response.header("access-control-allow-origin"), "https://desk.example", "{response:?}");
    assert!(response.header("vary").split(", ").any(|name| name == "origin"), "{response:?}");
    assert_eq!(response.header("access-control-allow-credentials"), "", "{response:?}");
    let exposed: Vec<&str> = response.header("access-control-expose-headers").split(", ").collect();
    for header in bantam_server::RESPONSE_HEADERS.iter().map(|header| header.name).chain(["retry-after"]) {
        assert!(exposed.contains(&header), "{header}: {response:?}");
    }
}

#[tokio::test]
async fn a_preflight_is_answered_without_a_key() {
    let server = with_key().await;
    let names = "authorization,content-type,x-bantam-task,x-stainless-os";
    let headers = format!("{DESK}access-control-request-headers: {names}\r\n");
    for (path, methods) in [
        ("/v1/chat/completions", "POST"),
        ("/v1/embeddings", "POST"),
        ("/v1/models", "GET, HEAD"),
        ("/v1/models/vendor/mid-model", "GET, HEAD"),
        ("/bantam/unload/mid-model", "POST"),
        ("/healthz", "GET, HEAD"),
    ] {
        let response = server.ask(&preflight(path, "POST", &headers)).await;
        check_readable(&response);
        assert_eq!((response.status, response.body.as_str()), (204, ""), "{path}");
        assert_eq!(response.header("access-control-allow-methods"), methods, "{path}");
        assert_eq!(response.header("access-control-allow-headers"), names.replace(',', ", "), "{path}");
        assert_eq!(response.header("access-control-max-age"), "7200", "{path}");
        assert_eq!(response.header("access-control-allow-private-network"), "", "{path}");
        for name in ["origin", "access-control-request-method", "access-control-request-headers"] {
            assert!(response.header("vary").split(", ").any(|varied| varied == name), "{name}: {response:?}");
        }
    }
}

#[tokio::test]
async fn a_preflight_from_a_public_page_to_a_private_address_is_answered() {
    let server = with_key().await;
    let headers = format!("{DESK}access-control-request-private-network: true\r\n");
    let response = server.ask(&preflight("/v1/chat/completions", "POST", &headers)).await;
    assert_eq!((response.status, response.header("access-control-allow-private-network")), (204, "true"));
    assert_eq!(response.header("access-control-allow-headers"), "", "none were asked for");
}

#[tokio::test]
async fn a_preflight_for_an_unknown_path_lets_the_page_read_the_error() {
    let server = with_key().await;
    let response = server.ask(&preflight("/v1/chat/completion", "POST", DESK)).await;
    assert_eq!((response.status, response.header("access-control-allow-methods")), (204, "GET, HEAD, POST"));
    let request = post(DESK, &chat_body("hi")).replace("/completions", "/completion");
    let response = server.ask(&request).await;
    check_readable(&response);
    assert_eq!(response.error(), (404, "unknown_path".to_owned()));
}

#[tokio::test]
async fn a_preflight_from_elsewhere_is_refused_without_a_word_to_the_page() {
    let server = start(Setup::default()).await;
    let host = preflight("/v1/models", "GET", DESK).replace("host: localhost", "host: evil.example");
    assert_eq!(server.ask(&host).await.error(), (403, "host_not_allowed".to_owned()));
    for origin in ["https://evil.example", "null", "https://desk.example.evil.example"] {
        let response = server.ask(&preflight("/v1/models", "GET", &format!("origin: {origin}\r\n"))).await;
        assert_eq!(response.error(), (403, "origin_not_allowed".to_owned()), "{origin}");
        assert_eq!(response.header("vary"), "origin");
        let cors = response.headers.keys().find(|name| name.starts_with("access-control-"));
        assert_eq!(cors, None, "{origin}");
    }
}

#[tokio::test]
async fn options_that_is_no_preflight_names_the_methods() {
    let server = start(Setup::default()).await;
    let bare = "OPTIONS /v1/models HTTP/1.1\r\nhost: localhost\r\n";
    for request in [format!("{bare}\r\n"), format!("{bare}{DESK}\r\n"), preflight("/v1/models", "GET", "")] {
        let response = server.ask(&request).await;
        assert_eq!(response.error(), (405, "method_not_allowed".to_owned()), "{request}");
        assert_eq!(response.header("allow"), "GET, HEAD", "{request}");
    }
    let response = server.ask(&get("/v1/chat/completions")).await;
    assert_eq!((response.status, response.header("allow")), (405, "POST"));
}

#[tokio::test]
async fn answers_streams_and_errors_can_be_read_by_the_page() {
    let server = with_key().await;
    let headers = format!("{DESK}authorization: Bearer {KEY}\r\n");
    let too_large = "x".repeat(100_000);
    for (request, status) in [
        (post(&headers, &chat_body("hi")), 200),
        (post(&headers, &stream_body("hi")), 200),
        (post(DESK, &chat_body("hi")), 401),
        (post(&headers, "{"), 400),
        (post(&headers, &chat_body(&too_large)), 413),
        (post(&headers, &chat_body("hi")).replace("host: localhost", "host: other.example"), 403),
        (get("/nowhere").replace("\r\n\r\n", &format!("\r\n{DESK}\r\n")), 404),
    ] {
        let response = server.ask(&request).await;
        assert_eq!(response.status, status, "{response:?}");
        check_readable(&response);
    }
}

#[tokio::test]
async fn caches_learn_that_the_origin_matters_even_where_none_was_sent() {
    let server = start(Setup::default()).await;
    for request in [get("/v1/models"), get("/nowhere"), post("", &stream_body("hi"))] {
        let response = server.ask(&request).await;
        assert_eq!(response.header("vary"), "origin", "{request}");
        assert_eq!(response.header("access-control-allow-origin"), "", "{request}");
    }
}
