//! What the server says of models in memory, and how one is sent away.

use std::time::Duration;

use bantam_server::{ResidentModel, Residents, Unload};
use futures_util::future::BoxFuture;

use crate::support::{Response, Setup, get, start};

struct Two;

fn model(name: &str) -> ResidentModel {
    ResidentModel {
        name: name.to_owned(),
        identity: "desk@0123456789ab".to_owned(),
        state: "loaded",
        bytes: 5_000,
        leases: 1,
        context_tokens: 2_048,
        expires_at: Some("2026-11-21T09:00:00Z".to_owned()),
        shared_by: Vec::new(),
        base: None,
    }
}

impl Residents for Two {
    fn list(&self) -> Vec<ResidentModel> {
        let tone = ResidentModel { base: Some("desk".to_owned()), expires_at: None, ..model("tone") };
        vec![model("desk"), tone]
    }

    fn unload<'a>(&'a self, name: &'a str, wait: Duration) -> BoxFuture<'a, Unload> {
        let outcome = match name {
            "desk" => Unload::Done,
            "vendor/idle" => Unload::NotLoaded,
            "far" => Unload::Elsewhere,
            "busy" if wait == Duration::from_millis(7) => Unload::StillUsed { leases: 3 },
            _ => Unload::Unknown,
        };
        Box::pin(std::future::ready(outcome))
    }
}

async fn ask(request: &str) -> Response {
    start(Setup { residents: std::sync::Arc::new(Two), ..Setup::default() }).await.ask(request).await
}

fn post(path: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n")
}

#[tokio::test]
async fn lists_them_as_ollama_does() {
    let json = ask(&get("/api/ps")).await.json();
    let (desk, tone) = (&json["models"][0], &json["models"][1]);
    assert_eq!((&desk["name"], &desk["size"], &desk["leases"]), (&"desk".into(), &5_000.into(), &1.into()));
    assert_eq!(desk["expires_at"], "2026-11-21T09:00:00Z");
    assert_eq!((&desk["digest"], &desk["context_length"]), (&"0123456789ab".into(), &2_048.into()));
    assert_eq!((&tone["base"], &tone["stays"]), (&"desk".into(), &true.into()));
    assert_eq!(tone["expires_at"], "9999-12-31T23:59:59Z");
}

#[tokio::test]
async fn sends_one_away_or_says_why_not() {
    let done = ask(&post("/bantam/unload/desk")).await;
    assert_eq!((done.status, done.json()["status"].as_str()), (200, Some("unloaded")));
    for name in ["vendor/idle", "vendor%2Fidle"] {
        let idle = ask(&post(&format!("/bantam/unload/{name}"))).await;
        assert_eq!((idle.status, idle.json()["status"].as_str()), (200, Some("not loaded")));
    }
    for (path, status, code) in [
        ("/bantam/unload/none", 404, "model_not_found"),
        ("/bantam/unload/far", 404, "model_not_here"),
        ("/bantam/unload/busy?wait_ms=7", 409, "model_in_use"),
        ("/bantam/unload/busy?wait=7", 400, "invalid_query"),
    ] {
        assert_eq!(ask(&post(path)).await.error(), (status, code.to_owned()), "{path}");
    }
}

#[tokio::test]
async fn both_want_the_key_where_there_is_one() {
    let setup = || Setup { keys: vec!["k".repeat(32)], ..Setup::default() };
    for request in [get("/api/ps"), post("/bantam/unload/desk")] {
        let response = start(setup()).await.ask(&request).await;
        assert_eq!(response.error(), (401, "missing_api_key".to_owned()));
    }
}
