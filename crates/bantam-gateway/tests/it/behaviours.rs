//! Upstreams as they really behave, in one table for each kind of answer: what is sent, what the caller sees, and what
//! the books hold.

use std::sync::Arc;
use std::time::Instant;

use bantam_remote::{Dialect, UpstreamSettings};
use bantam_simulate::{Behaviour, SimulatedUpstream, completion_events};
use bantam_types::{AnswerUsage, CountState, ServiceTier, Tier, TokenUsage, Unpriced};
use futures_util::future::join_all;
use serde_json::Value;

use crate::support::{
    Act, Desk, Got, PATIENCE, deployment, open_task, remote, remote_with, rung, scripted, task, told,
    upstream_settings,
};

/// What an upstream sends after the status line.
struct Sent {
    head: String,
    body: Vec<u8>,
    /// The connection stays open, and nothing more comes.
    stays_open: bool,
}

/// What comes of it.
#[derive(Clone, Debug)]
enum Becomes {
    /// This text, and what it took.
    Answer(String, Took),
    /// No answer, and nothing was passed on: the next rung answers.
    NextRung(Took),
    /// A stream that says this much, and then that it broke.
    Broken(String, Took),
}

/// What the books hold of an attempt: what was counted, and why it has no cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Took {
    usage: Option<AnswerUsage>,
    unpriced: Option<Unpriced>,
}

/// Nothing was counted.
const UNCOUNTED: Took = Took { usage: None, unpriced: Some(Unpriced::NotCounted) };

use Becomes::{Answer, Broken, NextRung};

fn sent(head: &str, body: impl Into<Vec<u8>>) -> Sent {
    Sent { head: head.to_owned(), body: body.into(), stays_open: false }
}

/// Sends it once and checks what the caller and the books get.
async fn check(dialect: Dialect, stream: bool, name: String, sent: Sent, becomes: Becomes) {
    let mut bytes = format!("HTTP/1.1 200 OK\r\n{}\r\n", sent.head).into_bytes();
    bytes.extend_from_slice(&sent.body);
    let behaviour = if sent.stays_open { Behaviour::RawThenHang(bytes) } else { Behaviour::Raw(bytes) };
    let upstream = SimulatedUpstream::start(move |_| behaviour.clone()).await.unwrap();
    let settings = UpstreamSettings {
        path: "/path".to_owned(),
        dialect,
        first_byte_timeout: PATIENCE,
        // Whoever waits for this long has not understood that the answer is whole.
        chunk_timeout: PATIENCE,
        response_bytes_max: 8 << 20,
        ..upstream_settings(&upstream.base_url())
    };
    let mid = remote_with(settings, Tier::Mid);
    let above = scripted(Tier::Frontier, |_, ask| match ask.stream {
        true => Act::Chunks(completion_events("m", "from above", 1, 1), None),
        false => Act::Text("from above", None),
    });
    let ladder = vec![Arc::new(rung("mid", mid)), Arc::new(rung("frontier", Arc::new(above)))];
    let desk = Desk::new(deployment(vec![open_task("chat", ladder)], vec![]));
    let begun = Instant::now();
    let got =
        if stream { desk.ask_stream("task/chat", "hi").await } else { desk.ask("task/chat", "hi").await };
    assert!(begun.elapsed() < PATIENCE / 2, "{name}: it was waited for in vain");
    check_reply(&name, stream, &got, &becomes);
    let settled = desk.only();
    let (expected, took) = match becomes {
        Answer(_, took) => ("answered 200: mid accepted", took),
        NextRung(took) => ("answered 200: mid failed error, frontier accepted", took),
        Broken(_, took) => ("failed 502: mid failed error", took),
    };
    assert_eq!(told(&settled), expected, "{name}");
    let attempt = &settled.attempts[0];
    assert_eq!(Took { usage: attempt.usage, unpriced: attempt.unpriced }, took, "{name}");
    assert_eq!(attempt.cost.is_some(), took.unpriced.is_none(), "{name}: what is not known has no cost");
}

