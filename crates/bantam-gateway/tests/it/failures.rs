//! What is known of a failure, as the caller and the books have it: one table, plain and streamed, of upstreams of both dialects.

use std::sync::Arc;
use std::time::Duration;

use bantam_books::{BooksReader, MemoryBooks, RequestFilter, block_on};
use bantam_gateway::{AdmissionLimits, Gateway, Hints};
use bantam_remote::{Dialect, UpstreamSettings};
use bantam_simulate::{Behaviour, SimulatedUpstream, StreamEnd, completion_body, completion_events};
use bantam_types::{FaultKind, Settlement, Tier, Usd};
use bantam_wire::openai;

use crate::support::{
    Got, body, deployment, open_task, read, remote_with, rung, stream_body, upstream_settings,
};

/// Words of upstreams that no caller may read.
const SECRET: &str = "words-of-the-upstream";

/// A gateway over one upstream, with books in memory.
struct Bench {
    gateway: Gateway,
    books: Arc<MemoryBooks>,
    upstream: SimulatedUpstream,
}

impl Bench {
    async fn new(behaviour: impl Fn(u64) -> Behaviour + Send + Sync + 'static) -> Self {
        Self::with(behaviour, |settings| settings).await
    }

    async fn with(
        behaviour: impl Fn(u64) -> Behaviour + Send + Sync + 'static,
        change: impl Fn(UpstreamSettings) -> UpstreamSettings,
    ) -> Self {
        let upstream = SimulatedUpstream::start(move |received| behaviour(received.number)).await.unwrap();
        let settings = change(upstream_settings(&upstream.base_url()));
        let books = Arc::new(MemoryBooks::new());
        let ladder = vec![Arc::new(rung("mid", remote_with(settings, Tier::Mid)))];
        let limits = AdmissionLimits { running_max: 64, waiting_max: 64 };
        let deployment = deployment(vec![open_task("chat", ladder)], vec![]);
        let gateway = Gateway::new(deployment, Arc::<MemoryBooks>::clone(&books), limits, 7);
        Self { gateway, books, upstream }
    }

    async fn ask(&self, stream: bool, earlier_tries: u32) -> (Got, Settlement) {
        let body = if stream { stream_body("task/chat", "hi") } else { body("task/chat", "hi") };
        let hints = Hints { earlier_tries, ..Hints::default() };
        let got = read(self.gateway.answer(openai::CHAT, body.into(), hints).await).await;
        let filter = RequestFilter { request_id: Some(got.request_id), ..RequestFilter::default() };
        let page = block_on(self.books.requests(filter, None, 2)).unwrap();
        let [settlement] = &*page.requests else { panic!("it was not settled once: {page:?}") };
        (got, settlement.clone())
    }
}

fn error(status: u16, headers: &[&str], body: &str) -> Behaviour {
    Behaviour::Answer {
        status,
        headers: headers.iter().map(ToString::to_string).collect(),
        body: body.replace("WORDS", SECRET),
        delay: Duration::ZERO,
    }
}

