//! Headers beside the API's own: fixed ones, those that are passed on, and what Bantam calls itself.

use bantam_backend::Backend;
use bantam_privacy::{Cleared, PrivacyPolicy, Scanned, Scanner, ScannerConfig};
use bantam_remote::{Dialect, JsonClient, Upstream, UpstreamSettings, WireSettings};
use bantam_simulate::{Behaviour, completion_body};
use bantam_types::{Label, Tier};
use bantam_wire::{DecodeLimits, Envelope, PassedHeader, TraceContext, openai};

use crate::support::{HI, ask, model, settings, start};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn enveloped() -> Cleared {
    let header = |name: &str, value: &str| PassedHeader { name: name.to_owned(), value: value.to_owned() };
    let envelope = Envelope {
        trace: TraceContext::read(PARENT, &["vendor=1"]),
        headers: vec![
            header("x-tenant", "blue"),
            header("x-tenant", "green"),
            header("x-other", "unlisted"),
            header("anthropic-beta", "b1"),
        ],
    };
    let scanner = Scanner::new(&ScannerConfig { dictionary: Vec::new() }).unwrap();
    let limits = DecodeLimits::default();
    let scanned = Scanned::decode_enveloped(openai::CHAT, HI.into(), envelope, &limits, &scanner).unwrap();
    let policy = PrivacyPolicy { mid_max: Label::Restricted, frontier_max: Label::Restricted };
    policy.clear(&scanned, Tier::Frontier).unwrap()
}

/// Returns the head of a request to an upstream of that kind, in lower case, without its first line.
async fn head(dialect: Dialect, wire: WireSettings) -> Vec<String> {
    let upstream = start(|_| Behaviour::ok(completion_body("m", "x", 1, 1))).await;
    let settings = UpstreamSettings { dialect, wire, ..settings(&upstream.base_url()) };
    let _ = model(settings).answer(enveloped(), ask(false)).await;
    let head = upstream.received().remove(0).head.to_ascii_lowercase();
    head.lines().skip(1).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[track_caller]
fn check(head: &[String], present: &[&str], absent: &[&str]) {
    for line in present {
        assert!(head.iter().any(|known| known == line), "no `{line}` in {head:?}");
    }
    for name in absent {
        assert!(!head.iter().any(|known| known.starts_with(&format!("{name}:"))), "`{name}` in {head:?}");
    }
}

#[tokio::test]
async fn by_default_nothing_of_the_callers_headers_is_passed_on() {
    let head = head(Dialect::OpenAi, WireSettings::default()).await;
    let agent = format!("user-agent: bantam/{}", env!("CARGO_PKG_VERSION"));
    check(&head, &[&agent], &["x-tenant", "x-other", "traceparent", "tracestate", "anthropic-beta"]);
}

#[tokio::test]
async fn fixed_headers_stand_on_every_request_and_listed_ones_of_the_caller_are_passed_on() {
    let wire = WireSettings {
        headers: vec![
            ("http-referer".to_owned(), "https://chat.example.com".to_owned()),
            ("x-tenant".to_owned(), "default".to_owned()),
            ("user-agent".to_owned(), "mine/1".to_owned()),
        ],
        forward_headers: vec!["x-tenant".to_owned()],
        trace_context: true,
        ..WireSettings::default()
    };
    let head = head(Dialect::OpenAi, wire).await;
    let parent = format!("traceparent: {PARENT}");
    let expected = [
        "http-referer: https://chat.example.com",
        "x-tenant: blue",
        "x-tenant: green",
        "user-agent: mine/1",
        "tracestate: vendor=1",
        &parent,
    ];
    check(&head, &expected, &["x-other"]);
    assert!(!head.iter().any(|line| line.contains("default")), "the caller's counts: {head:?}");
}

#[tokio::test]
async fn anthropics_own_headers_can_be_set_and_passed_on() {
    let plain = head(Dialect::Anthropic, WireSettings::default()).await;
    check(&plain, &["anthropic-version: 2023-06-01"], &["anthropic-beta"]);
    let wire = WireSettings {
        headers: vec![("anthropic-version".to_owned(), "2099-01-01".to_owned())],
        forward_headers: vec!["anthropic-beta".to_owned()],
        ..WireSettings::default()
    };
    let head = head(Dialect::Anthropic, wire).await;
    check(&head, &["anthropic-version: 2099-01-01", "anthropic-beta: b1"], &[]);
    assert_eq!(head.iter().filter(|line| line.starts_with("anthropic-version:")).count(), 1);
}

#[tokio::test]
async fn small_requests_say_who_asks_too() {
    let upstream = start(|_| Behaviour::ok("{}".to_owned())).await;
    let client = JsonClient::new(crate::support::PATIENCE).unwrap();
    client.get(&upstream.base_url(), None).await.unwrap();
    assert!(upstream.received()[0].head.to_ascii_lowercase().contains("\r\nuser-agent: bantam/"));
}

#[test]
fn a_header_that_cannot_be_sent_is_refused_before_any_call() {
    for (name, value) in [("x y", "a"), ("x", "a\r\nb: c"), ("", "a")] {
        let headers = vec![(name.to_owned(), value.to_owned())];
        let wire = WireSettings { headers, ..WireSettings::default() };
        let error = Upstream::new(UpstreamSettings { wire, ..settings("http://127.0.0.1:1") }).err().unwrap();
        assert!(error.to_string().contains("not a header that can be sent"), "{error}");
    }
}