fn check_reply(name: &str, stream: bool, got: &Got, becomes: &Becomes) {
    let text = match becomes {
        Answer(text, _) | Broken(text, _) => text.as_str(),
        NextRung(_) => "from above",
    };
    assert_eq!((got.status, &*got.text), (200, text), "{name}: {got:?}");
    if !stream {
        return;
    }
    let broken = matches!(becomes, Broken(..));
    assert_eq!(got.events.last().is_some_and(|event| event == "[DONE]"), !broken, "{name}");
    let chunks = got.events.iter().filter(|event| *event != "[DONE]");
    for chunk in chunks.map(|event| serde_json::from_str::<Value>(event).unwrap()) {
        let is_error = chunk["error"]["code"] == "stream_broken";
        assert!(is_error || chunk["choices"].is_array(), "{name}: no caller understands {chunk}");
    }
    assert_eq!(got.json["error"].is_object(), broken, "{name}");
}

/// A row of a table.
struct Row {
    name: String,
    sent: Sent,
    becomes: Becomes,
}

fn row(name: &str, sent: Sent, becomes: Becomes) -> Row {
    Row { name: name.to_owned(), sent, becomes }
}

async fn check_all(dialect: Dialect, stream: bool, rows: Vec<Row>) {
    assert!(!rows.is_empty());
    let checks = rows.into_iter().map(|row| check(dialect, stream, row.name, row.sent, row.becomes));
    join_all(checks).await;
}

/// Reads a table of `behaviours/`; `words` stand for usual events, and `is_stream` says whether JSON is an event there.
fn table(text: &str, words: &[(&str, &str)], is_stream: bool) -> Vec<Row> {
    let rows = text.split("\n= ").skip(1);
    rows.map(|row| {
        let (head, lines) = row.split_once('\n').unwrap_or((row, ""));
        let (name, becomes) = head.split_once(" = ").unwrap();
        let stays_open = becomes.ends_with("...");
        let body: String = lines.lines().map(|line| sent_line(line, words, is_stream)).collect();
        let kind = if is_stream { EVENTS } else { JSON };
        row_of(name, Sent { stays_open, ..sent(kind, body) }, becomes.trim_end_matches(" ..."))
    })
    .collect()
}

fn row_of(name: &str, sent: Sent, becomes: &str) -> Row {
    let becomes = match *becomes.split(' ').collect::<Vec<_>>() {
        ["next", ref took @ ..] => NextRung(took_of(took)),
        ["broken", text, ref took @ ..] => Broken(text.to_owned(), took_of(took)),
        ["answer", text, ref took @ ..] => Answer(text.to_owned(), took_of(took)),
        _ => panic!("{name}: nothing comes of `{becomes}`"),
    };
    row(name, sent, becomes)
}

/// Reads what an answer took: `INPUT CACHED OUTPUT`, what else was counted as `NAME=COUNT`, and why it has no cost; nothing
/// or `unpriced` where nothing was counted.
fn took_of(words: &[&str]) -> Took {
    let [input, cached, output, others @ ..] = words else { return UNCOUNTED };
    let number = |text: &str| text.parse::<u64>().unwrap();
    let mut usage = AnswerUsage::from(TokenUsage::new(number(input), number(cached), number(output)));
    let mut unpriced = None;
    for word in others {
        match word.split_once('=') {
            Some(("write", count)) => usage.tokens.cache_write = number(count),
            Some(("long", count)) => usage.tokens.cache_write_long = number(count),
            Some(("audio_in", count)) => usage.audio_input = number(count),
            Some(("audio_out", count)) => usage.audio_output = number(count),
            Some(("searches", count)) => usage.web_searches = number(count),
            Some(("tier", tier)) => usage.service_tier = Some(ServiceTier::of_word(tier).unwrap()),
            _ => unpriced = Some(Unpriced::of_word(word).unwrap_or_else(|| panic!("{word} is no reason"))),
        }
    }
    usage.counts = match unpriced {
        Some(Unpriced::CountedInPart) => CountState::Partial,
        Some(Unpriced::CountsContradict) => CountState::Contradictory,
        Some(Unpriced::NotModelled) => CountState::Unmodelled,
        _ => CountState::Complete,
    };
    Took { usage: Some(usage), unpriced }
}

