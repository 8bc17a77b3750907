//! What an upstream receives: the caller's bytes, its own key, its own path.

use bantam_backend::{Ask, Backend};
use bantam_remote::{Auth, BuildUpstreamError, RemoteModel, Upstream, UpstreamSettings};
use bantam_simulate::{Behaviour, Received, completion_body};
use bantam_types::Tier;

use crate::support::{HI, ask, cleared, model, settings, start};

/// Sends `body` and returns what arrived.
async fn received(change: impl Fn(&mut UpstreamSettings), body: &str, ask: Ask) -> Received {
    let upstream = start(|_| Behaviour::ok(completion_body("m", "x", 1, 1))).await;
    let mut settings = settings(&upstream.base_url());
    change(&mut settings);
    let _ = model(settings).answer(cleared(body, Tier::Frontier), ask).await;
    let mut received = upstream.received();
    assert_eq!(received.len(), 1);
    received.remove(0)
}

async fn check_body(body: &str, ask: Ask, expected: &str) {
    let received = received(|_| (), body, ask).await;
    assert_eq!(String::from_utf8(received.body).unwrap(), expected);
}

async fn check_head(change: impl Fn(&mut UpstreamSettings), present: &[&str], absent: &[&str]) {
    let head = received(change, HI, ask(false)).await.head.to_ascii_lowercase();
    for line in present {
        assert!(head.contains(&line.to_ascii_lowercase()), "no `{line}` in:\n{head}");
    }
    for line in absent {
        assert!(!head.contains(line), "`{line}` in:\n{head}");
    }
}

#[tokio::test]
async fn the_callers_bytes_arrive_with_only_the_model_changed() {
    check_body(
        "{ \"temperature\": 0.30, \"model\":\"asked\" ,\"messages\" : [ {\"role\":\"user\", \"content\":\"h\\u00e9 \\/ é\"} ],\"metadata\":{ \"b\":\"1\",\"a\":\"2\" } }",
        ask(false),
        "{\"model\":\"real\",\"temperature\":0.30,\"messages\":[ {\"role\":\"user\", \"content\":\"h\\u00e9 \\/ é\"} ],\"metadata\":{ \"b\":\"1\",\"a\":\"2\" }}",
    )
    .await;
}

#[tokio::test]
async fn a_stream_asks_for_usage_whatever_the_caller_said() {
    for options in ["", ",\"stream_options\":{\"include_usage\":false}", ",\"stream_options\":null"] {
        check_body(
            &format!("{{\"model\":\"asked\",\"stream\":true{options},\"messages\":[{{\"role\":\"user\",\"content\":\"x\"}}]}}"),
            ask(true),
            "{\"model\":\"real\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"stream\":true,\"stream_options\":{\"include_usage\":true}}",
        )
        .await;
    }
}

#[tokio::test]
async fn a_task_s_instructions_come_first() {
    check_body(
        HI,
        Ask { system: Some("say \"yes\"".into()), ..ask(false) },
        "{\"model\":\"real\",\"messages\":[{\"role\":\"system\",\"content\":\"say \\\"yes\\\"\"},{\"role\":\"user\",\"content\":\"hi\"}]}",
    )
    .await;
}

#[tokio::test]
async fn each_kind_of_key_stands_in_its_own_header() {
    let key = |auth| move |settings: &mut UpstreamSettings| settings.auth = auth;
    let line = "key-of-the-upstream";
    check_head(key(Auth::Bearer), &["\r\nauthorization: Bearer key-of-the-upstream\r\n"], &["api-key"]).await;
    check_head(key(Auth::ApiKey), &["\r\napi-key: key-of-the-upstream\r\n"], &["authorization", "x-api-key"])
        .await;
    check_head(key(Auth::XApiKey), &["\r\nx-api-key: key-of-the-upstream\r\n"], &["authorization"]).await;
    check_head(key(Auth::None), &[], &["authorization", "api-key", line]).await;
    check_head(|settings| settings.api_key = None, &[], &["authorization", "api-key", line]).await;
}

#[tokio::test]
async fn a_path_with_the_model_in_it_is_filled_in() {
    check_head(|_| (), &["POST /v1/chat/completions HTTP/1.1", "content-type: application/json"], &[]).await;
    check_head(
        |settings| {
            settings.base_url.push('/');
            settings.path = "/openai/deployments/{model}/chat/completions?api-version=2026-01-01".to_owned();
        },
        &["POST /v1/openai/deployments/real/chat/completions?api-version=2026-01-01 HTTP/1.1"],
        &[],
    )
    .await;
}

#[tokio::test]
async fn a_model_s_name_cannot_leave_its_place_in_the_path() {
    let upstream = start(|_| Behaviour::ok(completion_body("m", "x", 1, 1))).await;
    let settings =
        UpstreamSettings { path: "/deployments/{model}/chat".to_owned(), ..settings(&upstream.base_url()) };
    let upstream_of = std::sync::Arc::new(Upstream::new(settings).unwrap());
    for (name, path) in
        [("../x", "..%2Fx"), ("a?b#c", "a%3Fb%23c"), ("a b\r\nc", "a%20b%0D%0Ac"), ("é", "%C3%A9")]
    {
        let model =
            RemoteModel::new(std::sync::Arc::clone(&upstream_of), name.to_owned(), Tier::Frontier).unwrap();
        model.answer(cleared(HI, Tier::Frontier), ask(false)).await.unwrap();
        let head = upstream.received().pop().unwrap().head;
        assert!(head.starts_with(&format!("POST /v1/deployments/{path}/chat HTTP/1.1\r\n")), "{head}");
    }
}

#[tokio::test]
async fn nothing_of_the_callers_but_the_body_is_sent() {
    let head = received(|_| (), HI, ask(false)).await.head;
    let mut names: Vec<String> =
        head.lines().skip(1).filter_map(|line| Some(line.split_once(':')?.0.to_ascii_lowercase())).collect();
    names.sort();
    let expected = [
        "accept",
        "accept-encoding",
        "authorization",
        "content-length",
        "content-type",
        "host",
        "user-agent",
    ];
    assert_eq!(names, expected);
    assert!(head.to_ascii_lowercase().contains("accept-encoding: identity\r\n"), "{head}");
}

#[test]
fn settings_that_cannot_work_are_refused_before_any_call() {
    let check = |change: &dyn Fn(&mut UpstreamSettings), expected: &str| {
        let mut settings = settings("http://127.0.0.1:1/v1");
        change(&mut settings);
        let error = Upstream::new(settings).err().unwrap_or_else(|| panic!("{expected}: it was built"));
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!error.to_string().contains("key-of"), "{error}");
        if let BuildUpstreamError::Client(cause) = error {
            assert!(cause.to_string().contains("PEM"));
        }
    };
    for url in ["", "ftp://a", "a b", "http://", "http://user:pass@host", "//host"] {
        check(&|settings| settings.base_url = url.to_owned(), "is not a valid upstream address");
    }
    check(&|settings| settings.api_key = Some("key-of\r\nevil: 1".to_owned()), "key has characters");
    for pem in ["", "no pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        check(&|settings| settings.extra_roots_pem = Some(pem.into()), "client cannot be built");
    }
}
