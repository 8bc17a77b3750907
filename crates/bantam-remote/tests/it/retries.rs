//! Retries, the circuit breaker, and when neither may act.

use std::time::{Duration, Instant};

use bantam_backend::{Answer, Ask, Backend, BackendFault, CallsBefore};
use bantam_remote::UpstreamSettings;
use bantam_simulate::{
    Behaviour, Received, SimulatedUpstream, StreamEnd, completion_body, completion_events,
};
use bantam_wire::CallKind;

use crate::support::{HI, ask, call, cleared, fault_of, model, read, settings, start, text};

const FAILURES_MAX: u64 = 5;

fn ok() -> Behaviour {
    Behaviour::ok(completion_body("m", "yes", 1, 1))
}

/// Returns an upstream that fails with `behaviour` for the first `failures` requests.
async fn failing_first(failures: u64, behaviour: Behaviour) -> SimulatedUpstream {
    start(move |received: &Received| if received.number < failures { behaviour.clone() } else { ok() }).await
}

fn patient(url: &str, retries_max: u32) -> UpstreamSettings {
    UpstreamSettings { retries_max, ..settings(url) }
}

/// Checks how many calls an upstream gets that always behaves like this, at most two retries allowed.
async fn check_calls(behaviour: Behaviour, expected: u64) {
    let upstream = failing_first(u64::MAX, behaviour.clone()).await;
    let error = fault_of(call(&model(patient(&upstream.base_url(), 2)), HI, false).await);
    assert_eq!((upstream.count(), u64::from(error.retries)), (expected, expected - 1), "{behaviour:?}");
}

fn limited(retry_after: &str) -> Behaviour {
    Behaviour::Answer {
        status: 429,
        headers: vec![format!("retry-after: {retry_after}")],
        body: String::new(),
        delay: Duration::ZERO,
    }
}

#[tokio::test]
async fn only_what_may_pass_is_tried_again() {
    for status in [408, 409, 425, 429, 503, 529] {
        check_calls(Behaviour::status(status), 3).await;
    }
    for status in [302, 400, 401, 402, 403, 404, 413, 418, 422] {
        check_calls(Behaviour::status(status), 1).await;
    }
    check_calls(Behaviour::ok("garbage".to_owned()), 1).await;
    check_calls(Behaviour::ok("{\"error\":{}}".to_owned()), 1).await;
}

#[tokio::test]
async fn what_may_have_been_billed_is_left_to_the_asker_and_only_where_the_settings_allow_it() {
    let broken = [500, 502, 504, 520].map(Behaviour::status);
    for behaviour in broken.into_iter().chain([Behaviour::Close]) {
        for (retry_sent, earlier_calls, may_repeat) in
            [(false, 0, false), (true, 0, true), (true, 1, true), (true, 2, false), (true, u32::MAX, false)]
        {
            let upstream = failing_first(u64::MAX, behaviour.clone()).await;
            let settings = UpstreamSettings { retry_sent, ..patient(&upstream.base_url(), 2) };
            let before = CallsBefore { calls: earlier_calls, began: None };
            let request = cleared(HI, bantam_types::Tier::Frontier);
            let error = fault_of(model(settings).answer(request, Ask { before, ..ask(false) }).await);
            let told = (error.repeat_after.is_some(), error.retries, upstream.count());
            assert_eq!(told, (may_repeat, 0, 1), "{behaviour:?} {retry_sent} {earlier_calls}");
        }
    }
}

#[tokio::test]
async fn repeats_of_an_attempt_end_with_the_time_of_the_first() {
    let upstream = failing_first(u64::MAX, Behaviour::status(500)).await;
    let total_timeout = Duration::from_millis(20);
    let settings = UpstreamSettings { retry_sent: true, total_timeout, ..patient(&upstream.base_url(), 2) };
    let before = CallsBefore { calls: 1, began: Some(Instant::now()) };
    tokio::time::sleep(total_timeout * 2).await;
    let request = cleared(HI, bantam_types::Tier::Frontier);
    let error = fault_of(model(settings).answer(request, Ask { before, ..ask(false) }).await);
    assert_eq!((error.fault, error.repeat_after), (BackendFault::TotalTimeout, None));
}

