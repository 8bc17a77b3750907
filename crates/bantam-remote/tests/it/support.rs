//! An upstream, a call of it, and what came back, in words that can be compared.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bantam_backend::{Answer, Ask, Backend, BackendError, BackendFault, WholeAnswer};
use bantam_privacy::{Cleared, PrivacyPolicy, Scanned, Scanner, ScannerConfig};
use bantam_remote::{Auth, Dialect, RemoteModel, Upstream, UpstreamSettings, WireSettings};
use bantam_simulate::{Behaviour, Received, SimulatedUpstream};
use bantam_types::{Label, Tier};
use bantam_wire::{AnswerContext, Call, DecodeLimits, Endpoint, RoutingNote, StreamItem, openai};
use futures_util::StreamExt;
use serde_json::Value;

/// No call of a test may take longer: a fault that is not noticed would hang for ever.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const HI: &str = r#"{"model":"asked","messages":[{"role":"user","content":"hi"}]}"#;

/// Returns settings whose time-outs no well-behaved answer meets, without retries.
pub(crate) fn settings(base_url: &str) -> UpstreamSettings {
    UpstreamSettings {
        base_url: base_url.to_owned(),
        path: "/chat/completions".to_owned(),
        dialect: Dialect::OpenAi,
        auth: Auth::Bearer,
        api_key: Some("key-of-the-upstream".to_owned()),
        extra_roots_pem: None,
        connect_timeout: PATIENCE,
        first_byte_timeout: PATIENCE,
        chunk_timeout: PATIENCE,
        total_timeout: PATIENCE,
        retries_max: 0,
        retry_sent: false,
        concurrent_requests_max: 64,
        response_bytes_max: 1 << 20,
        wire: WireSettings::default(),
    }
}

/// Returns settings under which every kind of waiting ends soon.
pub(crate) fn hasty(base_url: &str) -> UpstreamSettings {
    UpstreamSettings {
        first_byte_timeout: Duration::from_millis(150),
        chunk_timeout: Duration::from_millis(150),
        ..settings(base_url)
    }
}

pub(crate) fn model(settings: UpstreamSettings) -> Arc<RemoteModel> {
    let upstream = Arc::new(Upstream::new(settings).unwrap());
    Arc::new(RemoteModel::new(upstream, "real".to_owned(), Tier::Frontier).unwrap())
}

pub(crate) async fn start(
    script: impl Fn(&Received) -> Behaviour + Send + Sync + 'static,
) -> SimulatedUpstream {
    SimulatedUpstream::start(script).await.unwrap()
}

/// Returns a chat cleared for `tier` by a policy that lets everything through.
pub(crate) fn cleared(body: &str, tier: Tier) -> Cleared {
    cleared_for(openai::CHAT, body, tier)
}

pub(crate) fn cleared_for(endpoint: &'static dyn Endpoint, body: &str, tier: Tier) -> Cleared {
    let scanner = Scanner::new(&ScannerConfig { dictionary: Vec::new() }).unwrap();
    let scanned =
        Scanned::decode(endpoint, body.to_owned().into(), &DecodeLimits::default(), &scanner).unwrap();
    let policy = PrivacyPolicy { mid_max: Label::Restricted, frontier_max: Label::Restricted };
    policy.clear(&scanned, tier).unwrap()
}

pub(crate) fn ask(stream: bool) -> Ask {
    Ask { stream, ..Ask::default() }
}

/// Calls `model` with `body`.
pub(crate) async fn call(model: &RemoteModel, body: &str, stream: bool) -> Result<Answer, BackendError> {
    let answer = model.answer(cleared(body, Tier::Frontier), ask(stream));
    tokio::time::timeout(PATIENCE * 2, answer).await.unwrap_or_else(|_| panic!("the call never ended"))
}

/// What a call gave: the chunks that arrived, and the fault that ended them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) chunks: Vec<String>,
    pub(crate) fault: Option<BackendFault>,
}

