//! Who asked, where, and what became of it: also of requests that were refused before they were read. The books are
//! another form here, in memory, through the same gateway.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bantam_books::{BooksReader, CallerFilter, GroupBy, MemoryBooks, RequestFilter, TimeRange};
use bantam_gateway::{AdmissionLimits, FinishedRequest, Gateway, Hints, Observer, Observers};
use bantam_types::{Label, RequestOutcome, Settlement, Tier};
use bantam_wire::{ApiError, ErrorCode, openai};

use crate::support::{Act, PATIENCE, body, deployment, open_task, read, rung, scripted, stream_body, told};

fn gateway(running_max: usize) -> (Gateway, Arc<MemoryBooks>) {
    let mid = scripted(Tier::Mid, |call, _| match call.last_user_text() {
        Some("wait") => Act::Hang,
        _ => Act::Text("x", None),
    });
    let task = open_task("chat", vec![Arc::new(rung("mid", Arc::new(mid)))]);
    let books = Arc::new(MemoryBooks::new());
    let limits = AdmissionLimits { running_max, waiting_max: 0 };
    let gateway = Gateway::new(deployment(vec![task], vec![]), Arc::<MemoryBooks>::clone(&books), limits, 7);
    (gateway, books)
}

async fn settled(books: &MemoryBooks) -> Vec<Settlement> {
    let page = books.requests(RequestFilter::default(), None, u32::MAX).await.unwrap();
    page.requests.into_iter().rev().collect()
}

fn with_key(name: &str) -> Hints {
    Hints { caller: Some(name.into()), ..Hints::default() }
}

#[tokio::test]
async fn a_request_is_settled_with_its_caller_its_endpoint_and_its_dialect() {
    let (gateway, books) = gateway(8);
    for hints in [with_key("DESK_KEY"), with_key("SHOP_KEY"), Hints::default()] {
        read(gateway.answer(openai::CHAT, body("task/chat", "hi").into(), hints).await).await;
    }
    let text = r#"{"model":"mid","prompt":"hi"}"#;
    gateway.answer(openai::TEXT, text.into(), with_key("DESK_KEY")).await;
    let told: Vec<_> = settled(&books)
        .await
        .into_iter()
        .map(|request| (request.caller, request.endpoint.unwrap(), request.dialect.unwrap()))
        .collect();
    let chat = |caller: Option<&str>| (caller.map(Arc::from), openai::CHAT.path().into(), "openai".into());
    assert_eq!(told[..3], [chat(Some("DESK_KEY")), chat(Some("SHOP_KEY")), chat(None)]);
    assert_eq!(told[3], (Some("DESK_KEY".into()), openai::TEXT.path().into(), "openai".into()));
    let rows = books.usage(TimeRange::ALL, GroupBy::Caller).await.unwrap();
    let rows: Vec<_> = rows.iter().map(|row| (row.key.to_string(), row.usage.requests)).collect();
    assert_eq!(rows, [("-".to_owned(), 1), ("DESK_KEY".to_owned(), 2), ("SHOP_KEY".to_owned(), 1)]);
    let filter = RequestFilter { caller: Some(CallerFilter::NoKey), ..RequestFilter::default() };
    assert_eq!(books.requests(filter, None, 9).await.unwrap().requests.len(), 1);
}

