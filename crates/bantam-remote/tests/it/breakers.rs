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

/// Calls `model` until its breaker is open, and returns how it failed.
async fn exhaust(model: &RemoteModel) -> BackendError {
    for _ in 0..5 {
        assert!(model.is_available(CallKind::Chat));
        fault_of(call(model, HI, false).await);
    }
    fault_of(call(model, HI, false).await)
}

#[tokio::test]
async fn a_model_that_fails_leaves_its_neighbours_available() {
    for behaviour in [404, 403, 429, 500, 503, 529]
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
async fn a_key_or_a_connection_that_is_refused_closes_every_model() {
    for behaviour in [Behaviour::status(401), Behaviour::Close] {
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
    assert_eq!((error.fault, error.retries), (BackendFault::Status(503), 4));
    assert_eq!(upstream.count(), 5);
}