/// Calls a new upstream of `settings` and reads all of the answer.
pub(crate) async fn got(settings: UpstreamSettings, stream: bool) -> Got {
    read(call(&model(settings), HI, stream).await).await
}

pub(crate) async fn read(answer: Result<Answer, BackendError>) -> Got {
    match answer {
        Ok(Answer::Stream(mut stream)) => {
            let mut got = Got { chunks: Vec::new(), fault: None };
            let call = streamed();
            let mut encoder = openai::CHAT.stream(context(&call));
            let (mut told, mut has_typed) = (Vec::new(), false);
            let begun = Instant::now();
            while let Some(item) = stream.items.next().await {
                assert!(got.fault.is_none(), "an item after the error");
                assert!(begun.elapsed() < PATIENCE, "the stream never ends");
                match item {
                    Ok(StreamItem::Raw(chunk)) => got.chunks.push(chunk.data),
                    Ok(item) => {
                        has_typed = true;
                        encoder.push(item, &mut told).unwrap();
                    }
                    Err(error) => got.fault = Some(error.fault),
                }
            }
            if has_typed && got.fault.is_none() {
                encoder.finish(&note(), &mut told);
            }
            let told = String::from_utf8(told).unwrap();
            let data = told.split("\n\n").filter_map(|event| event.strip_prefix("data: "));
            got.chunks.extend(data.filter(|data| *data != "[DONE]").map(str::to_owned));
            got
        }
        Ok(Answer::Whole(whole)) => Got { chunks: vec![text(&whole)], fault: None },
        Ok(Answer::Student(_)) => panic!("a student answered"),
        Err(error) => Got { chunks: Vec::new(), fault: Some(error.fault) },
    }
}

pub(crate) fn text(whole: &WholeAnswer) -> String {
    whole.body.text().unwrap_or_default().to_owned()
}

/// Returns the body that a caller of OpenAI's chat reads.
pub(crate) fn written(whole: &WholeAnswer) -> Value {
    let call = streamed();
    serde_json::from_slice(&openai::CHAT.whole(&whole.body, context(&call), &note()).unwrap()).unwrap()
}

fn streamed() -> Call {
    let body = HI.replacen('{', r#"{"stream":true,"stream_options":{"include_usage":true},"#, 1);
    Call::decode(openai::CHAT, body.into(), &DecodeLimits::default(), &mut ()).unwrap()
}

fn context(call: &Call) -> AnswerContext<'_> {
    AnswerContext { call, request_id: 1, created_unix_s: 1, model: "m" }
}

fn note() -> RoutingNote {
    RoutingNote {
        request_id: 1,
        task: None,
        tier: Tier::Frontier,
        model: "m".into(),
        confidence: None,
        escalated: Vec::new(),
        cost: None,
    }
}

/// Returns the fault of a call that must fail.
pub(crate) fn fault_of(answer: Result<Answer, BackendError>) -> BackendError {
    match answer {
        Ok(_) => panic!("it answered"),
        Err(error) => error,
    }
}

/// Returns a whole HTTP answer as bytes.
pub(crate) fn http(head: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{head}\r\n{body}").into_bytes()
}

/// Returns the events of a small stream as bytes, chunked or up to the connection's end.
pub(crate) fn http_events(events: &[String], chunked: bool) -> Vec<u8> {
    let encoding = if chunked { "transfer-encoding: chunked\r\n" } else { "" };
    let mut bytes = http(&format!("content-type: text/event-stream\r\n{encoding}"), "");
    for event in events {
        let event = format!("data: {event}\n\n");
        let chunk = if chunked { format!("{:x}\r\n{event}\r\n", event.len()) } else { event };
        bytes.extend_from_slice(chunk.as_bytes());
    }
    if chunked {
        bytes.extend_from_slice(b"0\r\n\r\n");
    }
    bytes
}
