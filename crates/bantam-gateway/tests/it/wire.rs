//! What passes beside the dialect: parameters and headers of callers on the way there, ids and limits on the way back,
//! and which rung is asked after a refusal.

use std::sync::Arc;
use std::time::Duration;

use bantam_books::{BooksReader, MemoryBooks, RequestFilter, block_on};
use bantam_gateway::{AdmissionLimits, Deployment, Gateway, Hints, Rung};
use bantam_remote::{Dialect, RemoteModel, Upstream, UpstreamSettings, WireSettings};
use bantam_simulate::{Behaviour, SimulatedUpstream, StreamEnd, completion_body, completion_events};
use bantam_types::{RateLimit, Settlement, Tier};
use bantam_wire::{DecodeLimits, Envelope, PassedHeader, TraceContext, openai};
use serde_json::json;

use crate::support::{Got, deployment, open_task, read, remote_with, rung, told, upstream_settings};

async fn good() -> SimulatedUpstream {
    SimulatedUpstream::start(|_| Behaviour::ok(completion_body("m", "yes", 1, 1))).await.unwrap()
}

/// A gateway whose task `chat` has this ladder.
struct Bench {
    gateway: Gateway,
    books: Arc<MemoryBooks>,
}

impl Bench {
    fn new(ladder: Vec<Rung>, change: impl Fn(Deployment) -> Deployment) -> Self {
        let ladder = ladder.into_iter().map(Arc::new).collect();
        let books = Arc::new(MemoryBooks::new());
        let limits = AdmissionLimits { running_max: 64, waiting_max: 64 };
        let deployment = change(deployment(vec![open_task("chat", ladder)], vec![]));
        let gateway = Gateway::new(deployment, Arc::<MemoryBooks>::clone(&books), limits, 7);
        Self { gateway, books }
    }

