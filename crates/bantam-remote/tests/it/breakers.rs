//! What an upstream's faults mean for its other models and endpoints.

use std::sync::Arc;

use bantam_backend::{Backend, BackendError, BackendFault};
use bantam_remote::{RemoteModel, Upstream, UpstreamSettings};
use bantam_simulate::{Behaviour, Received, SimulatedUpstream, completion_body};
use bantam_types::Tier;
use bantam_wire::{CallKind, openai};

use crate::support::{HI, ask, call, cleared, cleared_for, fault_of, settings, start};

/// Returns the models that an upstream is said to have.
fn models<const N: usize>(upstream: &SimulatedUpstream, names: [&str; N]) -> [RemoteModel; N] {
    let upstream = Arc::new(Upstream::new(settings(&upstream.base_url())).unwrap());
    names.map(|name| RemoteModel::new(Arc::clone(&upstream), name.to_owned(), Tier::Frontier).unwrap())
}

fn ok() -> Behaviour {
    Behaviour::ok(completion_body("m", "yes", 1, 1))
}

/// Starts an upstream that answers calls of the model `good` only, and the others with `behaviour`.
async fn good_only(behaviour: Behaviour) -> SimulatedUpstream {
    start(move |received: &Received| match received.json()["model"] == "good" {
        true => ok(),
        false => behaviour.clone(),
    })
    .await
}

/// Returns a chat that is like no other.
fn numbered(number: u32) -> String {
    HI.replace("hi", &format!("hi {number}"))
}

/// Calls `model` with different requests until its breaker is open, and returns how it failed.
async fn exhaust(model: &RemoteModel) -> BackendError {
    for number in 0..5 {
        assert!(model.is_available(CallKind::Chat));
        fault_of(call(model, &numbered(number), false).await);
    }
    fault_of(call(model, HI, false).await)
}

#[tokio::test]
async fn a_model_that_fails_leaves_its_neighbours_available() {
    for behaviour in [404, 429, 500, 503, 529]
        .map(Behaviour::status)
        .into_iter()
        .chain([Behaviour::ok("garbage".to_owned())])
    {
        let upstream = good_only(behaviour.clone()).await;
        let [mistyped, good] = models(&upstream, ["mistyped", "good"]);
        assert_eq!(exhaust(&mistyped).await.fault, BackendFault::BreakerOpen, "{behaviour:?}");
        assert!(!mistyped.is_available(CallKind::Chat));
        assert!(good.is_available(CallKind::Chat), "{behaviour:?}");
        call(&good, HI, false).await.unwrap();
        assert!(!mistyped.is_available(CallKind::Chat), "a neighbour's answer says nothing about it");
        assert_eq!(upstream.count(), 6);
    }
}

#[tokio::test]
async fn a_request_that_always_fails_stops_itself_and_nobody_else() {
    for poison in [
        Behaviour::status(500),
        Behaviour::ok("garbage".to_owned()),
        Behaviour::ok(r#"{"error":{"message":"x"}}"#.to_owned()),
    ] {
        let upstream = start({
            let poison = poison.clone();
            move |received| if received.last_text() == "poison" { poison.clone() } else { ok() }
        })
        .await;
        let [model, _] = models(&upstream, ["one", "other"]);
        for _ in 0..5 {
            let fault = fault_of(call(&model, &HI.replace("hi", "poison"), false).await).fault;
            assert_ne!(fault, BackendFault::BreakerOpen);
        }
        let refused = fault_of(call(&model, &HI.replace("hi", "poison"), false).await);
        assert_eq!((refused.fault, upstream.count()), (BackendFault::BreakerOpen, 5), "{poison:?}");
        assert!(model.is_available(CallKind::Chat));
        call(&model, HI, false).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_request_brings_upon_itself_closes_nothing_for_others() {
    let error = |status, body: &str| Behaviour::Answer {
        status,
        headers: Vec::new(),
        body: body.to_owned(),
        delay: std::time::Duration::ZERO,
    };
    for poison in [
        Behaviour::status(400),
        Behaviour::status(413),
        Behaviour::status(422),
        // What a firewall says that looks into prompts.
        error(403, "<html>blocked</html>"),
        error(403, r#"{"error":{"code":403,"message":"requires moderation"}}"#),
        error(400, r#"{"error":{"code":"content_filter"}}"#),
        error(400, r#"{"error":{"code":"context_length_exceeded"}}"#),
        error(500, r#"{"error":{"message":"exceed context window of 512"}}"#),
        error(400, r#"{"error":{"message":"your credit balance is too low"}}"#),
        error(429, r#"{"error":{"message":"Request too large for it"}}"#),
        error(200, r#"{"error":{"code":"content_filter"}}"#),
        Behaviour::ok(completion_body("m", &"x".repeat(2 << 20), 1, 1)),
    ] {
        let upstream = start({
            let poison = poison.clone();
            move |received| if received.number < 8 { poison.clone() } else { ok() }
        })
        .await;
        let [model, other] = models(&upstream, ["one", "other"]);
        for _ in 0..8 {
            let fault = fault_of(call(&model, HI, false).await).fault;
            assert_ne!(fault, BackendFault::BreakerOpen, "{poison:?}");
        }
        call(&model, HI, false).await.unwrap();
        call(&other, HI, false).await.unwrap();
    }
}

#[tokio::test]
async fn a_key_or_a_connection_that_is_refused_closes_every_model() {
    for behaviour in [Behaviour::status(401), Behaviour::Raw(b"not http\r\n\r\n".to_vec())] {
        let upstream = start(move |_| behaviour.clone()).await;
        let [first, second] = models(&upstream, ["first", "second"]);
        for _ in 0..2 {
            fault_of(call(&first, HI, false).await);
            fault_of(call(&second, HI, false).await);
        }
        assert!(first.is_available(CallKind::Chat) && second.is_available(CallKind::Chat));
        fault_of(call(&first, HI, false).await);
        for model in [&first, &second] {
            assert!(!model.is_available(CallKind::Chat) && !model.is_available(CallKind::Embeddings));
            assert_eq!(fault_of(call(model, HI, false).await).fault, BackendFault::BreakerOpen);
        }
        assert_eq!(upstream.count(), 5);
    }
}

#[tokio::test]
async fn an_endpoint_that_a_model_lacks_does_not_close_the_others() {
    let upstream = start(|received| match received.head.contains("/embeddings") {
        true => Behaviour::status(404),
        false => ok(),
    })
    .await;
    let [model] = models(&upstream, ["chatty"]);
    for _ in 0..5 {
        let request = cleared_for(openai::EMBEDDINGS, r#"{"model":"m","input":"hi"}"#, Tier::Frontier);
        assert_eq!(fault_of(model.answer(request, ask(false)).await).fault, BackendFault::NotFound);
    }
    assert!(!model.is_available(CallKind::Embeddings));
    assert!(model.is_available(CallKind::Chat));
    model.answer(cleared(HI, Tier::Frontier), ask(false)).await.unwrap();
}

#[tokio::test]
async fn a_call_is_not_sent_again_once_its_failures_have_opened_the_breaker() {
    let upstream = start(|_| Behaviour::status(503)).await;
    let settings = UpstreamSettings { retries_max: 10, ..settings(&upstream.base_url()) };
    let error = fault_of(call(&crate::support::model(settings), HI, false).await);
    assert_eq!((error.fault, error.retries), (BackendFault::Overloaded(503), 4));
    assert_eq!(upstream.count(), 5);
}
