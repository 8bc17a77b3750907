//! Upstreams that refuse what others want: the call is said another way once, and that is remembered.

use std::sync::Arc;

use bantam_remote::{PhrasingSettings, RemoteModel, UpstreamSettings, WireSettings};
use bantam_simulate::{
    Behaviour, Received, SimulatedUpstream, StreamEnd, completion_body, completion_events,
};
use bantam_wire::OutputLimit;
use serde_json::Value;

use crate::support::{call, fault_of, model, read, settings, start};

const STREAM: &str = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

fn refusal(status: u16, body: &str) -> Behaviour {
    let pause = std::time::Duration::ZERO;
    Behaviour::Answer { status, headers: Vec::new(), body: body.to_owned(), delay: pause }
}

fn good(received: &Received) -> Behaviour {
    if received.wants_stream() {
        return Behaviour::events(completion_events("m", "yes", 1, 1), StreamEnd::Done);
    }
    Behaviour::ok(completion_body("m", "yes", 1, 1))
}

/// Starts an upstream that refuses what `is_bad` tells with `answer`.
async fn picky(is_bad: fn(&Value) -> bool, answer: Behaviour) -> SimulatedUpstream {
    start(move |received| if is_bad(&received.json()) { answer.clone() } else { good(received) }).await
}

fn with(upstream: &SimulatedUpstream, phrasing: PhrasingSettings) -> Arc<RemoteModel> {
    let wire = WireSettings { phrasing, ..WireSettings::default() };
    model(UpstreamSettings { wire, ..settings(&upstream.base_url()) })
}

/// Calls with `body` and returns how many calls the upstream has had by then.
async fn answered(model: &RemoteModel, body: &str, upstream: &SimulatedUpstream) -> u64 {
    let stream = body.contains("\"stream\":true");
    let got = read(call(model, body, stream).await).await;
    assert_eq!(got.fault, None, "{body}");
    upstream.count()
}

