//! Which paths and methods there are.

use crate::support::{Response, Setup, get, start};

async fn ask(request: &str) -> Response {
    start(Setup::default()).await.ask(request).await
}

async fn check_error(request: &str, status: u16, code: &str) {
    let response = ask(request).await;
    assert_eq!(response.error(), (status, code.to_owned()), "{request}");
}

#[tokio::test]
async fn lists_everything_that_callers_may_name() {
    let response = ask(&get("/v1/models")).await;
    let json = response.json();
    assert_eq!((response.status, &json["object"]), (200, &"list".into()));
    let models = json["data"].as_array().unwrap();
    let ids: Vec<&str> = models.iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["auto", "vendor/mid-model", "task/chat"]);
    for model in models {
        assert_eq!(model["object"], "model");
        assert!(model["created"].is_i64() && model["owned_by"].is_string());
    }
}

#[tokio::test]
async fn shows_one_model_also_with_a_slash_in_its_name() {
    for id in ["auto", "vendor/mid-model", "task/chat", "vendor%2Fmid-model", "task%2Fchat"] {
        let response = ask(&get(&format!("/v1/models/{id}"))).await;
        assert_eq!((response.status, response.json()["id"].as_str()), (200, Some(&*id.replace("%2F", "/"))));
    }
    check_error(&get("/v1/models/nope"), 404, "model_not_found").await;
    check_error(&get("/v1/models/%ff"), 400, "invalid_path").await;
}

#[tokio::test]
async fn unknown_paths_and_methods_are_errors_in_the_same_shape() {
    for path in ["/", "/v1", "/v1/chat", "/v1/chat/completions/", "/v1/audio", "/admin", "/%2e%2e/etc/passwd"]
    {
        check_error(&get(path), 404, "unknown_path").await;
    }
    for path in ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"] {
        check_error(&get(path), 405, "method_not_allowed").await;
    }
    for method in ["POST", "DELETE", "PATCH", "OPTIONS", "BREW"] {
        let request = format!("{method} /v1/models HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n");
        check_error(&request, 405, "method_not_allowed").await;
        let request = request.replace("/v1/models", "/healthz");
        check_error(&request, 405, "method_not_allowed").await;
    }
}

#[tokio::test]
async fn every_listed_route_is_served_by_its_method_alone() {
    for route in bantam_server::routes() {
        let path = route.path.replace("{*id}", "auto").replace("{*name}", "auto");
        for method in ["GET", "POST"] {
            let request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n");
            let response = ask(&request).await;
            let is_refused = response.status == 405;
            assert_eq!(is_refused, route.method.as_str() != method, "{method} {path}: {}", response.status);
            assert!(response.status < 400 || response.error().1 != "unknown_path", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn is_alive_and_ready_until_the_ledger_cannot_be_written() {
    let server = start(Setup::default()).await;
    assert_eq!(server.ask(&get("/healthz")).await.status, 200);
    let ready = server.ask(&get("/readyz")).await;
    assert_eq!((ready.status, ready.json()["status"].as_str()), (200, Some("ready")));
    server.ledger.close().unwrap();
    let ready = server.ask(&get("/readyz")).await;
    assert_eq!((ready.status, ready.json()["reason"].as_str()), (503, Some("the ledger cannot be written")));
    assert_eq!(server.ask(&get("/healthz")).await.status, 200);
    let refused = server.chat("hi").await;
    assert_eq!(refused.error(), (503, "ledger_unavailable".to_owned()));
    assert_eq!(refused.header("retry-after"), "5");
}