fn sent_line(line: &str, words: &[(&str, &str)], is_stream: bool) -> String {
    let word = |said: &str| {
        words.iter().find(|(word, _)| *word == said).map(|(_, data)| format!("data: {data}\n\n"))
    };
    let usual: Option<String> = line.split(' ').map(word).collect();
    match usual {
        Some(events) => events,
        None if is_stream && line.starts_with('{') => format!("data: {line}\n\n"),
        None => line.replace("\\n", "\n").replace("\\u{feff}", "\u{feff}"),
    }
}

const EVENTS: &str = "content-type: text/event-stream\r\n";
const JSON: &str = "content-type: application/json\r\n";

const OPENAI: &[(&str, &str)] = &[
    ("role", r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#),
    ("a", r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}"#),
    ("b", r#"{"choices":[{"index":0,"delta":{"content":"b"},"finish_reason":null}]}"#),
    ("stop", r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#),
    ("usage", r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2}}"#),
    ("done", "[DONE]"),
];

const ANTHROPIC: &[(&str, &str)] = &[
    ("start", r#"{"type":"message_start","message":{"usage":{"input_tokens":9,"output_tokens":1}}}"#),
    ("a", r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#),
    ("b", r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"b"}}"#),
    ("end", r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}"#),
    ("over", r#"{"type":"message_stop"}"#),
];

fn good() -> Becomes {
    Answer("ab".to_owned(), took_of(&["9", "0", "2"]))
}

fn good_stream() -> String {
    sent_line("role a b stop usage done", OPENAI, true)
}

fn good_answer() -> String {
    completion(r#""ab""#)
}

fn completion(content: &str) -> String {
    let choice = format!(
        r#"{{"index":0,"message":{{"role":"assistant","content":{content}}},"finish_reason":"stop"}}"#
    );
    format!(r#"{{"id":"c","choices":[{choice}],"usage":{{"prompt_tokens":9,"completion_tokens":2}}}}"#)
}

/// Returns deflate's form of `text`, uncompressed.
fn stored(text: &[u8]) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    let mut out = vec![1];
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&(!length).to_le_bytes());
    out.extend_from_slice(text);
    out
}

fn gzip(text: &str) -> Vec<u8> {
    let crc = text.bytes().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    });
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    out.extend(stored(text.as_bytes()));
    out.extend_from_slice(&(!crc).to_le_bytes());
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out
}

fn zlib(text: &str) -> Vec<u8> {
    let (low, high) = text.bytes().fold((1_u32, 0_u32), |(low, high), byte| {
        let low = (low + u32::from(byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    let mut out = vec![0x78, 0x01];
    out.extend(stored(text.as_bytes()));
    out.extend_from_slice(&((high << 16) | low).to_be_bytes());
    out
}

/// Compressed in each way, and what comes of it.
fn encoded(kind: &str, text: &str) -> Vec<Row> {
    let head = |coding: &str| format!("{kind}content-encoding: {coding}\r\n");
    vec![
        row("gzip", sent(&head("gzip"), gzip(text)), good()),
        row("gzip in other case", sent(&head("X-GZip"), gzip(text)), good()),
        row("gzip that no header tells", sent(kind, gzip(text)), good()),
        row("deflate", sent(&head("deflate"), zlib(text)), good()),
        row("deflate without a header", sent(&head("deflate"), stored(text.as_bytes())), good()),
        row("identity", sent(&head("identity"), text), good()),
        row("brotli", sent(&head("br"), text), NextRung(UNCOUNTED)),
        row("zstandard", sent(&head("zstd"), text), NextRung(UNCOUNTED)),
        row("no gzip at all", sent(&head("gzip"), text), NextRung(UNCOUNTED)),
    ]
}

/// The same stream in other bytes and under other names.
fn dressed() -> Vec<Row> {
    let stream = good_stream();
    let pad = "x".repeat(3 << 20);
    let large =
        format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"\",\"pad\":\"{pad}\"}}}}]}}\n\n{stream}");
    let other_case = "content-type: Text/Event-Stream;charset=UTF-8\r\n";
    vec![
        row("carriage returns", sent(EVENTS, stream.replace('\n', "\r")), good()),
        row("carriage returns and line feeds", sent(EVENTS, stream.replace('\n', "\r\n")), good()),
        row("a byte order mark", sent(EVENTS, format!("\u{feff}{stream}")), good()),
        row("no UTF-8 in a comment", sent(EVENTS, [b": \xff\xfe\n\n", stream.as_bytes()].concat()), good()),
        row("an event over 1 MiB", sent(EVENTS, large), good()),
        row("a content type in other case", sent(other_case, stream.clone()), good()),
        row("events that are called JSON", sent(JSON, stream.clone()), good()),
        row("events without a content type", sent("", format!(": hi\n\n{stream}")), good()),
        row("an answer that is called events", sent(EVENTS, good_answer()), good()),
        row("an answer without a content type", sent("", good_answer()), good()),
        row("a page", sent("content-type: text/html\r\n", "<html>Bad gateway</html>"), NextRung(UNCOUNTED)),
    ]
}

/// A chunked stream that has finished, and whose framing then breaks.
fn badly_framed() -> Vec<Row> {
    let events = sent_line("role a b stop", OPENAI, true);
    let head = format!("{EVENTS}transfer-encoding: chunked\r\n");
    let body = |cut: &str| format!("{:x}\r\n{events}\r\n{cut}", events.len());
    let unpriced = || Answer("ab".to_owned(), UNCOUNTED);
    vec![
        row("a cut chunk", sent(&head, body("40\r\ndata: {\"cho")), unpriced()),
        row("a broken chunk", sent(&head, body("zz\r\n")), unpriced()),
        row("no last chunk", sent(&head, body("")), unpriced()),
    ]
}

#[tokio::test]
async fn streams_of_openais_kind() {
    check_all(Dialect::OpenAi, true, table(include_str!("behaviours/openai_streams.txt"), OPENAI, true))
        .await;
    check_all(Dialect::OpenAi, true, dressed()).await;
    check_all(Dialect::OpenAi, true, encoded(EVENTS, &good_stream())).await;
    check_all(Dialect::OpenAi, true, badly_framed()).await;
}

#[tokio::test]
async fn streams_of_openais_kind_where_a_whole_answer_was_asked_for() {
    let rows = table(include_str!("behaviours/openai_streams.txt"), OPENAI, true);
    // What was told to callers of streams before it broke is told to nobody here. One text is not the only answer of two.
    let unsaid = rows.into_iter().map(|row| match row.becomes {
        Broken(_, took) => Row { becomes: NextRung(took), ..row },
        _ => row,
    });
    check_all(Dialect::OpenAi, false, unsaid.collect()).await;
    check_all(Dialect::OpenAi, false, dressed()).await;
    check_all(Dialect::OpenAi, false, encoded(EVENTS, &good_stream())).await;
    check_all(Dialect::OpenAi, false, badly_framed()).await;
}

#[tokio::test]
async fn answers_of_openais_kind() {
    for stream in [false, true] {
        let rows = table(include_str!("behaviours/openai_answers.txt"), OPENAI, false);
        check_all(Dialect::OpenAi, stream, rows).await;
        check_all(Dialect::OpenAi, stream, encoded(JSON, &good_answer())).await;
    }
}

#[tokio::test]
async fn streams_and_answers_of_anthropics_kind() {
    for stream in [false, true] {
        let rows = table(include_str!("behaviours/anthropic_streams.txt"), ANTHROPIC, true);
        let rows = rows.into_iter().map(|row| match row.becomes {
            Broken(_, took) if !stream => Row { becomes: NextRung(took), ..row },
            _ => row,
        });
        check_all(Dialect::Anthropic, stream, rows.collect()).await;
        let events = sent_line("start a b end over", ANTHROPIC, true);
        check_all(Dialect::Anthropic, stream, encoded(EVENTS, &events)).await;
        let rows = table(include_str!("behaviours/anthropic_answers.txt"), ANTHROPIC, false);
        check_all(Dialect::Anthropic, stream, rows).await;
    }
}

/// What is counted and what comes of it, in streams and whole answers, asked for as either.
#[tokio::test]
async fn what_an_answer_took_is_booked_as_told_or_not_at_all() {
    let tables = [
        (Dialect::OpenAi, OPENAI, true, include_str!("behaviours/openai_usage_streams.txt")),
        (Dialect::OpenAi, OPENAI, false, include_str!("behaviours/openai_usage_answers.txt")),
        (Dialect::Anthropic, ANTHROPIC, true, include_str!("behaviours/anthropic_usage_streams.txt")),
        (Dialect::Anthropic, ANTHROPIC, false, include_str!("behaviours/anthropic_usage_answers.txt")),
    ];
    for (dialect, words, is_stream, text) in tables {
        for asks_for_stream in [false, true] {
            let rows = table(text, words, is_stream).into_iter().map(|row| match row.becomes {
                Broken(_, took) if !asks_for_stream => Row { becomes: NextRung(took), ..row },
                _ => row,
            });
            check_all(dialect, asks_for_stream, rows.collect()).await;
        }
    }
}

#[tokio::test]
async fn tasks_read_labels_as_people_would() {
    let json = completion;
    let streamed = sent_line("role a stop done", OPENAI, true).replace("\"a\"", "\"Card.\"");
    for (body, expected) in [
        (json(r#""card""#), Some("card")),
        (json(r#""**Card.**""#), Some("card")),
        (json(r#""```json\n{\"intent\": \"card\"}\n```""#), Some("card")),
        (json(r#""{\"label\": \"CARD\"}""#), Some("card")),
        (json(r#"[{"type":"thinking","thinking":"rate?"},{"type":"text","text":"card"}]"#), Some("card")),
        (json(r#"[{"type":"text","text":"ca"},{"type":"text","text":"rd"}]"#), Some("card")),
        (streamed, Some("card")),
        (json(r#""card or rate""#), None),
        (json(r#""I think it is card""#), None),
        (json("null"), None),
    ] {
        let kind = if body.starts_with('{') { JSON } else { EVENTS };
        let bytes = format!("HTTP/1.1 200 OK\r\n{kind}\r\n{body}").into_bytes();
        let upstream = SimulatedUpstream::start(move |_| Behaviour::Raw(bytes.clone())).await.unwrap();
        let ladder = vec![Arc::new(rung("mid", remote(&upstream, Tier::Mid)))];
        let desk = Desk::new(deployment(vec![task("intent", ladder)], vec![]));
        for stream in [false, true] {
            let got = if stream {
                desk.ask_stream("task/intent", "hi").await
            } else {
                desk.ask("task/intent", "hi").await
            };
            assert_eq!((got.status == 200).then_some(&*got.text), expected, "{body}");
            let books = match expected {
                Some(_) => "answered 200: mid accepted",
                None => "failed 502: mid discarded invalid_output",
            };
            assert_eq!(told(&desk.of(&got)), books, "{body}");
        }
    }
}
