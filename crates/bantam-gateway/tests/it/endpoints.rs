//! Completions and vectors take the way of a chat request, and tasks do not hear of them.

use std::sync::Arc;

use bantam_gateway::Hints;
use bantam_types::{Label, Tier};
use bantam_wire::{CallKind, Endpoint, openai};

use crate::support::{Act, Desk, Got, deployment, open_task, read, rung, scripted, told};

fn desk() -> Desk {
    let chat_only =
        rung("chat-only", Arc::new(scripted(Tier::Local, |_, _| Act::Hang).that_serves_chat_only()));
    let able = scripted(Tier::Mid, |call, _| match call.kind() {
        CallKind::Chat => Act::Text("chat", None),
        _ => Act::Body(r#"{"object":"list","data":[]}"#),
    });
    let ladder = vec![Arc::new(chat_only), Arc::new(rung("able", Arc::new(able)))];
    Desk::new(deployment(vec![open_task("talk", ladder.clone())], ladder))
}

async fn ask(desk: &Desk, endpoint: &'static dyn Endpoint, body: &str) -> Got {
    read(desk.gateway.answer(endpoint, body.to_owned().into(), Hints::default()).await).await
}

#[tokio::test]
async fn vectors_come_from_the_first_model_of_the_ladder_that_makes_them() {
    let desk = desk();
    let got = ask(&desk, openai::EMBEDDINGS, r#"{"model":"auto","input":"hi"}"#).await;
    assert_eq!((got.status, &got.json["bantam"]["model"]), (200, &"able".into()), "{}", got.message);
    assert_eq!(told(&desk.only()), "answered 200: able accepted");
}

#[tokio::test]
async fn a_whole_completion_is_a_stream_of_one_chunk_for_who_wants_a_stream() {
    let desk = desk();
    let body = r#"{"model":"able","prompt":"hi","stream":true}"#;
    let got = ask(&desk, openai::TEXT, body).await;
    assert_eq!((got.status, got.events.len()), (200, 2), "{:?}", got.events);
    assert_eq!(got.json["bantam"]["model"], "able");
}

#[tokio::test]
async fn who_cannot_make_vectors_is_named_as_such() {
    let desk = desk();
    let got = ask(&desk, openai::EMBEDDINGS, r#"{"model":"chat-only","input":"hi"}"#).await;
    assert_eq!((got.status, got.slug), (400, "unsupported_endpoint"), "{}", got.message);
    assert_eq!(told(&desk.only()), "refused 400: ");
}

#[tokio::test]
async fn a_task_is_asked_by_chat_alone() {
    let desk = desk();
    for (endpoint, body) in [
        (openai::EMBEDDINGS, r#"{"model":"task/talk","input":"hi"}"#),
        (openai::TEXT, r#"{"model":"task/talk","prompt":"hi"}"#),
    ] {
        let got = ask(&desk, endpoint, body).await;
        assert_eq!((got.status, got.slug, got.param.as_deref()), (400, "task_needs_chat", Some("model")));
    }
}

#[tokio::test]
async fn texts_of_every_endpoint_are_scanned() {
    let desk = desk();
    for (endpoint, body) in [
        (openai::EMBEDDINGS, r#"{"model":"able","input":["hi","Project Falcon"]}"#),
        (openai::TEXT, r#"{"model":"able","prompt":"hi","suffix":"Project Falcon"}"#),
    ] {
        let got = ask(&desk, endpoint, body).await;
        assert_eq!((got.status, got.slug), (409, "sensitive_request"));
        assert_eq!(desk.of(&got).label, Label::Restricted);
    }
}