#[tokio::test]
async fn an_upstream_that_takes_no_stream_options_is_asked_without_and_that_is_remembered() {
    for (status, body) in [
        (
            400,
            r#"{"error":{"message":"Unrecognized request argument supplied: stream_options","type":"invalid_request_error"}}"#,
        ),
        (400, r#"{"error":{"message":"nope","param":"stream_options","code":"unknown_parameter"}}"#),
        (
            422,
            r#"{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs are not permitted","input":{"include_usage":true}}]}"#,
        ),
        (400, r#"{"object":"error","message":"include_usage is not supported","code":400}"#),
        // Those that do not say what they refuse.
        (400, r#"{"error":{"message":"Bad request","type":"invalid_request_error"}}"#),
        (400, "<html>Bad Request</html>"),
        (422, ""),
    ] {
        let upstream = picky(|json| !json["stream_options"].is_null(), refusal(status, body)).await;
        let model = with(&upstream, PhrasingSettings::default());
        assert_eq!(answered(&model, STREAM, &upstream).await, 2, "{body}");
        assert_eq!(answered(&model, STREAM, &upstream).await, 3, "{body}: it was not remembered");
        let last = upstream.received().pop().unwrap().json();
        assert_eq!((&last["stream"], &last["stream_options"]), (&Value::Bool(true), &Value::Null), "{body}");
    }
}

#[tokio::test]
async fn a_model_that_does_not_stream_is_asked_for_the_whole_answer() {
    let answer = refusal(
        400,
        r#"{"error":{"message":"Unsupported value: 'stream' does not support true with this model. Only the default (false) value is supported.","type":"invalid_request_error","param":"stream","code":"unsupported_value"}}"#,
    );
    let upstream = picky(|json| json["stream"] == true, answer).await;
    let model = with(&upstream, PhrasingSettings::default());
    assert_eq!(answered(&model, STREAM, &upstream).await, 2);
    assert_eq!(answered(&model, STREAM, &upstream).await, 3, "it was not remembered");
    let last = upstream.received().pop().unwrap().json();
    assert_eq!((&last["stream"], &last["stream_options"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn a_retry_that_taught_something_is_told_with_the_answer() {
    let answer = refusal(400, r#"{"error":{"message":"unknown parameter: stream_options"}}"#);
    let upstream = picky(|json| !json["stream_options"].is_null(), answer).await;
    let model = with(&upstream, PhrasingSettings::default());
    let Ok(bantam_backend::Answer::Stream(stream)) = call(&model, STREAM, true).await else {
        panic!("no stream")
    };
    assert_eq!(stream.retries, 1);
}

#[tokio::test]
async fn settings_are_kept_whatever_is_refused() {
    let answer = refusal(400, r#"{"error":{"message":"unknown parameter: stream_options"}}"#);
    let upstream = picky(|json| !json["stream_options"].is_null(), answer).await;
    let never = PhrasingSettings { stream_usage: Some(false), ..PhrasingSettings::default() };
    assert_eq!(answered(&with(&upstream, never), STREAM, &upstream).await, 1);
    let always = PhrasingSettings { stream_usage: Some(true), ..PhrasingSettings::default() };
    let error = fault_of(call(&with(&upstream, always), STREAM, true).await);
    assert_eq!((error.fault.upstream_status(), upstream.count()), (Some(400), 2));
}

#[tokio::test]
async fn a_request_that_is_refused_in_any_form_teaches_nothing() {
    // The message quotes a prompt.
    let answer =
        refusal(400, r#"{"error":{"message":"invalid prompt: 'stream_options are not supported'"}}"#);
    let upstream =
        start(
            move |received| {
                if received.last_text().contains("stream_options") { answer.clone() } else { good(received) }
            },
        )
        .await;
    let model = with(&upstream, PhrasingSettings::default());
    let bad = STREAM.replace("hi", "stream_options");
    for calls in [2, 4] {
        fault_of(call(&model, &bad, true).await);
        assert_eq!(upstream.count(), calls);
    }
    assert_eq!(answered(&model, STREAM, &upstream).await, 5);
    assert!(
        !upstream.received().pop().unwrap().json()["stream_options"].is_null(),
        "usage is still asked for"
    );
}

#[tokio::test]
async fn a_refusal_without_a_reason_costs_a_guess_once_in_a_while_and_none_where_streams_were_answered() {
    let answer = refusal(400, r#"{"error":{"message":"Bad request"}}"#);
    let upstream =
        start(move |received| if received.last_text() == "bad" { answer.clone() } else { good(received) })
            .await;
    let bad = STREAM.replace("hi", "bad");
    let model = with(&upstream, PhrasingSettings::default());
    for calls in [2, 3, 4] {
        fault_of(call(&model, &bad, true).await);
        assert_eq!(upstream.count(), calls, "one guess");
    }
    let model = with(&upstream, PhrasingSettings::default());
    assert_eq!(answered(&model, STREAM, &upstream).await, 5);
    fault_of(call(&model, &bad, true).await);
    assert_eq!(upstream.count(), 6, "it takes `stream_options`, so that is not the reason");
}

#[tokio::test]
async fn the_other_name_of_the_limit_is_learnt_in_both_directions() {
    let body =
        |name: &str| format!(r#"{{"model":"m","{name}":7,"messages":[{{"role":"user","content":"hi"}}]}}"#);
    let modern = r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","param":"max_tokens","code":"unsupported_parameter"}}"#;
    let old = r#"{"detail":[{"type":"extra_forbidden","loc":["body","max_completion_tokens"],"msg":"Extra inputs are not permitted","input":7}]}"#;
    for (is_bad, status, answer, sent, expected) in [
        (
            (|json| !json["max_tokens"].is_null()) as fn(&Value) -> bool,
            400,
            modern,
            "max_tokens",
            "max_completion_tokens",
        ),
        (|json| !json["max_completion_tokens"].is_null(), 422, old, "max_completion_tokens", "max_tokens"),
    ] {
        let upstream = picky(is_bad, refusal(status, answer)).await;
        let model = with(&upstream, PhrasingSettings::default());
        assert_eq!(answered(&model, &body(sent), &upstream).await, 2);
        assert_eq!(answered(&model, &body(sent), &upstream).await, 3, "it was not remembered");
        let last = upstream.received().pop().unwrap().json();
        assert_eq!((&last[expected], &last[sent]), (&Value::from(7), &Value::Null));
    }
    let upstream = start(good).await;
    let output_limit = Some(OutputLimit::MaxTokens);
    let model = with(&upstream, PhrasingSettings { output_limit, ..PhrasingSettings::default() });
    answered(&model, &body("max_completion_tokens"), &upstream).await;
    assert_eq!(upstream.received()[0].json()["max_tokens"], 7);
}

#[tokio::test]
async fn a_limit_whose_value_is_refused_keeps_its_name() {
    let answer = r#"{"error":{"message":"max_tokens is too large: 7. This model supports at most 4 completion tokens","param":"max_tokens","code":"invalid_value"}}"#;
    let upstream = picky(|json| !json["max_tokens"].is_null(), refusal(400, answer)).await;
    let model = with(&upstream, PhrasingSettings::default());
    let body = r#"{"model":"m","max_tokens":7,"messages":[{"role":"user","content":"hi"}]}"#;
    fault_of(call(&model, body, false).await);
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn a_developer_becomes_a_system_where_that_role_is_refused() {
    let is_bad = |json: &Value| json["messages"][0]["role"] == "developer";
    let answer = r#"{"error":{"message":"messages[0].role: unknown variant `developer`, expected one of `system`, `user`, `assistant`, `tool`"}}"#;
    let upstream = picky(is_bad, refusal(400, answer)).await;
    let model = with(&upstream, PhrasingSettings::default());
    let body = r#"{"model":"m","messages":[{"role" : "developer","content":"be \u0062rief","name":"d"}, {"role":"user","content":"the developer"}]}"#;
    assert_eq!(answered(&model, body, &upstream).await, 2);
    assert_eq!(answered(&model, body, &upstream).await, 3, "it was not remembered");
    let sent = String::from_utf8(upstream.received().pop().unwrap().body).unwrap();
    assert_eq!(
        sent,
        r#"{"model":"real","messages":[{"role":"system","content":"be \u0062rief","name":"d"},{"role":"user","content":"the developer"}]}"#
    );
}
