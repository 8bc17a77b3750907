//! A dialect that the gateway has never heard of goes through every stage.
//!
//! It is made up, and small: what stands here is all that such a dialect needs besides its line in
//! `bantam_wire::ENDPOINTS`. It asks with `{"of": MODEL, "say": TEXT}`, and is answered with one JSON value a line.

use std::sync::Arc;

use bantam_gateway::{Hints, Reply, ReplyBody};
use bantam_remote::{Dialect, UpstreamSettings};
use bantam_route::Gate;
use bantam_simulate::{Behaviour, SimulatedUpstream, StreamEnd, completion_body, completion_events};
use bantam_types::Tier;
use bantam_wire::call::{DecodedCall, Member, Sampling, Source};
use bantam_wire::{
    AnswerBody, AnswerContext, ApiError, CallKind, DecodeError, DecodeLimits, Delta, Endpoint, Feature,
    FeatureSet, Format, Input, Message, ReadAnswerError, Role, RoutingNote, Settings, StreamEncoder,
    StreamItem,
};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{
    Act, Desk, deployment, open_task, remote, remote_with, rung, scripted, student_rung, task, told,
    upstream_settings,
};

const LINES: &dyn Endpoint = &Lines;

#[derive(Debug)]
struct Lines;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    of: String,
    say: String,
    #[serde(default)]
    dice: Option<i64>,
    #[serde(default)]
    bit_by_bit: bool,
}

impl Endpoint for Lines {
    fn dialect(&self) -> &'static str {
        "lines"
    }

    fn path(&self) -> &'static str {
        "/lines"
    }

    fn about(&self) -> &'static str {
        "Answers the last line of a request, line by line."
    }

    fn kind(&self) -> CallKind {
        CallKind::Chat
    }

    fn format(&self) -> Option<Format> {
        None
    }

    fn decode(&self, body: &Bytes, _: &DecodeLimits) -> Result<DecodedCall, DecodeError> {
        let asked: Asked =
            serde_json::from_slice(body).map_err(|error| DecodeError::Json(error.to_string()))?;
        let penalty = asked.dice.map(|_| Feature::FrequencyPenalty);
        let stream = asked.bit_by_bit.then_some(Feature::Stream);
        Ok(DecodedCall {
            model: asked.of,
            input: Input::Conversation(vec![Message::new(Role::User, asked.say)]),
            stream: asked.bit_by_bit,
            include_usage: false,
            answers: 1,
            output_tokens_max: None,
            features: penalty.into_iter().chain(stream).collect::<FeatureSet>(),
            other_prompt_bytes: 0,
            members: Vec::<Member>::new(),
        })
    }

    fn settings(&self, source: &Source) -> Settings {
        let asked: Option<Asked> = serde_json::from_slice(source.raw()).ok();
        let frequency_penalty = asked.and_then(|asked| asked.dice).map(|dice| dice as f64);
        Settings { sampling: Sampling { frequency_penalty, ..Sampling::default() }, ..Settings::default() }
    }

    fn param(&self, feature: Feature) -> &'static str {
        match feature {
            Feature::FrequencyPenalty => "dice",
            _ => "say",
        }
    }

    fn media_type(&self, _: bool) -> &'static str {
        "application/x-ndjson"
    }

    fn whole(
        &self,
        answer: &AnswerBody,
        _: AnswerContext<'_>,
        note: &RoutingNote,
    ) -> Result<Vec<u8>, ReadAnswerError> {
        let outcome = answer.outcome()?;
        Ok(format!("{}\n", json!({ "said": outcome.text(), "by": &*note.model })).into_bytes())
    }

    fn stream(&self, _: AnswerContext<'_>) -> Box<dyn StreamEncoder> {
        Box::new(LineWriter)
    }

    fn error(&self, error: &ApiError) -> Vec<u8> {
        format!("{}\n", json!({ "wrong": error.slug, "at": error.param })).into_bytes()
    }
}

struct LineWriter;

impl StreamEncoder for LineWriter {
    fn push(&mut self, item: StreamItem, out: &mut Vec<u8>) -> Result<(), ReadAnswerError> {
        match item {
            StreamItem::Typed(Delta::Text { text, .. }) => {
                out.extend_from_slice(format!("{}\n", json!({ "bit": text })).as_bytes());
                Ok(())
            }
            StreamItem::Typed(_) => Ok(()),
            StreamItem::Raw(_) => Err(ReadAnswerError::NotAnAnswer),
        }
    }

    fn finish(&mut self, note: &RoutingNote, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{}\n", json!({ "by": &*note.model })).as_bytes());
    }

    fn fail(&mut self, error: &ApiError, out: &mut Vec<u8>) {
        out.extend_from_slice(&LINES.error(error));
    }
}

