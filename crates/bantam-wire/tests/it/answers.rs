//! Answers in, whole: from upstreams of each dialect, and from this process.

use bantam_types::TokenUsage;
use bantam_wire::call::ToolCall;
use bantam_wire::outcome::{AnswerHead, Content, Token, TokenLogProbability};
use bantam_wire::{AnswerBody, ApiError, Choice, Endpoint, ErrorCode, FinishReason, Outcome, openai};
use serde_json::Value;

use crate::foreign::LIKE_ANTHROPIC;
use crate::golden::{all, asked, context, decode, note, text};

const USAGE: TokenUsage = TokenUsage::new(5, 1, 2);

#[test]
fn an_upstreams_answer_reaches_the_caller_in_the_callers_dialect() {
    for golden in all("answers", "json") {
        let (format, endpoint) = golden.format();
        let call = asked(endpoint, true);
        let answer = match format.read_answer(golden.text.clone().into(), endpoint) {
            Ok(answer) => answer,
            Err(error) => {
                insta::assert_snapshot!(golden.name("answer", "fault"), error.to_string());
                continue;
            }
        };
        let facts = format!("usage {:?}\ntext {:?}", answer.usage(), answer.text());
        let whole = text(endpoint.whole(&answer, context(&call), &note()).unwrap());
        insta::assert_snapshot!(golden.name("answer", "whole"), format!("{facts}\n{whole}"));
        if endpoint.path() != openai::EMBEDDINGS.path() {
            let streamed = text(endpoint.whole_as_stream(&answer, context(&call), &note()).unwrap());
            insta::assert_snapshot!(golden.name("answer", "streamed"), streamed);
        }
    }
}

#[test]
fn an_answer_in_neutral_terms_says_what_the_upstream_said() {
    for golden in all("answers", "json").iter().filter(|golden| golden.what != "anthropic") {
        let (format, endpoint) = golden.format();
        let Ok(outcome) = format.read_outcome(golden.text.as_bytes()) else { continue };
        let call = match outcome.content {
            // However the upstream wrote its vectors, the caller's wish counts.
            Content::Vectors(_) if golden.case == "base64" => {
                decode(endpoint, r#"{"model":"a","input":"hi","encoding_format":"base64"}"#)
            }
            _ => asked(endpoint, false),
        };
        let typed = AnswerBody::Typed(outcome);
        let written: Value =
            serde_json::from_slice(&endpoint.whole(&typed, context(&call), &note()).unwrap()).unwrap();
        let sent: Value = serde_json::from_str(&golden.text).unwrap();
        for what in ["id", "model", "object", "data"] {
            assert_eq!(written[what], sent[what], "{} of {}", what, golden.case);
        }
        let pairs = [&sent["choices"], &written["choices"]].map(|choices| choices.as_array().cloned());
        let [sent, written] = pairs.map(Option::unwrap_or_default);
        assert_eq!(sent.len(), written.len());
        for (sent, written) in sent.iter().zip(&written) {
            for path in ["/message/content", "/message/tool_calls", "/finish_reason", "/text"] {
                assert_eq!(written.pointer(path), sent.pointer(path), "{path} of {}", golden.case);
            }
            // Offsets count from the beginning of the answer here, and `null` stands for what is absent.
            let tokens = |choice: &Value| choice.pointer("/logprobs/content").cloned();
            assert_eq!(tokens(written), tokens(sent), "{}", golden.case);
            assert_eq!(written.pointer("/logprobs/tokens"), sent.pointer("/logprobs/tokens"));
            assert_eq!(written.pointer("/logprobs/top_logprobs"), sent.pointer("/logprobs/top_logprobs"));
        }
    }
}

/// Answers as the embedded engine and students give them.
pub(crate) fn typed() -> Vec<(&'static str, &'static dyn Endpoint, Outcome)> {
    let one = |choice| Outcome {
        head: AnswerHead { id: None, model: Some("tiny".into()) },
        content: Content::Choices(vec![choice]),
        usage: Some(USAGE.into()),
    };
    let token = |text: &str, log_probability| Token {
        text: text.to_owned(),
        bytes: Some(text.as_bytes().to_vec()),
        log_probability,
    };
    let tokens = vec![
        TokenLogProbability {
            token: token("é", -0.5),
            alternatives: vec![token("é", -0.5), token("e", -1.5)],
        },
        TokenLogProbability { token: token("a", 0.0), alternatives: Vec::new() },
    ];
    let told = Choice {
        text: Some("éa".to_owned()),
        finish: FinishReason::Length,
        log_probabilities: Some(tokens),
        ..Choice::default()
    };
    let call = ToolCall { id: "call_1".to_owned(), name: "f".to_owned(), arguments: "{\"x\":1}".to_owned() };
    let calls = Choice { tool_calls: vec![call], finish: FinishReason::ToolCalls, ..Choice::default() };
    let refusal = Choice { refusal: Some("no".to_owned()), ..Choice::default() };
    let label = Outcome::of_text("la\"bel", USAGE);
    let several = Outcome {
        content: Content::Choices(vec![
            Choice { text: Some("a".to_owned()), ..Choice::default() },
            Choice { text: Some(String::new()), ..Choice::default() },
        ]),
        ..label.clone()
    };
    let vectors = Outcome {
        head: AnswerHead { id: None, model: Some("vectors".into()) },
        content: Content::Vectors(vec![vec![0.5, -0.25], vec![1.0, 0.1]]),
        usage: Some(TokenUsage::new(5, 0, 0).into()),
    };
    vec![
        ("label", openai::CHAT, label.clone()),
        ("probabilities", openai::CHAT, one(told.clone())),
        ("calls", openai::CHAT, one(calls)),
        ("refusal", openai::CHAT, one(refusal)),
        ("several", openai::CHAT, several),
        ("continuation", openai::TEXT, label),
        ("probabilities", openai::TEXT, one(told)),
        ("vectors", openai::EMBEDDINGS, vectors),
    ]
}

#[test]
fn an_answer_of_this_process_is_written_in_the_callers_dialect() {
    for (case, endpoint, outcome) in typed() {
        let answer = AnswerBody::Typed(outcome);
        let group = endpoint.path().trim_start_matches("/v1/").replace('/', "_");
        let write = |include_usage| {
            let call = asked(endpoint, include_usage);
            (
                text(endpoint.whole(&answer, context(&call), &note()).unwrap()),
                text(endpoint.whole_as_stream(&answer, context(&call), &note()).unwrap()),
            )
        };
        let (whole, stream) = write(false);
        insta::assert_snapshot!(format!("own.{group}.{case}.whole"), whole);
        if endpoint.path() != openai::EMBEDDINGS.path() {
            let told = format!("{stream}with usage:\n{}", write(true).1);
            insta::assert_snapshot!(format!("own.{group}.{case}.streamed"), told);
        }
    }
}

#[test]
fn vectors_are_written_as_the_caller_wants_them() {
    let answer = AnswerBody::Typed(Outcome {
        content: Content::Vectors(vec![vec![0.5, -0.25]]),
        ..Outcome::default()
    });
    let call = decode(openai::EMBEDDINGS, r#"{"model":"a","input":"hi","encoding_format":"base64"}"#);
    let body = openai::EMBEDDINGS.whole(&answer, context(&call), &note()).unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&body["data"][0]["embedding"], &body["usage"]), (&"AAAAPwAAgL4=".into(), &Value::Null));
}