#[tokio::test]
async fn what_an_upstream_calls_final_or_used_up_is_not_tried_again() {
    let refused = |status, headers: &[&str], body: &str| Behaviour::Answer {
        status,
        headers: headers.iter().map(ToString::to_string).collect(),
        body: body.to_owned(),
        delay: Duration::ZERO,
    };
    check_calls(refused(429, &["x-should-retry: false"], "{}"), 1).await;
    check_calls(refused(503, &["x-should-retry: false"], "{}"), 1).await;
    check_calls(refused(429, &["x-should-retry: true"], "{}"), 3).await;
    check_calls(refused(429, &[], r#"{"error":{"code":"insufficient_quota"}}"#), 1).await;
    check_calls(refused(429, &[], r#"{"error":{"message":"Request too large for gpt-5 on TPM"}}"#), 1).await;
    check_calls(refused(429, &[], r#"{"error":{"code":"rate_limit_exceeded"}}"#), 3).await;
    check_calls(refused(429, &["retry-after-ms: 20000"], ""), 1).await;
    check_calls(refused(429, &["retry-after-ms: 20", "retry-after: 20"], ""), 3).await;
    let later = "retry-after: Tue, 01 Dec 2026 10:01:00 GMT";
    check_calls(refused(429, &["date: Tue, 01 Dec 2026 10:00:00 GMT", later], ""), 1).await;
    check_calls(refused(429, &["date: Tue, 01 Dec 2026 10:01:00 GMT", later], ""), 3).await;
}

#[tokio::test]
async fn what_the_caller_s_library_tried_before_counts_too() {
    for (earlier, expected) in [(0, 3), (1, 2), (2, 1), (9, 1)] {
        let upstream = failing_first(u64::MAX, Behaviour::status(503)).await;
        let before = CallsBefore { calls: earlier, began: None };
        let request = cleared(HI, bantam_types::Tier::Frontier);
        let model = model(patient(&upstream.base_url(), 2));
        fault_of(model.answer(request, Ask { before, ..ask(false) }).await);
        assert_eq!(upstream.count(), expected, "{earlier} before");
    }
}

#[tokio::test]
async fn a_retry_that_goes_well_is_an_answer_and_counted() {
    for stream in [false, true] {
        let upstream = start(|received| match received.number {
            0 | 1 => Behaviour::status(503),
            _ if received.wants_stream() => {
                Behaviour::events(completion_events("m", "yes", 1, 1), StreamEnd::Done)
            }
            _ => ok(),
        })
        .await;
        let retries = match call(&model(patient(&upstream.base_url(), 2)), HI, stream).await.unwrap() {
            Answer::Whole(completion) => {
                assert_eq!(text(&completion), "yes");
                completion.retries
            }
            Answer::Stream(stream) => stream.retries,
            Answer::Student(_) => panic!("a student answered"),
        };
        assert_eq!((retries, upstream.count()), (2, 3));
    }
}

#[tokio::test]
async fn an_upstream_that_asks_for_a_long_pause_is_left_alone() {
    check_calls(limited("60"), 1).await;
    check_calls(limited("0"), 3).await;
}

#[tokio::test]
async fn a_retry_waits_as_long_as_the_upstream_asks() {
    let upstream = failing_first(1, limited("1")).await;
    let begun = Instant::now();
    call(&model(patient(&upstream.base_url(), 1)), HI, false).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn no_retry_starts_that_the_total_time_leaves_no_room_for() {
    let upstream = failing_first(u64::MAX, limited("1")).await;
    let settings =
        UpstreamSettings { total_timeout: Duration::from_millis(500), ..patient(&upstream.base_url(), 3) };
    assert_eq!(fault_of(call(&model(settings), HI, false).await).fault, BackendFault::RateLimited(429));
    assert_eq!(upstream.count(), 1);
}

#[tokio::test]
async fn nothing_is_tried_again_after_the_first_streamed_byte() {
    let events = || completion_events("m", "a b", 1, 1);
    for end in [StreamEnd::Cut, StreamEnd::Hang] {
        let upstream = start(move |_| Behaviour::events(events()[..2].to_vec(), end)).await;
        let settings = UpstreamSettings {
            chunk_timeout: Duration::from_millis(150),
            ..patient(&upstream.base_url(), 3)
        };
        let got = read(call(&model(settings), HI, true).await).await;
        assert_eq!(got.chunks.len(), 2);
        assert!(got.fault.is_some());
        assert_eq!(upstream.count(), 1);
    }
}

#[tokio::test]
async fn five_failures_open_the_breaker_and_nothing_is_sent_any_more() {
    let upstream = failing_first(u64::MAX, Behaviour::status(500)).await;
    let model = model(patient(&upstream.base_url(), 0));
    for number in 0..FAILURES_MAX {
        assert!(model.is_available(CallKind::Chat));
        let other = HI.replace("hi", &format!("hi {number}"));
        assert_eq!(fault_of(call(&model, &other, false).await).fault, BackendFault::Status(500));
    }
    assert!(!model.is_available(CallKind::Chat));
    for stream in [false, true] {
        assert_eq!(fault_of(call(&model, HI, stream).await).fault, BackendFault::BreakerOpen);
    }
    assert_eq!(upstream.count(), FAILURES_MAX);
}

#[tokio::test]
async fn streams_that_always_break_off_open_the_breaker() {
    let cut = Behaviour::events(completion_events("m", "a b", 1, 1)[..2].to_vec(), StreamEnd::Cut);
    let upstream = failing_first(u64::MAX, cut).await;
    let model = model(patient(&upstream.base_url(), 0));
    for _ in 0..FAILURES_MAX {
        assert!(model.is_available(CallKind::Chat));
        assert_eq!(read(call(&model, HI, true).await).await.fault, Some(BackendFault::Cut));
    }
    assert!(!model.is_available(CallKind::Chat));
}

#[tokio::test]
async fn a_good_answer_between_failures_keeps_the_breaker_closed() {
    let good = |received: &Received| match received.wants_stream() {
        true => Behaviour::events(completion_events("m", "yes", 1, 1), StreamEnd::Done),
        false => ok(),
    };
    let upstream = start(move |received| match received.number % 5 {
        4 => good(received),
        _ => Behaviour::status(500),
    })
    .await;
    let model = model(patient(&upstream.base_url(), 0));
    for number in 0..30 {
        let _ = read(call(&model, HI, number % 2 == 0).await).await;
        assert!(model.is_available(CallKind::Chat), "after {number}");
    }
}

#[tokio::test]
async fn requests_that_are_refused_do_not_open_the_breaker() {
    let upstream = failing_first(u64::MAX, Behaviour::status(400)).await;
    let model = model(patient(&upstream.base_url(), 0));
    for _ in 0..20 {
        assert_eq!(fault_of(call(&model, HI, false).await).fault, BackendFault::Unsupported(400));
    }
    assert!(model.is_available(CallKind::Chat));
}

#[tokio::test]
async fn callers_who_leave_do_not_open_the_breaker() {
    let upstream = failing_first(u64::MAX, Behaviour::Hang).await;
    let model = model(patient(&upstream.base_url(), 0));
    for stream in [false, true] {
        for _ in 0..10 {
            let left = tokio::time::timeout(Duration::from_millis(10), call(&model, HI, stream)).await;
            assert!(left.is_err());
        }
    }
    assert!(model.is_available(CallKind::Chat));
}