/// Asks in the dialect and returns the lines of the answer.
async fn ask(desk: &Desk, body: Value) -> Vec<Value> {
    let Reply { endpoint, body, .. } =
        desk.gateway.answer(LINES, body.to_string().into(), Hints::default()).await;
    let bytes = match body {
        ReplyBody::Whole(bytes) => bytes,
        ReplyBody::Stream(items) => items.collect::<Vec<_>>().await.concat().into(),
        ReplyBody::Error(error) => endpoint.error(&error).into(),
    };
    let text = String::from_utf8(bytes.into()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn an_upstream_of_another_dialect_is_asked_and_read_in_its_own() {
    let upstream = SimulatedUpstream::start(|received| match received.wants_stream() {
        true => Behaviour::events(completion_events("m", "one two", 100, 5), StreamEnd::Done),
        false => Behaviour::ok(completion_body("m", "one two", 100, 5)),
    })
    .await
    .unwrap();
    let mid = Arc::new(rung("mid", remote(&upstream, Tier::Mid)));
    let desk = Desk::new(deployment(vec![open_task("chat", vec![mid])], vec![]));
    let whole = ask(&desk, json!({ "of": "task/chat", "say": "hi", "dice": 6 })).await;
    assert_eq!(whole, [json!({ "said": "one two", "by": "mid" })]);
    let streamed = ask(&desk, json!({ "of": "mid", "say": "hi", "bit_by_bit": true })).await;
    assert_eq!(streamed, [json!({ "bit": "one " }), json!({ "bit": "two" }), json!({ "by": "mid" })]);
    let sent = upstream.received();
    let system = json!({ "role": "system", "content": "Answer with one label." });
    let user = json!({ "role": "user", "content": "hi" });
    assert_eq!(
        sent[0].json(),
        json!({ "model": "real", "messages": [system, user], "frequency_penalty": 6.0 })
    );
    assert_eq!(sent[1].json()["stream_options"], json!({ "include_usage": true }));
    for settled in desk.settled() {
        assert_eq!(told(&settled), "answered 200: mid accepted");
        assert_eq!(settled.attempts[0].usage, crate::support::tokens(100, 0, 5));
    }
}

#[tokio::test]
async fn a_student_s_label_is_written_in_it_whole_and_streamed() {
    let student = scripted(Tier::Local, |_, _| Act::Say("card", 1.0));
    let ladder = vec![Arc::new(student_rung(Arc::new(student), Gate::Certified { threshold: 0.9 }))];
    let desk = Desk::new(deployment(vec![task("intent", ladder)], vec![]));
    let whole = ask(&desk, json!({ "of": "task/intent", "say": "hi" })).await;
    assert_eq!(whole, [json!({ "said": "card", "by": "student" })]);
    let streamed = ask(&desk, json!({ "of": "task/intent", "say": "hi", "bit_by_bit": true })).await;
    assert_eq!(streamed, [json!({ "bit": "card" }), json!({ "by": "student" })]);
}

#[tokio::test]
async fn its_callers_read_of_every_failure_in_its_own_words() {
    let settings = UpstreamSettings {
        path: "/messages".to_owned(),
        dialect: Dialect::Anthropic,
        ..upstream_settings("http://127.0.0.1:9")
    };
    let mid = Arc::new(rung("mid", remote_with(settings, Tier::Mid)));
    let desk = Desk::new(deployment(vec![open_task("chat", vec![mid])], vec![]));
    for (body, expected) in [
        (
            json!({ "of": "mid", "say": "hi", "dice": 6 }),
            json!({ "wrong": "unsupported_parameter", "at": "dice" }),
        ),
        (json!({ "of": "mid", "say": "hi" }), json!({ "wrong": "upstream_unreachable", "at": null })),
        (json!({ "of": "nobody", "say": "hi" }), json!({ "wrong": "model_not_found", "at": "model" })),
        (json!({ "of": "mid" }), json!({ "wrong": "invalid_json", "at": null })),
        (
            json!({ "of": "mid", "say": "Project Falcon" }),
            json!({ "wrong": "sensitive_request", "at": null }),
        ),
    ] {
        assert_eq!(ask(&desk, body.clone()).await, [expected], "{body}");
    }
}

#[tokio::test]
async fn a_stream_that_breaks_off_says_so_in_it() {
    let events = completion_events("m", "one two", 1, 1)[..2].to_vec();
    let upstream =
        SimulatedUpstream::start(move |_| Behaviour::events(events.clone(), StreamEnd::Cut)).await.unwrap();
    let mid = Arc::new(rung("mid", remote(&upstream, Tier::Mid)));
    let desk = Desk::new(deployment(vec![open_task("chat", vec![mid])], vec![]));
    let lines = ask(&desk, json!({ "of": "mid", "say": "hi", "bit_by_bit": true })).await;
    assert_eq!(lines, [json!({ "bit": "one " }), json!({ "wrong": "stream_broken", "at": null })]);
}