    async fn ask(&self, more: serde_json::Value, envelope: Envelope) -> (Got, Settlement) {
        let mut body = json!({"model": "task/chat", "messages": [{"role": "user", "content": "hi"}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let hints = Hints { envelope, ..Hints::default() };
        let got = read(self.gateway.answer(openai::CHAT, body.to_string().into(), hints).await).await;
        let filter = RequestFilter { request_id: Some(got.request_id), ..RequestFilter::default() };
        let page = block_on(self.books.requests(filter, None, 2)).unwrap();
        let [settlement] = &*page.requests else { panic!("it was not settled once: {page:?}") };
        (got, settlement.clone())
    }
}

fn knowing(fields: &'static [&'static str]) -> impl Fn(Deployment) -> Deployment {
    move |deployment| {
        let vendor_fields = fields.iter().map(ToString::to_string).collect();
        Deployment { decode_limits: DecodeLimits { vendor_fields, ..DecodeLimits::default() }, ..deployment }
    }
}

fn listing(upstream: &SimulatedUpstream, dialect: Dialect, fields: &[&str]) -> UpstreamSettings {
    let fields = fields.iter().map(ToString::to_string).collect();
    let wire = WireSettings { fields, ..WireSettings::default() };
    UpstreamSettings { dialect, wire, ..upstream_settings(&upstream.base_url()) }
}

#[tokio::test]
async fn a_parameter_of_a_provider_s_own_reaches_the_upstreams_that_list_it_and_no_others() {
    let (plain, listed) = (good().await, good().await);
    let ladder = vec![
        rung("plain", remote_with(listing(&plain, Dialect::OpenAi, &[]), Tier::Mid)),
        rung(
            "listed",
            remote_with(listing(&listed, Dialect::OpenAi, &["top_k", "provider"]), Tier::Frontier),
        ),
    ];
    let bench = Bench::new(ladder, knowing(&["top_k", "provider"]));
    let more = json!({"top_k": 20, "provider": {"order": ["a"]}});
    let (got, settlement) = bench.ask(more, Envelope::default()).await;
    assert_eq!((got.status, told(&settlement).as_str()), (200, "answered 200: listed accepted"));
    assert_eq!(plain.count(), 0);
    let sent = listed.received()[0].json();
    assert_eq!((&sent["top_k"], &sent["provider"]), (&json!(20), &json!({"order": ["a"]})));
}

#[tokio::test]
async fn a_parameter_that_nobody_lists_is_refused_by_name_with_the_setting() {
    let upstream = good().await;
    let remote = |fields| remote_with(listing(&upstream, Dialect::OpenAi, fields), Tier::Mid);
    let unknown = Bench::new(vec![rung("mid", remote(&["min_p"]))], knowing(&["min_p"]));
    let (got, _) = unknown.ask(json!({"top_k": 20}), Envelope::default()).await;
    assert_eq!((got.status, got.slug, got.param.as_deref()), (400, "unknown_parameter", Some("top_k")));
    assert!(got.message.contains("`fields`"), "{}", got.message);
    let elsewhere = Bench::new(vec![rung("mid", remote(&[]))], knowing(&["top_k"]));
    let (got, _) = elsewhere.ask(json!({"top_k": 20}), Envelope::default()).await;
    assert_eq!((got.status, got.slug), (400, "unsupported_parameter"));
    assert!(got.message.contains("`top_k` is not among the `fields`"), "{}", got.message);
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn a_listed_parameter_is_scanned_like_the_rest() {
    let upstream = good().await;
    let settings = listing(&upstream, Dialect::OpenAi, &["notes"]);
    let bench = Bench::new(vec![rung("mid", remote_with(settings, Tier::Mid))], knowing(&["notes"]));
    let (got, _) = bench.ask(json!({"notes": {"card": "4111 1111 1111 1111"}}), Envelope::default()).await;
    assert_eq!((got.status, got.slug, upstream.count()), (409, "sensitive_request", 0));
}

#[tokio::test]
async fn listed_parameters_reach_anthropics_api_unless_they_say_twice_what_it_is_told() {
    let answer =
        json!({"type": "message", "stop_reason": "end_turn", "content": [{"type": "text", "text": "yes"}],
        "usage": {"input_tokens": 1, "output_tokens": 1}})
        .to_string();
    let upstream = SimulatedUpstream::start(move |_| Behaviour::ok(answer.clone())).await.unwrap();
    let settings = listing(&upstream, Dialect::Anthropic, &["top_k", "system"]);
    let bench =
        Bench::new(vec![rung("mid", remote_with(settings, Tier::Mid))], knowing(&["top_k", "system"]));
    let (got, _) = bench.ask(json!({"top_k": 20}), Envelope::default()).await;
    assert_eq!((got.status, &upstream.received()[0].json()["top_k"]), (200, &json!(20)));
    let system = json!({"system": "x", "messages": [{"role": "system", "content": "y"}, {"role": "user", "content": "z"}]});
    let (got, _) = bench.ask(system, Envelope::default()).await;
    assert_eq!(got.status, 400);
    assert!(got.message.contains("`system` is written from other parameters"), "{}", got.message);
}

fn header(name: &str, value: &str) -> PassedHeader {
    PassedHeader { name: name.to_owned(), value: value.to_owned() }
}

#[tokio::test]
async fn a_header_that_is_passed_on_labels_the_request_and_a_state_with_a_finding_is_left_out() {
    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let upstream = good().await;
    let wire = WireSettings {
        forward_headers: vec!["x-tenant".to_owned()],
        trace_context: true,
        ..WireSettings::default()
    };
    let settings = UpstreamSettings { wire, ..upstream_settings(&upstream.base_url()) };
    let bench = Bench::new(vec![rung("mid", remote_with(settings, Tier::Mid))], |deployment| deployment);
    let trace = |state: &str| TraceContext::read(PARENT, &[state]);
    let envelope = Envelope { trace: trace("vendor=1"), headers: vec![header("x-tenant", "blue")] };
    let (got, _) = bench.ask(json!({}), envelope).await;
    let head = upstream.received()[0].head.to_ascii_lowercase();
    assert_eq!(got.status, 200);
    for line in [&format!("traceparent: {PARENT}"), "tracestate: vendor=1", "x-tenant: blue"] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "no {line} in {head}");
    }
    let secret = Envelope { trace: None, headers: vec![header("x-tenant", "card 4111 1111 1111 1111")] };
    let (got, settlement) = bench.ask(json!({}), secret).await;
    assert_eq!((got.status, got.slug, upstream.count()), (409, "sensitive_request", 1));
    assert!(settlement.attempts.is_empty());
    let state = Envelope { trace: trace("card=4111 1111 1111 1111"), headers: Vec::new() };
    let (got, _) = bench.ask(json!({}), state).await;
    let head = upstream.received()[1].head.to_ascii_lowercase();
    assert_eq!(got.status, 200);
    assert!(head.contains("traceparent") && !head.contains("tracestate"), "{head}");
}

#[tokio::test]
async fn ids_and_limits_of_answers_and_failures_are_kept() {
    let headers = || {
        ["x-request-id: req_1", "x-ratelimit-limit-requests: 9", "x-ratelimit-remaining-requests: 8"]
            .map(str::to_owned)
            .to_vec()
    };
    let answer =
        |status, body: String| Behaviour::Answer { status, headers: headers(), body, delay: Duration::ZERO };
    let stream = |events: &str| {
        let lines = headers().join("\r\n");
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{lines}\r\n\r\n");
        Behaviour::Raw(format!("{head}{events}").into_bytes())
    };
    let mut events: String =
        completion_events("m", "yes", 1, 1).iter().map(|event| format!("data: {event}\n\n")).collect();
    events.push_str("data: [DONE]\n\n");
    for (behaviour, streamed) in [
        (answer(200, completion_body("m", "yes", 1, 1)), false),
        (answer(200, "garbage".to_owned()), false),
        (answer(429, "{}".to_owned()), false),
        (answer(500, "{}".to_owned()), true),
        (stream(&events), true),
        (stream(&events[..events.len() / 2]), true),
    ] {
        let shown = format!("{behaviour:?}");
        let upstream = SimulatedUpstream::start(move |_| behaviour.clone()).await.unwrap();
        let remote = remote_with(upstream_settings(&upstream.base_url()), Tier::Mid);
        let bench = Bench::new(vec![rung("mid", remote)], |deployment| deployment);
        let (_, settlement) = bench.ask(json!({"stream": streamed}), Envelope::default()).await;
        let [attempt] = &*settlement.attempts else { panic!("{settlement:?}") };
        let limit = RateLimit { limit: Some(9), remaining: Some(8), resets_in_ms: None };
        assert_eq!(attempt.upstream_request_id.as_deref(), Some("req_1"), "{shown}");
        assert_eq!(attempt.rate_limits.map(|limits| limits.requests), Some(limit), "{shown}");
    }
}

#[tokio::test]
async fn a_stream_whose_upstream_takes_no_stream_options_is_answered_and_has_no_price() {
    let upstream = SimulatedUpstream::start(|received| {
        if received.json()["stream_options"].is_null() {
            let mut events = completion_events("m", "yes", 1, 1);
            // Its usage was not asked for.
            events.pop();
            return Behaviour::events(events, StreamEnd::Done);
        }
        let body = r#"{"error":{"message":"Unknown parameter: 'stream_options'.","param":"stream_options","code":"unknown_parameter"}}"#;
        Behaviour::Answer { status: 400, headers: Vec::new(), body: body.to_owned(), delay: Duration::ZERO }
    })
    .await
    .unwrap();
    let bench = Bench::new(
        vec![rung("mid", remote_with(upstream_settings(&upstream.base_url()), Tier::Mid))],
        |deployment| deployment,
    );
    let (got, settlement) = bench.ask(json!({"stream": true}), Envelope::default()).await;
    assert_eq!((got.status, &*got.text), (200, "yes"));
    let [attempt] = &*settlement.attempts else { panic!("{settlement:?}") };
    assert_eq!((attempt.retries, attempt.cost, attempt.usage), (1, None, None));
}

/// A rung of an upstream that refuses everything like this.
fn refusing(
    upstream: &Arc<Upstream>,
    name: &str,
    model: &str,
    tier: Tier,
    context_tokens: Option<u64>,
) -> Rung {
    let backend = RemoteModel::new(Arc::clone(upstream), model.to_owned(), tier).unwrap();
    Rung { model: model.into(), context_tokens, ..rung(name, Arc::new(backend)) }
}

async fn upstream_of(behaviour: Behaviour) -> (SimulatedUpstream, Arc<Upstream>) {
    let simulated = SimulatedUpstream::start(move |_| behaviour.clone()).await.unwrap();
    let upstream = Upstream::new(upstream_settings(&simulated.base_url())).unwrap();
    (simulated, Arc::new(upstream))
}

#[tokio::test]
async fn a_refusal_climbs_only_to_rungs_that_may_take_the_request() {
    let long = r#"{"error":{"message":"x","code":"context_length_exceeded"}}"#;
    let filter = r#"{"error":{"message":"x","code":"content_filter"}}"#;
    let image =
        r#"{"error":{"message":"this model does not support image input","type":"invalid_request_error"}}"#;
    let invalid =
        r#"{"error":{"message":"messages.1: roles must alternate","type":"invalid_request_error"}}"#;
    let (refused, accepted) = ("refused 400: first failed", "answered 200: first failed");
    for (body, same_upstream, same_model, contexts, expected) in [
        (long, false, false, (Some(100), Some(200)), accepted),
        (long, false, false, (Some(200), Some(100)), refused),
        (long, false, false, (Some(200), Some(200)), refused),
        (long, false, false, (Some(200), None), accepted),
        (long, true, true, (None, None), refused),
        (filter, false, true, (None, None), accepted),
        (filter, true, false, (None, None), refused),
        (image, true, false, (None, None), accepted),
        (image, false, true, (None, None), accepted),
        (image, true, true, (None, None), refused),
        (invalid, false, false, (None, None), refused),
        (invalid, true, false, (None, None), refused),
        ("<html>Bad Request</html>", false, false, (None, None), accepted),
        ("{}", false, false, (None, None), accepted),
    ] {
        let behaviour = Behaviour::Answer {
            status: 400,
            headers: Vec::new(),
            body: body.to_owned(),
            delay: Duration::ZERO,
        };
        let asked_first = std::sync::atomic::AtomicBool::new(true);
        let simulated = SimulatedUpstream::start(move |_| {
            match asked_first.swap(false, std::sync::atomic::Ordering::Relaxed) {
                true => behaviour.clone(),
                false => Behaviour::ok(completion_body("m", "yes", 1, 1)),
            }
        })
        .await
        .unwrap();
        let first = Arc::new(Upstream::new(upstream_settings(&simulated.base_url())).unwrap());
        let (_other, second) = upstream_of(Behaviour::ok(completion_body("m", "yes", 1, 1))).await;
        let second = if same_upstream { &first } else { &second };
        let ladder = vec![
            refusing(&first, "first", "small", Tier::Mid, contexts.0),
            refusing(
                second,
                "second",
                if same_model { "small" } else { "large" },
                Tier::Frontier,
                contexts.1,
            ),
        ];
        let bench = Bench::new(ladder, |deployment| deployment);
        let (got, settlement) = bench.ask(json!({}), Envelope::default()).await;
        let shown =
            format!("{body} same upstream {same_upstream}, same model {same_model}, {contexts:?}: {got:?}");
        assert!(told(&settlement).starts_with(expected), "{} for {shown}", told(&settlement));
        let has_climbed = settlement.attempts.len() == 2;
        assert_eq!(has_climbed, expected == accepted, "{shown}");
    }
}

#[tokio::test]
async fn a_translation_that_is_refused_says_nothing_of_the_request() {
    let body = r#"{"type":"error","error":{"type":"invalid_request_error","message":"x"}}"#;
    let behaviour =
        Behaviour::Answer { status: 400, headers: Vec::new(), body: body.to_owned(), delay: Duration::ZERO };
    let refusing = SimulatedUpstream::start(move |_| behaviour.clone()).await.unwrap();
    let above = good().await;
    let settings = listing(&refusing, Dialect::Anthropic, &[]);
    let ladder = vec![
        rung("claude", remote_with(settings, Tier::Mid)),
        rung("gpt", remote_with(upstream_settings(&above.base_url()), Tier::Frontier)),
    ];
    let (got, settlement) =
        Bench::new(ladder, |deployment| deployment).ask(json!({}), Envelope::default()).await;
    assert_eq!(got.status, 200, "{}", told(&settlement));
}