/// What the caller is told: status, word, pause, whether to repeat.
type Told = (u16, &'static str, Option<u32>, Option<bool>);
/// What the books hold: kind, status of the upstream, and whether the cost is known to be nothing.
type Kept = (FaultKind, Option<u16>, bool);

async fn check(behaviour: Behaviour, told: Told, kept: Kept) {
    for (stream, dialect) in [
        (false, Dialect::OpenAi),
        (true, Dialect::OpenAi),
        (false, Dialect::Anthropic),
        (true, Dialect::Anthropic),
    ] {
        let script = {
            let behaviour = behaviour.clone();
            move |_| behaviour.clone()
        };
        let bench = Bench::with(script, |settings| UpstreamSettings { dialect, ..settings }).await;
        let (got, settlement) = bench.ask(stream, 0).await;
        let shown = format!("{dialect:?} stream {stream}: {behaviour:?} {got:?}");
        assert_eq!((got.status, got.slug, got.retry_after_s, got.should_retry), told, "{shown}");
        assert!(!got.message.contains(SECRET), "{shown}");
        let [attempt] = &*settlement.attempts else { panic!("{settlement:?}") };
        let free = attempt.cost == Some(Usd::ZERO);
        assert!(free || attempt.cost.is_none(), "{shown}");
        assert_eq!((attempt.fault.unwrap(), attempt.upstream_status, free), kept, "{shown}");
        // A stream that is refused for no known reason is tried once without `stream_options`.
        let is_guessed =
            stream && dialect == Dialect::OpenAi && attempt.fault == Some(FaultKind::RequestRefused);
        let calls = if is_guessed { 2 } else { 1 };
        assert_eq!((settlement.status, bench.upstream.count()), (got.status, calls), "{shown}");
    }
}

#[tokio::test]
async fn a_request_that_is_at_fault_is_told_so_and_not_repeated() {
    use FaultKind::{ContentFilter, ContextLength, RequestRefused, RequestTooLarge};

    let no = Some(false);
    let too_long: Told = (400, "context_length_exceeded", None, no);
    for (status, body) in [
        (
            400,
            r#"{"error":{"message":"This model's maximum context length is 8192 tokens. WORDS","code":"context_length_exceeded"}}"#,
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens > 8 maximum WORDS"}}"#,
        ),
        (
            400,
            r#"{"object":"error","message":"maximum context length is 4096 tokens WORDS","type":"BadRequestError","code":400}"#,
        ),
        (400, r#"{"error":{"code":400,"message":"WORDS","type":"exceed_context_size_error"}}"#),
        (413, r#"{"error":{"code":"tokens_limit_reached","message":"WORDS"}}"#),
        (500, r#"{"error":{"message":"Requested tokens (9) exceed context window of 8 WORDS"}}"#),
    ] {
        check(error(status, &[], body), too_long, (ContextLength, Some(status), true)).await;
    }
    let filtered: Told = (400, "content_filter", None, no);
    for (status, body) in [
        (
            400,
            r#"{"error":{"message":"WORDS","code":"content_filter","innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#,
        ),
        (400, r#"{"error":{"message":"WORDS","code":"content_policy_violation"}}"#),
        (403, r#"{"error":{"code":403,"message":"requires moderation WORDS"}}"#),
    ] {
        check(error(status, &[], body), filtered, (ContentFilter, Some(status), false)).await;
    }
    let refused: Told = (400, "upstream_refused_request", None, no);
    for (status, body) in [
        (400, r#"{"error":{"message":"WORDS","type":"invalid_request_error","param":"WORDS","code":null}}"#),
        (400, "WORDS"),
        (400, ""),
        (422, r#"{"detail":[{"loc":["body"],"msg":"WORDS"}]}"#),
    ] {
        check(error(status, &[], body), refused, (RequestRefused, Some(status), true)).await;
    }
    let too_large: Told = (413, "upstream_request_too_large", None, no);
    for (status, body) in [
        (413, r#"{"type":"error","error":{"type":"request_too_large","message":"WORDS"}}"#),
        (413, "<html>WORDS</html>"),
        (429, r#"{"error":{"message":"Request too large for gpt-5 WORDS","code":"rate_limit_exceeded"}}"#),
    ] {
        check(error(status, &["retry-after: 7"], body), too_large, (RequestTooLarge, Some(status), true))
            .await;
    }
}

#[tokio::test]
async fn a_limit_is_told_with_its_pause_and_a_quota_is_not_repeated() {
    use FaultKind::{Overloaded, QuotaUsedUp, RateLimited};

    let yes = Some(true);
    for (headers, pause) in [
        (&["retry-after: 7"][..], Some(7)),
        (&["retry-after: 6.2"], Some(7)),
        (&["retry-after-ms: 6100"], Some(7)),
        (&["retry-after-ms: 6100", "retry-after: 90"], Some(7)),
        (&["date: Tue, 01 Dec 2026 10:00:00 GMT", "retry-after: Tue, 01 Dec 2026 10:00:07 GMT"], Some(7)),
        (&["retry-after: soon"], None),
        (&[], None),
    ] {
        let limited: Told = (429, "rate_limit_exceeded", pause, yes);
        let body = r#"{"error":{"message":"WORDS","code":"rate_limit_exceeded"}}"#;
        check(error(429, headers, body), limited, (RateLimited, Some(429), true)).await;
        for status in [503, 529] {
            let overloaded: Told = (503, "upstream_overloaded", pause, yes);
            check(error(status, headers, "WORDS"), overloaded, (Overloaded, Some(status), true)).await;
        }
    }
    let delay = r#"[{"error":{"code":429,"message":"You exceeded your current quota WORDS","status":"RESOURCE_EXHAUSTED","details":[{"retryDelay":"6.5s"}]}}]"#;
    check(error(429, &[], delay), (429, "rate_limit_exceeded", Some(7), yes), (RateLimited, Some(429), true))
        .await;
    // SDKs do not wait for longer than a minute, and would come back at once.
    let long = error(429, &["retry-after: 61"], "{}");
    check(long, (429, "rate_limit_exceeded", Some(61), Some(false)), (RateLimited, Some(429), true)).await;
    let minute = error(429, &["retry-after: 60"], "{}");
    check(minute, (429, "rate_limit_exceeded", Some(60), yes), (RateLimited, Some(429), true)).await;
    // The upstream itself says whether it makes sense.
    let last = error(429, &["x-should-retry: false", "retry-after: 7"], "{}");
    check(last, (429, "rate_limit_exceeded", Some(7), Some(false)), (RateLimited, Some(429), true)).await;
    let used_up: Told = (429, "insufficient_quota", None, Some(false));
    for (status, body) in [
        (429, r#"{"error":{"message":"WORDS","type":"insufficient_quota","code":"insufficient_quota"}}"#),
        (402, r#"{"error":{"message":"Insufficient credits WORDS","code":402}}"#),
        (402, ""),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low WORDS"}}"#,
        ),
    ] {
        check(error(status, &["retry-after: 7"], body), used_up, (QuotaUsedUp, Some(status), true)).await;
    }
}

#[tokio::test]
async fn what_only_the_operator_can_mend_is_not_repeated() {
    use FaultKind::{Forbidden, KeyRefused, ModelNotFound, UnexpectedStatus};

    for (status, slug, kind) in [
        (401, "upstream_key_refused", KeyRefused),
        (403, "upstream_forbidden", Forbidden),
        (404, "upstream_model_not_found", ModelNotFound),
        (302, "upstream_failed", UnexpectedStatus),
        (307, "upstream_failed", UnexpectedStatus),
        (418, "upstream_failed", UnexpectedStatus),
    ] {
        let behaviour = error(status, &["location: /WORDS"], r#"{"error":{"message":"WORDS"}}"#);
        check(behaviour, (502, slug, None, Some(false)), (kind, Some(status), true)).await;
    }
}

#[tokio::test]
async fn what_may_have_been_billed_is_unpriced_and_left_to_the_caller() {
    use FaultKind::{Broken, ErrorBody, FirstByteTimeout, Garbage, NotHttp, ServerError, UpstreamTimeout};

    let failed = |should| (502, "upstream_failed", None, should);
    for status in [500, 502, 520] {
        check(error(status, &[], "WORDS"), failed(Some(true)), (ServerError, Some(status), false)).await;
    }
    let late: Told = (504, "upstream_timeout", None, Some(true));
    check(error(504, &[], "WORDS"), late, (UpstreamTimeout, Some(504), false)).await;
    check(Behaviour::Close, failed(Some(true)), (Broken, None, false)).await;
    check(Behaviour::Hang, (504, "upstream_timeout", None, None), (FirstByteTimeout, None, false)).await;
    check(Behaviour::Raw(b"\0\0\x06\x04".to_vec()), failed(Some(false)), (NotHttp, None, false)).await;
    check(Behaviour::ok(SECRET.to_owned()), failed(None), (Garbage, None, false)).await;
    check(
        error(200, &[], r#"{"type":"error","error":{"message":"WORDS"}}"#),
        failed(None),
        (ErrorBody, Some(200), false),
    )
    .await;
    let overloaded = r#"{"type":"error","error":{"type":"overloaded_error","message":"WORDS"}}"#;
    let told: Told = (503, "upstream_overloaded", None, Some(true));
    check(error(200, &[], overloaded), told, (FaultKind::Overloaded, Some(200), false)).await;
    let limited = r#"{"type":"error","error":{"code":429,"message":"WORDS"}}"#;
    let told: Told = (429, "rate_limit_exceeded", None, Some(true));
    check(error(200, &[], limited), told, (FaultKind::RateLimited, Some(429), true)).await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_with_an_error_keeps_its_kind() {
    let mut events = completion_events("m", "a b", 1, 1)[..2].to_vec();
    events.push(format!(r#"{{"error":{{"type":"overloaded_error","message":"{SECRET}"}}}}"#));
    let bench = Bench::new(move |_| Behaviour::events(events.clone(), StreamEnd::Done)).await;
    let (got, settlement) = bench.ask(true, 0).await;
    assert_eq!(got.json["error"]["code"], "stream_broken");
    assert!(!got.json.to_string().contains(SECRET));
    let attempt = &settlement.attempts[0];
    assert_eq!((attempt.fault, attempt.cost), (Some(FaultKind::Overloaded), None));
}

/// Returns the attempts in words: `server_error ?, accepted 0.00001`.
fn rows(settlement: &Settlement) -> Vec<String> {
    settlement
        .attempts
        .iter()
        .map(|attempt| {
            let what = attempt.fault.map_or(attempt.outcome.as_str(), FaultKind::as_str);
            let cost = attempt.cost.map_or("?".to_owned(), |cost| cost.to_string());
            format!("{what} {cost} +{}", attempt.retries)
        })
        .collect()
}

#[tokio::test]
async fn a_repeat_of_what_was_sent_is_an_attempt_of_its_own_and_only_where_it_is_allowed() {
    for failure in [Behaviour::Close, Behaviour::status(500), Behaviour::status(504)] {
        let kind = match &failure {
            Behaviour::Close => "broken",
            Behaviour::Answer { status: 504, .. } => "upstream_timeout",
            _ => "server_error",
        };
        for stream in [false, true] {
            let script = {
                let failure = failure.clone();
                move |number| match number {
                    0 | 1 => failure.clone(),
                    _ if stream => Behaviour::events(completion_events("m", "yes", 10, 1), StreamEnd::Done),
                    _ => Behaviour::ok(completion_body("m", "yes", 10, 1)),
                }
            };
            let allowed = |settings| UpstreamSettings { retries_max: 2, retry_sent: true, ..settings };
            let bench = Bench::with(script.clone(), allowed).await;
            let (got, settlement) = bench.ask(stream, 0).await;
            assert_eq!((got.status, &*got.text), (200, "yes"), "{got:?}");
            let unknown = format!("{kind} ? +0");
            assert_eq!(rows(&settlement), [&*unknown, &*unknown, "accepted 0.000028 +0"]);

            let bench = Bench::with(script, |settings| UpstreamSettings { retries_max: 2, ..settings }).await;
            let (got, settlement) = bench.ask(stream, 0).await;
            assert!(got.status >= 500 && got.should_retry == Some(true), "{got:?}");
            assert_eq!((rows(&settlement), bench.upstream.count()), (vec![unknown], 1));
        }
    }
}

#[tokio::test]
async fn a_repeat_of_what_was_not_taken_up_is_free_and_counted() {
    let script = |number| match number {
        0 => Behaviour::status(503),
        1 => Behaviour::status(429),
        _ => Behaviour::ok(completion_body("m", "yes", 10, 1)),
    };
    let bench = Bench::with(script, |settings| UpstreamSettings { retries_max: 2, ..settings }).await;
    let (got, settlement) = bench.ask(false, 0).await;
    assert_eq!((got.status, rows(&settlement)), (200, vec!["accepted 0.000028 +2".to_owned()]));
}

#[tokio::test]
async fn one_call_of_an_sdk_is_a_few_calls_of_the_upstream_at_most() {
    for (behaviour, retry_sent) in
        [(Behaviour::status(503), false), (Behaviour::status(500), true), (Behaviour::status(500), false)]
    {
        for retries_max in 0..4 {
            let script = {
                let behaviour = behaviour.clone();
                move |_| behaviour.clone()
            };
            let bench =
                Bench::with(script, |settings| UpstreamSettings { retries_max, retry_sent, ..settings });
            let bench = bench.await;
            // As the official SDKs do it: two more tries, unless they are told not to.
            for earlier_tries in 0..3 {
                if bench.ask(false, earlier_tries).await.0.should_retry == Some(false) {
                    break;
                }
            }
            let most = u64::from(retries_max.max(2)) + 1;
            let count = bench.upstream.count();
            assert!(count <= most, "{behaviour:?} {retry_sent} {retries_max}: {count} calls");
        }
    }
}

#[tokio::test]
async fn a_caller_who_leaves_before_a_repeat_has_every_attempt_in_the_books() {
    let failure = |_| error(500, &["retry-after: 2"], "");
    let allowed = |settings| UpstreamSettings { retries_max: 2, retry_sent: true, ..settings };
    let bench = Bench::with(failure, allowed).await;
    let left = tokio::time::timeout(Duration::from_millis(300), bench.ask(false, 0)).await;
    assert!(left.is_err());
    let page = block_on(bench.books.requests(RequestFilter::default(), None, 2)).unwrap();
    assert_eq!(
        (page.requests[0].status, rows(&page.requests[0])),
        (499, vec!["server_error ? +0".to_owned()])
    );
}

#[tokio::test]
async fn while_nobody_is_asked_the_pause_is_the_one_that_the_upstream_asked_for() {
    let bench = Bench::new(|_| error(429, &["retry-after: 300"], "")).await;
    for _ in 0..5 {
        let got = bench.ask(false, 0).await.0;
        assert_eq!((got.retry_after_s, got.should_retry), (Some(300), Some(false)));
    }
    let (got, _) = bench.ask(false, 0).await;
    assert_eq!((got.status, got.slug, got.should_retry), (503, "upstreams_unavailable", Some(false)));
    assert!(got.retry_after_s.is_some_and(|pause| (290..=300).contains(&pause)), "{got:?}");
    assert_eq!(bench.upstream.count(), 5);
}
