//! Each way of failing is exactly one named fault.

use std::time::{Duration, Instant};

use bantam_backend::{BackendFault, ConnectFault};
use bantam_remote::UpstreamSettings;
use bantam_simulate::{Behaviour, StreamEnd, completion_body, completion_events};
use tokio::net::TcpListener;

use crate::support::{PATIENCE, call, fault_of, got, hasty, http, model, settings, start};

/// Checks that a whole and a streamed call of an upstream that behaves like this fail with `expected`.
async fn check(behaviour: Behaviour, expected: BackendFault) {
    for stream in [false, true] {
        check_one(behaviour.clone(), stream, expected).await;
    }
}

async fn check_one(behaviour: Behaviour, stream: bool, expected: BackendFault) {
    let upstream = start({
        let behaviour = behaviour.clone();
        move |_| behaviour.clone()
    })
    .await;
    let begun = Instant::now();
    let got = got(hasty(&upstream.base_url()), stream).await;
    assert_eq!(got.fault, Some(expected), "stream {stream}: {behaviour:?}");
    // A stream that is refused for no known reason is asked for once without `stream_options`.
    let calls = if stream && matches!(expected, BackendFault::Refused(_) | BackendFault::Unsupported(_)) {
        2
    } else {
        1
    };
    assert_eq!(upstream.count(), calls, "asked again: {behaviour:?}");
    assert!(begun.elapsed() < PATIENCE);
}

/// Returns a port of loopback that nobody listens on.
async fn closed_port() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    format!("http://{}/v1", listener.local_addr().unwrap())
}

#[tokio::test]
async fn a_refused_connection_is_no_connection() {
    for stream in [false, true] {
        let got = got(settings(&closed_port().await), stream).await;
        assert_eq!(got.fault, Some(BackendFault::Connect(ConnectFault::Refused)));
    }
}