#[test]
fn an_answer_of_our_own_reads_back_as_it_was_meant() {
    for (case, endpoint, outcome) in typed() {
        let call = asked(endpoint, false);
        let body = endpoint.whole(&AnswerBody::Typed(outcome.clone()), context(&call), &note()).unwrap();
        let read = endpoint.format().unwrap().read_outcome(&body).unwrap();
        assert_eq!(read.usage, outcome.usage, "{case}");
        assert_eq!(read.choices().len(), outcome.choices().len());
        for (read, meant) in read.choices().iter().zip(outcome.choices()) {
            assert_eq!((&read.text, &read.refusal, read.finish), (&meant.text, &meant.refusal, meant.finish));
            assert_eq!(read.tool_calls, meant.tool_calls);
        }
    }
}

#[test]
fn a_caller_of_anthropics_dialect_would_get_its_message_as_it_came() {
    for golden in all("answers", "json").iter().filter(|golden| golden.what == "anthropic") {
        let (format, endpoint) = golden.format();
        let Ok(answer) = format.read_answer(golden.text.clone().into(), LIKE_ANTHROPIC) else { continue };
        let translated = format.read_answer(golden.text.clone().into(), endpoint).unwrap();
        let AnswerBody::Raw(raw) = &answer else { panic!("it was translated") };
        assert_eq!(raw.bytes, golden.text.as_bytes());
        assert_eq!((answer.usage(), answer.text()), (translated.usage(), translated.text()));
        assert_eq!(answer.outcome().unwrap(), translated.outcome().unwrap());
    }
}

#[test]
fn an_error_is_written_in_the_callers_dialect() {
    let errors = [
        ApiError::invalid("messages[0].role", "invalid_value", "a \"role\""),
        ApiError::new(ErrorCode::Busy, "queue_full", "too many").retry_after(1),
        ApiError::new(ErrorCode::PolicyConflict, "sensitive_request", "no"),
        ApiError::new(ErrorCode::Internal, "internal_error", "a fault"),
        ApiError::new(ErrorCode::UpstreamTimeout, "upstream_timeout", "late"),
    ];
    let told: Vec<String> = errors.iter().map(|error| text(openai::CHAT.error(error))).collect();
    insta::assert_snapshot!("error.openai", told.join("\n"));
}
