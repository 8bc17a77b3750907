//! The Anthropic dialect on the wire.

use bantam_backend::{Answer, Backend, BackendFault};
use bantam_remote::{Auth, Dialect, UpstreamSettings};
use bantam_simulate::{Behaviour, SimulatedUpstream, StreamEnd};
use bantam_types::TokenUsage;
use bantam_wire::Feature;
use serde_json::{Value, json};

use crate::support::{HI, call, cleared, fault_of, model, read, settings, start, text, written};

fn anthropic(upstream: &SimulatedUpstream) -> UpstreamSettings {
    UpstreamSettings {
        dialect: Dialect::Anthropic,
        auth: Auth::XApiKey,
        path: "/messages".to_owned(),
        ..settings(&upstream.base_url())
    }
}

fn message() -> String {
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "yes"}],
        "usage": {"input_tokens": 5, "cache_read_input_tokens": 3, "output_tokens": 2},
    })
    .to_string()
}

fn events() -> Vec<String> {
    [
        json!({"type": "message_start", "message": {"id": "m", "model": "claude", "usage": {"input_tokens": 4, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "ping"}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "yes"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}),
        json!({"type": "message_stop"}),
    ]
    .iter()
    .map(Value::to_string)
    .collect()
}

#[tokio::test]
async fn a_request_goes_out_as_a_message_and_comes_back_as_a_completion() {
    let upstream = start(|_| Behaviour::ok(message())).await;
    let body = r#"{"model":"asked","max_tokens":7,"messages":[{"role":"system","content":"be brief"},{"role":"user","content":"hi"}]}"#;
    let Ok(Answer::Whole(completion)) = call(&model(anthropic(&upstream)), body, false).await else {
        panic!("no answer")
    };
    assert_eq!(text(&completion), "yes");
    assert_eq!(completion.body.usage(), Some(TokenUsage::new(8, 3, 2).into()));
    let json = written(&completion);
    assert_eq!(
        (&json["object"], &json["choices"][0]["finish_reason"]),
        (&json!("chat.completion"), &json!("stop"))
    );
    let received = upstream.received().remove(0);
    assert_eq!(
        received.json(),
        json!({"model": "real", "max_tokens": 7, "system": "be brief",
            "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]})
    );
    let head = received.head.to_ascii_lowercase();
    for line in
        ["post /v1/messages http/1.1", "x-api-key: key-of-the-upstream", "anthropic-version: 2023-06-01"]
    {
        assert!(head.contains(line), "no `{line}` in:\n{head}");
    }
}

#[tokio::test]
async fn a_stream_comes_back_as_chunks_with_usage_at_its_end() {
    let upstream = start(|_| Behaviour::events(events(), StreamEnd::Hang)).await;
    let got = read(call(&model(anthropic(&upstream)), HI, true).await).await;
    assert_eq!(got.fault, None);
    let chunks: Vec<Value> = got.chunks.iter().map(|chunk| serde_json::from_str(chunk).unwrap()).collect();
    let text: String =
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, "yes");
    assert_eq!(chunks.last().unwrap()["usage"]["completion_tokens"], 9);
    assert_eq!(upstream.received()[0].json()["stream"], true);
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_cut() {
    for kept in 0..5 {
        let upstream = start(move |_| Behaviour::events(events()[..kept].to_vec(), StreamEnd::Cut)).await;
        let got = read(call(&model(anthropic(&upstream)), HI, true).await).await;
        assert_eq!(got.fault, Some(BackendFault::Cut), "after {kept} events");
    }
}

#[tokio::test]
async fn errors_are_errors_whatever_their_status() {
    let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let upstream = start(move |_| Behaviour::ok(error.to_owned())).await;
    let answer = call(&model(anthropic(&upstream)), HI, false).await;
    assert_eq!(fault_of(answer).fault, BackendFault::Overloaded(200));
    // Before the answer says anything nothing is passed on; afterwards the role and the text were.
    for (before, chunks) in [(1, 0), (3, 0), (4, 2)] {
        let upstream = start(move |_| {
            let events = [&events()[..before], &[error.to_owned()]].concat();
            Behaviour::events(events, StreamEnd::Done)
        })
        .await;
        let got = read(call(&model(anthropic(&upstream)), HI, true).await).await;
        assert_eq!((got.chunks.len(), got.fault), (chunks, Some(BackendFault::Overloaded(200))), "{before}");
    }
}

#[tokio::test]
async fn a_parameter_without_an_equal_is_refused_before_anything_is_sent() {
    let upstream = start(|_| Behaviour::ok(message())).await;
    let body = r#"{"model":"asked","top_logprobs":1,"messages":[{"role":"user","content":"hi"}]}"#;
    let model = model(anthropic(&upstream));
    let request = cleared(body, bantam_types::Tier::Frontier);
    assert_eq!(model.cannot_honour(request.request()).unwrap().feature, Feature::Alternatives);
    let refused = fault_of(call(&model, body, false).await);
    assert_eq!(refused.fault, BackendFault::CannotHonour(Feature::Alternatives));
    assert_eq!(refused.advice.as_deref(), Some("the API tells no log-probabilities"));
    assert_eq!(upstream.count(), 0);
}