#[tokio::test]
async fn what_is_refused_before_it_has_a_plan_is_settled_with_what_is_known_of_it() {
    let (gateway, books) = gateway(1);
    let mut expected = Vec::new();
    for (body, model, label, line) in [
        ("{", "", Label::Public, "refused 400: "),
        (&*body("nobody", "hi"), "nobody", Label::Public, "refused 404: "),
        (&*body("task/nothing", "hi"), "task/nothing", Label::Public, "refused 404: "),
        (&*body("nobody", "jane.doe@example.com"), "nobody", Label::Confidential, "refused 404: "),
        (&*body("task/chat", "jane.doe@example.com"), "task/chat", Label::Confidential, "refused 409: "),
    ] {
        let got =
            read(gateway.answer(openai::CHAT, body.to_owned().into(), with_key("DESK_KEY")).await).await;
        expected.push((got.request_id, model.to_owned(), label, line.to_owned()));
    }
    let too_large = ApiError::new(ErrorCode::TooLarge, "request_too_large", "the body is too large");
    let got = read(gateway.refuse(openai::CHAT, with_key("DESK_KEY"), too_large).await).await;
    assert_eq!((got.status, got.slug), (413, "request_too_large"));
    expected.push((got.request_id, String::new(), Label::Public, "refused 413: ".to_owned()));
    {
        let hanging = gateway.answer(openai::CHAT, body("task/chat", "wait").into(), Hints::default());
        let mut hanging = std::pin::pin!(hanging);
        assert!(futures_util::poll!(hanging.as_mut()).is_pending());
        let got = gateway.answer(openai::CHAT, stream_body("task/chat", "hi").into(), with_key("DESK_KEY"));
        let got = read(got.await).await;
        expected.push((got.request_id, String::new(), Label::Public, "refused 429: ".to_owned()));
    }
    let settled = settled(&books).await;
    let found: Vec<_> = settled
        .iter()
        .filter(|request| request.outcome == RequestOutcome::Refused)
        .map(|request| {
            assert_eq!(request.caller.as_deref(), Some("DESK_KEY"));
            (request.request_id, request.requested_model.clone(), request.label, told(request))
        })
        .collect();
    assert_eq!(found, expected);
    assert_eq!(told(settled.last().unwrap()), "cancelled 499: mid cancelled");
}

/// Passes on what it sees.
struct Forward(SyncSender<FinishedRequest>);

impl Observer for Forward {
    fn observe(&mut self, finished: &FinishedRequest) {
        self.0.send(finished.clone()).unwrap();
    }
}

/// Waits for a word before it looks at the next request.
struct Slow(Receiver<()>);

impl Observer for Slow {
    fn observe(&mut self, _: &FinishedRequest) {
        let _ = self.0.recv();
    }
}

struct Broken;

impl Observer for Broken {
    fn observe(&mut self, _: &FinishedRequest) {
        panic!("this observer is broken");
    }
}

async fn ask(gateway: &Gateway) {
    gateway.answer(openai::CHAT, body("task/chat", "hi").into(), Hints::default()).await;
}

#[tokio::test]
async fn an_observer_sees_every_finished_request_also_beside_a_broken_one() {
    let (gateway, books) = gateway(8);
    let (told, seen) = sync_channel(16);
    let observers: Vec<Box<dyn Observer>> = vec![Box::new(Broken), Box::new(Forward(told))];
    let gateway = gateway.observed_by(Observers::start(observers, 16).unwrap());
    for _ in 0..3 {
        ask(&gateway).await;
    }
    gateway.answer(openai::CHAT, "{".into(), Hints::default()).await;
    let seen: Vec<_> = (0..4).map(|_| seen.recv_timeout(PATIENCE).unwrap().settlement).collect();
    assert_eq!(seen, settled(&books).await);
    assert_eq!(gateway.unobserved(), 0);
}

#[tokio::test]
async fn an_observer_that_falls_behind_delays_nobody_and_what_it_misses_is_counted() {
    let (gateway, books) = gateway(8);
    let (go, wait) = sync_channel(64);
    let (told, seen) = sync_channel(64);
    let observers: Vec<Box<dyn Observer>> = vec![Box::new(Slow(wait)), Box::new(Forward(told))];
    let gateway = gateway.observed_by(Observers::start(observers, 2).unwrap());
    for _ in 0..20 {
        ask(&gateway).await;
    }
    assert_eq!(settled(&books).await.len(), 20);
    // One is being looked at, or was not yet taken from the queue, which has two places.
    let missed = gateway.unobserved();
    assert!((17..=18).contains(&missed), "{missed}");
    (0..64).for_each(|_| go.send(()).unwrap());
    drop(gateway);
    assert_eq!(seen.iter().count() as u64, 20 - missed, "what was in the queue is seen before the end");
}