#[tokio::test]
async fn a_server_without_tls_is_no_connection_for_https() {
    let upstream = start(|_| Behaviour::ok(completion_body("m", "x", 1, 1))).await;
    let url = upstream.base_url().replace("http://", "https://");
    let settings = UpstreamSettings { connect_timeout: Duration::from_millis(300), ..settings(&url) };
    let got = got(settings, false).await;
    assert_eq!(
        got.fault,
        Some(BackendFault::Connect(ConnectFault::Late)),
        "a handshake is part of connecting"
    );
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn silence_before_the_first_byte_times_out() {
    check(Behaviour::Hang, BackendFault::FirstByteTimeout).await;
}

#[tokio::test]
async fn silence_in_mid_head_times_out() {
    check(Behaviour::RawThenHang(b"HTTP/1.1 200 OK\r\ncontent-".to_vec()), BackendFault::FirstByteTimeout)
        .await;
}

#[tokio::test]
async fn silence_in_mid_body_is_a_stall() {
    let body = http("content-type: application/json\r\ncontent-length: 500\r\n", "{\"choices\":");
    check_one(Behaviour::RawThenHang(body), false, BackendFault::ChunkTimeout).await;
    let events = completion_events("m", "a b c", 1, 1);
    let hang = Behaviour::events(events[..2].to_vec(), StreamEnd::Hang);
    check_one(hang, true, BackendFault::ChunkTimeout).await;
}

#[tokio::test]
async fn a_stream_without_its_first_event_times_out() {
    check_one(Behaviour::events(Vec::new(), StreamEnd::Hang), true, BackendFault::FirstByteTimeout).await;
}

#[tokio::test]
async fn an_answer_that_trickles_past_the_total_time_is_given_up() {
    let upstream = start(|received| {
        let events = vec![completion_events("m", "a", 1, 1)[1].clone(); 1000];
        let (delay, gap) = (Duration::ZERO, Duration::from_millis(20));
        assert!(received.wants_stream());
        Behaviour::Events { events, delay, gap, end: StreamEnd::Done }
    })
    .await;
    let settings =
        UpstreamSettings { total_timeout: Duration::from_millis(300), ..settings(&upstream.base_url()) };
    let got = got(settings, true).await;
    assert_eq!(got.fault, Some(BackendFault::TotalTimeout));
    assert!(!got.chunks.is_empty());
}

#[tokio::test]
async fn bytes_that_are_not_http_are_told_from_a_broken_connection() {
    check(Behaviour::Raw(b"\x00\xff not http at all\r\n\r\n".to_vec()), BackendFault::NotHttp).await;
    // The first frame of a server that speaks HTTP/2 without being asked.
    check(
        Behaviour::Raw(b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x80".to_vec()),
        BackendFault::NotHttp,
    )
    .await;
    check(Behaviour::Close, BackendFault::Broken).await;
    check(Behaviour::Raw(Vec::new()), BackendFault::Broken).await;
}

#[tokio::test]
async fn bodies_that_are_no_completion_are_garbage() {
    for body in [
        "",
        "<html><body>Bad gateway</body></html>",
        "{}",
        "[]",
        "null",
        "{\"choices\":[]}",
        "{\"choices\":[{}]}",
    ] {
        check(Behaviour::ok(body.to_owned()), BackendFault::Garbage).await;
    }
    check(Behaviour::Raw(http("content-type: text/html\r\n", "\u{0}\u{1}\u{2}")), BackendFault::Garbage)
        .await;
}

#[tokio::test]
async fn a_200_with_an_error_object_is_an_error() {
    let error = r#"{"error":{"message":"quota exceeded","type":"x","param":null,"code":null}}"#;
    check(Behaviour::ok(error.to_owned()), BackendFault::ErrorBody).await;
    check_one(Behaviour::events(vec![error.to_owned()], StreamEnd::Done), true, BackendFault::ErrorBody)
        .await;
}

#[tokio::test]
async fn statuses_say_whose_fault_it_is() {
    for (status, expected) in [
        (400, BackendFault::Unsupported(400)),
        (413, BackendFault::RequestTooLarge(413)),
        (422, BackendFault::Unsupported(422)),
        (401, BackendFault::Key(401)),
        (403, BackendFault::Key(403)),
        (404, BackendFault::NotFound),
        (402, BackendFault::QuotaUsedUp(402)),
        (429, BackendFault::RateLimited(429)),
        (201, BackendFault::Status(201)),
        (302, BackendFault::Status(302)),
        (500, BackendFault::Status(500)),
        (503, BackendFault::Overloaded(503)),
        (504, BackendFault::Status(504)),
        (529, BackendFault::Overloaded(529)),
    ] {
        check(Behaviour::status(status), expected).await;
    }
}

#[tokio::test]
async fn a_retry_after_is_handed_on() {
    for (value, expected) in
        [("7", Some(7_000)), (" 60 ", Some(60_000)), ("0.5", Some(500)), ("soon", None), ("-1", None)]
    {
        let upstream = start(move |_| Behaviour::Answer {
            status: 429,
            headers: vec![format!("retry-after: {value}")],
            body: String::new(),
            delay: Duration::ZERO,
        })
        .await;
        let error = fault_of(call(&model(settings(&upstream.base_url())), crate::support::HI, false).await);
        let expected = expected.map(Duration::from_millis);
        assert_eq!((error.fault, error.retry_after), (BackendFault::RateLimited(429), expected), "{value}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = start(|_| Behaviour::ok(completion_body("m", "x", 1, 1))).await;
    let url = format!("{}/chat/completions", target.base_url());
    for status in [301, 302, 303, 307, 308] {
        let url = url.clone();
        let upstream = start(move |_| Behaviour::Answer {
            status,
            headers: vec![format!("location: {url}")],
            body: String::new(),
            delay: Duration::ZERO,
        })
        .await;
        let got = got(settings(&upstream.base_url()), false).await;
        assert_eq!(got.fault, Some(BackendFault::Status(status)));
    }
    assert_eq!(target.count(), 0);
}

#[tokio::test]
async fn a_small_answer_cut_at_any_byte_is_a_fault() {
    let body = completion_body("m", "yes", 1, 1);
    let head = format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    let whole = http(&head, &body);
    let body_start = whole.len() - body.len();
    let upstream = start({
        let whole = whole.clone();
        move |received| Behaviour::Raw(whole[..received.number as usize].to_vec())
    })
    .await;
    for cut in 0..whole.len() {
        let got = got(settings(&upstream.base_url()), false).await;
        let expected = if cut < body_start { BackendFault::Broken } else { BackendFault::Cut };
        assert_eq!((got.chunks.len(), got.fault), (0, Some(expected)), "cut at byte {cut}");
    }
    assert_eq!(got(settings(&upstream.base_url()), false).await.chunks, ["yes"]);
}

#[tokio::test]
async fn a_small_answer_without_a_length_cut_at_any_byte_is_never_an_answer() {
    let body = completion_body("m", "yes", 1, 1);
    let whole = http("content-type: application/json\r\n", &body);
    let upstream = start({
        let whole = whole.clone();
        move |received| Behaviour::Raw(whole[..received.number as usize].to_vec())
    })
    .await;
    for cut in 0..whole.len() {
        let got = got(settings(&upstream.base_url()), false).await;
        let fault = got.fault.unwrap_or_else(|| panic!("cut at byte {cut} was taken for whole"));
        assert!(matches!(fault, BackendFault::Broken | BackendFault::Garbage), "{cut}: {fault:?}");
    }
    assert_eq!(got(settings(&upstream.base_url()), false).await.chunks, ["yes"]);
}

#[tokio::test]
async fn an_answer_larger_than_the_limit_is_given_up() {
    let limit = |url: &str| UpstreamSettings { response_bytes_max: 64 * 1024, ..settings(url) };
    let upstream = start(|_| Behaviour::ok(completion_body("m", &"x".repeat(200_000), 1, 1))).await;
    assert_eq!(got(limit(&upstream.base_url()), false).await.fault, Some(BackendFault::TooLarge));
    let endless = start(|_| {
        let events = completion_events("m", "a", 1, 1)[..2].to_vec();
        Behaviour::events(events, StreamEnd::Endless)
    })
    .await;
    let got = got(limit(&endless.base_url()), true).await;
    assert_eq!(got.fault, Some(BackendFault::TooLarge));
    assert!(got.chunks.iter().map(String::len).sum::<usize>() <= 64 * 1024);
}

#[tokio::test]
async fn an_event_without_end_is_given_up() {
    let upstream = start(|_| {
        let mut bytes = http("content-type: text/event-stream\r\n", "data: ");
        bytes.resize(4 << 20, b'x');
        Behaviour::Raw(bytes)
    })
    .await;
    assert_eq!(got(settings(&upstream.base_url()), true).await.fault, Some(BackendFault::TooLarge));
}
